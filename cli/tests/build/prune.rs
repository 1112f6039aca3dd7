//! Prunes beside builds, automatic garbage collection, and what `kiln du` says.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln_worker::gc::Survey;
use kiln_worker::store::Store;

use crate::bench::{Bench, run, text};
use crate::{finished::Finished, machine};

/// A build of a bit of everything that ends within a moment.
pub(crate) const APP: &str = "FROM base AS one
ARG N
COPY data /data
RUN --mount=type=cache,target=/c echo $N >/n; cat /data >>/c/all; cat /data /n >/one
FROM base AS two
ARG N
RUN echo two $N >/two
FROM base
COPY --from=one /one /one
COPY --from=two /two /two
RUN cat /one /two >/sum
";

#[track_caller]
pub(crate) fn kiln(bench: &Bench, line: &str) -> String {
    let finished = Finished::of(bench.kiln().args(line.split_whitespace()));
    let said = String::from_utf8(finished.stdout).expect("text");
    assert_eq!(finished.code, Some(0), "{line}\n{said}{}", finished.stderr);
    said
}

/// Builds and prunes in loops beside each other, some of them killed: every build that ends is right,
/// and nothing stays that should not.
#[test]
fn prunes_run_beside_builds() {
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    bench.build("--build-arg N=0");
    let stop = AtomicBool::new(false);
    let (builds, prunes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let build = |worker: usize| {
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            // Of some numbers the cache is used again and again, others are new.
            let number = if round % 2 == 0 {
                round % 4
            } else {
                1000 * worker + round
            };
            let out = bench.path(&format!("out-{worker}"));
            let line = format!("--build-arg N={number} -o {}", text(&out));
            let finished = bench.try_build(&line);
            finished.assert_well();
            let sum = fs::read_to_string(out.join("sum")).expect("it was built");
            assert_eq!(sum, format!("some data\n{number}\ntwo {number}\n"));
            builds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let prune = || {
        while !stop.load(Ordering::Relaxed) {
            for line in [
                "prune --force",
                "prune --force --all",
                "prune -f --max-used-space 1MB",
            ] {
                kiln(&bench, line);
                prunes.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let kill = || {
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let mut command = match round % 2 {
                0 => bench.command(&format!("--build-arg N={}", round % 3)),
                _ => bench.kiln(),
            };
            if round % 2 == 1 {
                command.args(["prune", "--force", "--all"]);
            }
            let mut victim = command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("kiln runs");
            std::thread::sleep(Duration::from_millis(round % 7 * 15));
            let _ = victim.kill();
            victim.wait().expect("it was started");
        }
    };
    std::thread::scope(|scope| {
        let workers = [0, 1].map(|worker| scope.spawn(move || build(worker)));
        let others = [scope.spawn(prune), scope.spawn(kill)];
        let end = Instant::now() + Duration::from_secs(8);
        let is_over = || workers.iter().any(|worker| worker.is_finished());
        while Instant::now() < end && !is_over() {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        for worker in workers.into_iter().chain(others) {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    assert!(builds.into_inner() > 0 && prunes.into_inner() > 0);
    assert_whole_and_empty(&bench);
    assert_eq!(
        bench.text("sum", "--build-arg N=5"),
        "some data\n5\ntwo 5\n"
    );
}

/// Fails unless all that is left is whole, and goes with a prune.
#[track_caller]
pub(crate) fn assert_whole_and_empty(bench: &Bench) {
    wait_for_the_dead(bench);
    assert!(kiln(bench, "store verify").contains("everything is whole"));
    kiln(bench, "prune --force --all");
    for kind in [
        "blobs/sha256",
        "layers",
        "cache-mounts",
        "contexts",
        "builds",
        "tmp",
    ] {
        let left: Vec<_> = fs::read_dir(bench.store().join(kind))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert_counted(bench, "after a prune");
}

/// Fails unless everything in the store is whole.
#[track_caller]
pub(crate) fn assert_whole(bench: &Bench, what: &str) {
    wait_for_the_dead(bench);
    let verify = Finished::of(bench.kiln().args(["store", "verify"]));
    let said = String::from_utf8_lossy(&verify.stdout);
    assert_eq!(verify.code, Some(0), "{what}\n{said}{}", verify.stderr);
}

/// The helpers of killed builds are gone a moment after them.
fn wait_for_the_dead(bench: &Bench) {
    let store = bench.store();
    for _ in 0..1000 {
        if machine::mounts(&store).is_empty() && machine::processes(&store).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A build that is under way keeps what it needs, whatever is pruned.
#[test]
fn a_prune_does_not_wait_for_a_build() {
    let bench = Bench::with(
        "FROM base\nRUN echo x >/x\nRUN --mount=type=cache,target=/c touch /c/began; while [ -e /c/began ]; do sleep 0.05; done; cat /x >/y\n",
    );
    let out = bench.path("out");
    let mut build = bench.command(&format!("-o {}", text(&out)));
    let build = build
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kiln runs");
    let began = || {
        let caches = fs::read_dir(bench.store().join("cache-mounts"));
        let mut paths = caches.into_iter().flatten().flatten();
        paths.find_map(|cache| {
            let path = cache.path().join("files/began");
            path.exists().then_some(path)
        })
    };
    let began = (0..2000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        began()
    });
    let began = began.expect("the build begins");
    kiln(&bench, "prune --force --all");
    let said = kiln(&bench, "du --verbose");
    assert!(said.contains(&format!("process {}", build.id())), "{said}");
    fs::remove_file(began).expect("it was there");
    let output = build.wait_with_output().expect("it was started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        fs::read_to_string(out.join("y")).expect("it was built"),
        "x\n"
    );
    kiln(&bench, "prune --force --all");
    assert!(
        !bench
            .store()
            .join("layers")
            .read_dir()
            .expect("a directory")
            .any(|_| true)
    );
}

/// After every build the store is as small as it should be, by what the disk says.
#[test]
fn automatic_collection_keeps_the_cap() {
    let bench = Bench::with("FROM base\nARG N\nRUN head -c 3000000 /dev/urandom >/data\n");
    let config = bench.path("kiln.toml");
    fs::write(&config, "[gc]\nmaxUsedSpace = \"12MB\"\n").expect("writable");
    for number in 0..6 {
        // What was used last is told by the second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        bench.build(&format!(
            "--config {} --build-arg N={number}",
            text(&config)
        ));
        let used = used(&bench);
        assert!(used < 12_000_000 + 100_000, "{number}: {used}");
    }
    // The last one is still there; an image that is too large by itself stays, and that is said.
    let line = format!("--config {} --build-arg N=5", text(&config));
    assert_eq!(bench.build(&line).ran(), [""; 0]);
    fs::write(&config, "[gc]\nmaxUsedSpace = \"1MB\"\n").expect("writable");
    let line = format!("--config {} --build-arg N=7 -t kept:1", text(&config));
    let said = bench.build(&line).everything();
    assert!(
        said.contains("more than the 1MB that it may have"),
        "{said}"
    );
    fs::write(&config, "[gc]\nmaxUsedSpace = \"lots\"\n").expect("writable");
    bench
        .try_build(&line)
        .assert_failed(1, &["\"lots\" is no size", text(&config)]);
}

/// What the store takes up, as the machine's own program counts it, in bytes.
fn used(bench: &Bench) -> u64 {
    let said = run("du", &["-s", "-B1", text(&bench.store())]);
    let number = said.split_whitespace().next().expect("a size");
    number.parse().expect("a number")
}

/// Fails unless a survey counts what the machine does.
#[track_caller]
fn assert_counted(bench: &Bench, what: &str) {
    let store = Store::open(&bench.store()).expect("a store");
    // The first one writes down what it measured.
    let surveys = [(); 2].map(|()| Survey::take(&store).expect("readable"));
    assert_eq!(surveys[1].bytes(), used(bench), "{what}");
}

/// A build that takes long lets old cache go while it runs.
#[test]
fn the_cap_holds_while_a_build_runs() {
    let bench = Bench::with("FROM base\nARG N\nRUN head -c 6000000 /dev/urandom >/data\n");
    for number in 0..3 {
        bench.build(&format!("--build-arg N={number}"));
    }
    assert!(used(&bench) > 18_000_000);
    let config = bench.path("kiln.toml");
    fs::write(&config, "[gc]\nmaxUsedSpace = \"16MB\"\n").expect("writable");
    bench.file(
        "Dockerfile",
        "FROM base\nRUN head -c 1000000 /dev/urandom >/data; cp /data /other\n\
         RUN --mount=type=cache,target=/c until test -e /c/go; do sleep 0.1; done; cmp /data /other\n",
    );
    let line = format!("--config {}", text(&config));
    let mut build = bench.command(&line);
    let mut build = build
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kiln runs");
    let is_small = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let caches = fs::read_dir(bench.store().join("cache-mounts"));
        let began = caches.into_iter().flatten().flatten().next().is_some();
        began && used(&bench) < 16_000_000
    });
    for cache in fs::read_dir(bench.store().join("cache-mounts")).expect("it began") {
        fs::write(cache.expect("an entry").path().join("files/go"), "").expect("writable");
    }
    assert!(build.wait().expect("it was started").success());
    assert!(is_small, "{}", used(&bench));
    // What it made is all there.
    assert_eq!(bench.build(&line).ran(), [""; 0]);
}

/// `kiln du` counts every byte, and a prune leaves none that it did not count.
#[test]
fn du_says_what_the_machine_says() {
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    for line in ["-t app:1 --build-arg N=1", "--build-arg N=2", "-o out"] {
        bench.build(line);
        assert_counted(&bench, line);
    }
    for line in ["prune -f", "prune -f --all"] {
        kiln(&bench, line);
        assert_counted(&bench, line);
    }
}

#[test]
fn du_says_what_made_and_needs_each_thing() {
    let bench = Bench::with(
        "FROM base\nCOPY data /data\nRUN --mount=type=cache,id=stuff,target=/c cat /data >/copy\n",
    );
    bench.file("data", "some data\n");
    bench.build("-t app:1");
    let said = kiln(&bench, "du --verbose");
    for part in [
        "docker.io/library/app:1",
        "run /bin/sh -c cat /data >/copy",
        "copy data data",
        "cache mount stuff",
        "build record",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let would = kiln(&bench, "prune --dry-run --filter type=exec.cachemount");
    assert!(would.contains("would delete cache mount"), "{would}");
    let removed = kiln(&bench, "prune --force --filter type=exec.cachemount");
    assert_eq!(removed, would.replace("would delete", "deleted"));
    let json = kiln(
        &bench,
        "du --verbose --format json --filter type=regular,shared",
    );
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line["Images"][0] == "docker.io/library/app:1"),
        "{json}"
    );
}
