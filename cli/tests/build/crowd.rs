//! Very many builds at once against one store: all finish, and none is wrong.
//!
//! `KILN_CROWD=1000` sets how many there are; a process takes some 15 MB.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};

use crate::bench::{Bench, run};
use crate::machine;
use crate::prune::{APP, assert_whole, assert_whole_and_empty};
use crate::wait;

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

/// Whoever waits for a step of a build that was stopped learns which process to end, and goes on once it is.
#[test]
fn whoever_waits_learns_for_whom() {
    let step =
        "RUN --mount=type=cache,target=/c touch /c/begun && sleep $(cat /c/long || echo 1000)";
    let bench = Bench::with(&format!("FROM base\n{step}\n"));
    let mut owner = bench.command("");
    let owner = owner.stdout(Stdio::null()).stderr(Stdio::null());
    let mut owner = owner.spawn().expect("kiln runs");
    let begun = wait::until_some(|| {
        let homes = fs::read_dir(bench.store().join("cache-mounts"));
        let homes = homes.into_iter().flatten().flatten();
        let mut marks = homes.map(|home| home.path().join("files/begun"));
        marks.find(|mark| mark.exists())
    });
    fs::write(begun.with_file_name("long"), "0").expect("writable");
    let process = owner.id().to_string();
    run("kill", &["-s", "STOP", &process]);
    let log = File::create(bench.path("log")).expect("writable");
    let mut waiting = bench.command_shown("--progress=plain", "");
    let mut waiting = waiting.stderr(log).spawn().expect("kiln runs");
    let said = wait::until_some(|| {
        let text = fs::read_to_string(bench.path("log")).expect("text");
        text.contains("is making this step").then_some(text)
    });
    let expected =
        format!("waiting: another build (process {process}, which is stopped) is making this step");
    assert!(said.contains(&expected), "{said}");
    owner.kill().expect("it is there");
    owner.wait().expect("it was started");
    assert!(waiting.wait().expect("it was started").success());
    let text = fs::read_to_string(bench.path("log")).expect("text");
    assert_eq!(text.matches("is making this step").count(), 1, "{text}");
}
