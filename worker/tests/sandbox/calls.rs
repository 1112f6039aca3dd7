//! Which system calls a step may make: what hostile programs would need, by every entry into the kernel, and what
//! honest ones do.

use std::fs;
use std::process::Command;

use kiln_worker::sandbox::Spec;

use crate::bench::{Bench, Root};

crate::cases![
    calls_are_answered_as_by_docker,
    #[root]
    a_privileged_step_makes_all_calls,
    programs_can_be_traced,
    #[root]
    the_keyring_is_new,
    honest_programs_see_no_filter,
    no_user_escapes_the_filter,
    the_filter_costs_nothing_to_speak_of,
];

/// What runc answers with Docker's profile and capabilities, but for the last line, where Docker lets an argument's
/// upper half hide what the lower asks for.
const EXPECTED: &str = include_str!("calls.expected");

/// Calls that kernels of other processors do not have.
const OF_X86: [&str; 5] = ["x86 ", "x32 ", "nfsservctl:", "modify_ldt:", "iopl:"];

fn expected() -> impl Iterator<Item = &'static str> {
    let is_x86 = cfg!(target_arch = "x86_64");
    EXPECTED
        .lines()
        .filter(move |line| is_x86 || OF_X86.iter().all(|begin| !line.starts_with(begin)))
}

/// A root with the program `calls.c` at `/calls`.
fn root_with_calls(bench: &Bench) -> Root {
    let root = bench.root();
    let source = root.upper.join("calls.c");
    fs::write(&source, include_str!("calls.c")).expect("written");
    let status = Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .arg(root.upper.join("calls"))
        .arg(&source)
        .status();
    assert!(status.expect("cc runs").success());
    root
}

fn calls(root: &Root, arguments: &[&str]) -> Spec {
    let all = ["/calls"].iter().chain(arguments).copied();
    Spec::new(root.overlay.clone(), all)
}

fn calls_are_answered_as_by_docker(bench: &Bench) {
    for user in ["", "www-data"] {
        let root = root_with_calls(bench);
        let mut spec = calls(&root, &[]);
        spec.command.user = user.into();
        let done = bench.run(&spec);
        for (line, expected) in done.text().lines().zip(expected()) {
            // The one call that asks for a capability, which root alone has.
            if line != "chroot: EPERM" || user.is_empty() {
                assert_eq!(line, expected, "as {user:?}");
            }
        }
        assert_eq!(done.text().lines().count(), expected().count());
    }
}

fn a_privileged_step_makes_all_calls(bench: &Bench) {
    let root = root_with_calls(bench);
    let mut spec = calls(&root, &[]);
    spec.privileged = true;
    let text = bench.run(&spec).text().to_owned();
    let allowed = ["keyctl: ok", "unshare(NEWUSER): ok", "clone3: EINVAL"];
    for line in allowed {
        assert!(text.lines().any(|given| given == line), "{line}: {text}");
    }
}

fn programs_can_be_traced(bench: &Bench) {
    for user in ["", "www-data"] {
        let root = root_with_calls(bench);
        let mut spec = calls(&root, &["trace"]);
        spec.command.user = user.into();
        assert_eq!(bench.run(&spec).text(), "traced\n");
    }
}

/// Only a privileged step may ask; all join theirs alike.
fn the_keyring_is_new(bench: &Bench) {
    let root = root_with_calls(bench);
    let mut spec = calls(&root, &["keyring"]);
    spec.privileged = true;
    let theirs = bench.run(&spec).text().trim().parse::<u32>();
    let ours = Command::new(root.upper.join("calls"))
        .arg("keyring")
        .output();
    let ours = String::from_utf8(ours.expect("it runs").stdout).expect("text");
    assert_ne!(
        theirs.expect("a keyring"),
        ours.trim().parse::<u32>().expect("a keyring")
    );
}

fn honest_programs_see_no_filter(bench: &Bench) {
    let text = bench.output(
        "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr '\\t\\n' '  '; echo
         cp /bin/true /t && chown 12:34 /t && chmod 4755 /t && stat -c '%u:%g %a' /t
         setcap cap_net_bind_service=ep /t && getcap /t
         mkfifo /f && mknod /s p && ln /t /u && ln -s u /v && mv /u /w && rm /v
         unshare -Ur true 2>/dev/null || echo 'no namespaces'
         chroot / id -u
         perl -e 'use threads; print join(\",\", map { $_->join } map { my $n = $_; threads->create(sub { $n * 2 }) } 1..4), \"\\n\"'
         timeout 5 nice -n 5 sh -c 'ulimit -n 64; ulimit -n'
         setarch i686 uname -m
         tar -C /etc -cf - passwd | tar -xf - -O | head -1 | cut -d: -f1
         head -c 100000 /dev/zero | gzip | gunzip | wc -c",
    );
    let expected = "NoNewPrivs: 0 Seccomp: 2 \n12:34 4755\n/t cap_net_bind_service=ep\nno namespaces\n0\n2,4,6,8\n64\n\
                    i686\nroot\n100000\n";
    assert_eq!(text, expected);
}

/// A program that is set-uid starts behind the filter of whoever started it.
fn no_user_escapes_the_filter(bench: &Bench) {
    let root = root_with_calls(bench);
    let script =
        "cp /calls /set && chown 0:0 /set && chmod 4755 /set && su -s /bin/sh www-data -c /set";
    let done = bench.run(&bench.script(&root, script));
    for line in ["mount: EPERM", "unshare(NEWUSER): EPERM", "chroot: ok"] {
        assert!(
            done.text().lines().any(|given| given == line),
            "{line}: {}",
            done.stdout
        );
    }
}

/// Prints what a call costs with and without the filter; the machine may be busy.
fn the_filter_costs_nothing_to_speak_of(bench: &Bench) {
    let root = root_with_calls(bench);
    let with = bench.run(&calls(&root, &["time", "1000000"]));
    let without = Command::new(root.upper.join("calls"))
        .args(["time", "1000000"])
        .output();
    let without = String::from_utf8(without.expect("it runs").stdout).expect("a number");
    println!(
        "getppid: {} ns with the filter, {} ns without",
        with.text().trim(),
        without.trim()
    );
    assert!(
        with.text()
            .trim()
            .parse::<f64>()
            .is_ok_and(|nanoseconds| nanoseconds < 1e6)
    );
}
