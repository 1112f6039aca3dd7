//! What is made ready for a step while another runs: used by one that wants just that, and by no other.

use std::fs;

use kiln_worker::sandbox::{Network, Sandbox, Spec};

use crate::bench::Bench;
use crate::death::{children_of, kill, soon};

crate::cases![
    a_step_takes_what_was_made_ready,
    a_step_that_wants_another_network_does_not,
    what_was_made_ready_and_killed_is_made_anew,
    what_nobody_takes_goes_with_the_sandbox,
];

/// The helper that waits for a step like `spec`, of which there is one.
fn prepare(bench: &Bench, spec: &Spec) -> i32 {
    bench.block_on(bench.sandbox.prepare_another(spec));
    let helpers = children_of(std::process::id());
    assert_eq!(helpers.len(), 1, "{helpers:?}");
    helpers[0]
}

/// The network namespace of the first process that a helper has made.
fn prepared_network(helper: i32) -> String {
    let first = || children_of(u32::try_from(helper).expect("a process id"));
    soon("the enclosure is made", || !first().is_empty());
    let link = fs::read_link(format!("/proc/{}/ns/net", first()[0])).expect("a namespace");
    link.display().to_string()
}

fn a_step_takes_what_was_made_ready(bench: &Bench) {
    let root = bench.root();
    let mut spec = bench.script(
        &root,
        "readlink /proc/self/ns/net; cat /proc/sys/kernel/hostname",
    );
    spec.network = Network::Private;
    spec.hostname = "other".into();
    let network = prepared_network(prepare(bench, &spec));
    let done = bench.run(&spec);
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!(lines.first(), Some(&&*network));
    assert_eq!(lines.last(), Some(&"other"));
    assert!(children_of(std::process::id()).is_empty());
}

fn a_step_that_wants_another_network_does_not(bench: &Bench) {
    let root = bench.root();
    let mut wanted = bench.script(&root, "true");
    wanted.network = Network::Private;
    let helper = prepare(bench, &wanted);
    let network = prepared_network(helper);
    let root = bench.root();
    let mut other = bench.script(&root, "readlink /proc/self/ns/net; ls /sys/class/net");
    other.network = Network::None;
    let done = bench.run(&other);
    assert!(!done.text().contains(&network));
    assert!(done.text().ends_with("\nlo\n"), "{}", done.text());
    assert_eq!(children_of(std::process::id()), [helper]);
    bench.block_on(bench.sandbox.prepare_another(&other));
    soon("another takes its place", || {
        !children_of(std::process::id()).contains(&helper)
    });
    let root = bench.root();
    let mut again = bench.script(&root, "ls /sys/class/net");
    again.network = Network::None;
    assert_eq!(bench.run(&again).text(), "lo\n");
}

fn what_was_made_ready_and_killed_is_made_anew(bench: &Bench) {
    let root = bench.root();
    let spec = bench.script(&root, "echo done");
    let helper = prepare(bench, &spec);
    kill(helper);
    soon("it is dead", || {
        fs::read_to_string(format!("/proc/{helper}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    });
    assert_eq!(bench.run(&spec).text(), "done\n");
}

fn what_nobody_takes_goes_with_the_sandbox(bench: &Bench) {
    let root = bench.root();
    let spec = bench.script(&root, "true");
    let sandbox = Sandbox::default();
    bench.block_on(sandbox.prepare_another(&spec));
    let helpers = children_of(std::process::id());
    assert_eq!(helpers.len(), 1);
    bench.block_on(async { drop(sandbox) });
    soon("it is gone", || children_of(std::process::id()).is_empty());
}
