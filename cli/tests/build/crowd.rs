//! Very many builds at once against one store: all finish, and none is wrong.
//!
//! `KILN_CROWD=1000` sets how many there are; a process takes some 15 MB.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};

use crate::bench::Bench;
use crate::machine;
use crate::prune::{APP, assert_whole, assert_whole_and_empty};

/// How many there are where nothing else is asked for.
const FEW: usize = 24;

/// All give the same image the same name.
const TAG: &str = "-t app:1";

fn count() -> usize {
    match std::env::var("KILN_CROWD") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => FEW,
    }
}

/// Starts a build that prints the image's id into a file.
fn start(bench: &Bench, number: usize, argument: usize, more: &str) -> Child {
    let line = format!("--build-arg N={argument} {more}");
    let file =
        |name: &str| File::create(bench.path(&format!("{number}.{name}"))).expect("writable");
    let mut command = bench.command_shown("--quiet", &line);
    command.stdout(file("out")).stderr(file("err"));
    command.stdin(Stdio::null()).spawn().expect("kiln runs")
}

/// Waits for all, and gives the images' ids.
#[track_caller]
fn ids(bench: &Bench, crowd: Vec<Child>) -> Vec<String> {
    let mut ids = Vec::new();
    for (number, mut child) in crowd.into_iter().enumerate() {
        let status = child.wait().expect("it was started");
        let read = |name: &str| {
            let path = bench.path(&format!("{number}.{name}"));
            let text = fs::read_to_string(&path).expect("text");
            fs::remove_file(path).expect("removable");
            text
        };
        let (id, said) = (read("out"), read("err"));
        assert!(status.success(), "{number}: {status}\n{said}");
        assert!(id.starts_with("sha256:"), "{number}: {id:?}\n{said}");
        ids.push(id);
    }
    ids
}

#[test]
fn a_crowd_of_cached_builds() {
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    let expected = ids(&bench, vec![start(&bench, 0, 0, TAG)]);
    let began = Instant::now();
    // Nobody comes past his first lease before all are there.
    let gate = File::open(bench.store().join("lock")).expect("a store has a gate");
    flock(&gate, FlockOperation::LockExclusive).expect("nobody has it");
    let crowd: Vec<Child> = (0..count())
        .map(|number| start(&bench, number, 0, TAG))
        .collect();
    let started = began.elapsed();
    drop(gate);
    let found: BTreeSet<String> = ids(&bench, crowd).into_iter().collect();
    let ended = began.elapsed();
    println!(
        "{} builds, started within {started:.1?}, ended within {ended:.1?}",
        count()
    );
    assert_eq!(found, expected.into_iter().collect());
    machine::assert_clean(&bench.store());
    assert_whole(&bench, "after the crowd");
    assert_eq!(bench.build("--build-arg N=0").ran(), [""; 0]);
}

/// All steps are new at first: one of each few builds runs them, the others wait and take the result.
#[test]
fn a_crowd_that_builds_the_same_for_the_first_time() {
    let bench = Bench::with(APP);
    bench.file("data", "some data\n");
    let crowd: Vec<Child> = (0..count() / 4)
        .map(|number| start(&bench, number, number % 3, "-o type=image"))
        .collect();
    let found = ids(&bench, crowd);
    for argument in 0..3 {
        let same = found.iter().skip(argument).step_by(3);
        let same: BTreeSet<&String> = same.collect();
        assert_eq!(same.len(), 1, "{found:?}");
        let line = format!("--build-arg N={argument}");
        assert_eq!(bench.build(&line).ran(), [""; 0]);
        let sum = bench.text("sum", &line);
        assert_eq!(sum, format!("some data\n{argument}\ntwo {argument}\n"));
    }
    assert_whole_and_empty(&bench);
}
