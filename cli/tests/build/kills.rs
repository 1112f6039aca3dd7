//! Builds and prunes killed at random instants: every record that is left is whole, nothing outlives
//! the next prune, and the next build is right.
//!
//! `KILN_KILLS=200` sets how many are killed, `KILN_SEED` repeats what a failure printed.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bench::{Bench, text};
use crate::machine;
use crate::prune::{APP, assert_whole, assert_whole_and_empty, kiln};

/// How many are killed where nothing else is asked for.
const FEW: u64 = 8;

/// Marsaglia's xorshift64: the same instants for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect(name))
}

#[test]
fn killed_at_random_instants() {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is later")
    };
    let seed = number("KILN_SEED").unwrap_or_else(|| now().as_nanos() as u64) | 1;
    let kills = number("KILN_KILLS").unwrap_or(FEW);
    println!("KILN_SEED={seed} KILN_KILLS={kills}");
    let mut random = Random(seed);
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    let began = Instant::now();
    bench.build("--build-arg N=0");
    let whole = began.elapsed().as_micros() as u64;
    let out = bench.path("out");
    for kill in 0..kills {
        let at = Duration::from_micros(random.below(whole + whole / 8));
        let argument = random.below(4);
        let is_prune = random.below(5) == 0;
        let what =
            format!("seed {seed}, kill {kill}: a prune {is_prune}, N={argument}, after {at:?}");
        let mut command = if is_prune {
            let mut command = bench.kiln();
            command.args(["prune", "--force", "--all"]);
            command
        } else {
            let no_cache = if random.below(2) == 0 {
                "--no-cache"
            } else {
                ""
            };
            let line =
                format!("--build-arg N={argument} {no_cache} -t app:{argument} -o type=image");
            bench.command(&line)
        };
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut victim = command.spawn().expect("kiln runs");
        std::thread::sleep(at);
        // It may have ended before.
        let _ = victim.kill();
        victim.wait().expect("it was started");
        assert_whole(&bench, &what);
        if kill % 5 == 4 {
            bench.build(&format!("--build-arg N={argument} -o {}", text(&out)));
            let sum = fs::read_to_string(out.join("sum")).expect("it was built");
            assert_eq!(
                sum,
                format!("some data\n{argument}\ntwo {argument}\n"),
                "{what}"
            );
        }
    }
    machine::assert_unlocked(&bench.store());
    // Names are the one thing that a prune leaves.
    fs::remove_dir_all(bench.store()).expect("removable");
    for kill in 0..kills.min(8) {
        let mut victim = bench
            .command("--build-arg N=1 -o type=local,dest=thrown-away")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kiln runs");
        std::thread::sleep(Duration::from_micros(random.below(whole)));
        let _ = victim.kill();
        victim.wait().expect("it was started");
        if kill % 4 == 3 {
            assert_whole_and_empty(&bench);
        }
    }
    assert_eq!(
        bench.text("sum", "--build-arg N=3"),
        "some data\n3\ntwo 3\n"
    );
    kiln(&bench, "prune --force --all");
}
