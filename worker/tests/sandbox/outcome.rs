//! What a step tells: exit codes, signals, output, and why it could not be run.

use std::time::Instant;

use kiln_worker::sandbox::{Error, Exit, Failure, Limit, Resource, Spec};
use kiln_worker::secret::Secret;

use crate::bench::Bench;

crate::cases![
    exits_and_signals_are_outcomes,
    streams_are_separate_and_whole,
    no_last_word_is_lost,
    what_cannot_be_run_is_an_error,
    programs_are_found_as_in_docker,
    environment_is_the_given_one_and_home,
    limits_are_set,
    secrets_do_not_show_in_debug_output,
    steps_run_side_by_side,
    a_step_costs_a_few_milliseconds,
];

fn exits_and_signals_are_outcomes(bench: &Bench) {
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 255", Exit::Code(255)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -SEGV $$", Exit::Signal(11)),
    ] {
        let done = bench.run(&bench.script(&bench.root(), script));
        assert_eq!(done.outcome.exit, expected, "{script}");
        assert!(done.outcome.peak_memory > 100_000);
    }
}

fn streams_are_separate_and_whole(bench: &Bench) {
    let script = "seq 1 300000; seq 1 50000 >&2; cat";
    let done = bench.run(&bench.script(&bench.root(), script));
    let numbers = |last: u32| {
        (1..=last)
            .map(|number| format!("{number}\n"))
            .collect::<String>()
    };
    assert!(
        done.stdout == numbers(300_000),
        "{} bytes",
        done.stdout.len()
    );
    assert!(
        done.stderr == numbers(50_000),
        "{} bytes",
        done.stderr.len()
    );
}

/// What a step says right before it ends is read although its end is known as soon.
fn no_last_word_is_lost(bench: &Bench) {
    for _ in 0..50 {
        let done = bench.run(&bench.script(&bench.root(), "printf word; printf other >&2"));
        assert_eq!((&*done.stdout, &*done.stderr), ("word", "other"));
    }
}

fn what_cannot_be_run_is_an_error(bench: &Bench) {
    let root = bench.root();
    let of = |args: &[&str]| Spec::new(root.overlay.clone(), args.iter().copied());
    let mut no_directory = of(&["true"]);
    no_directory.command.cwd = "/etc/passwd/missing".into();
    let mut bad_name = of(&["true"]);
    bad_name.command.user = "nobody-here".into();
    for (spec, message) in [
        (of(&["missing"]), "cannot run \"missing\": No such file"),
        (of(&["/missing"]), "cannot run \"/missing\": No such file"),
        (
            of(&["/etc/passwd"]),
            "cannot run \"/etc/passwd\": Permission denied",
        ),
        (of(&["/etc"]), "cannot run \"/etc\": Permission denied"),
        (of(&[]), "the step has no program"),
        (of(&["a\0b"]), "holds a NUL"),
        (
            no_directory,
            "cannot enter the working directory /etc/passwd/missing: Not a directory",
        ),
        (bad_name, "user \"nobody-here\" is not in /etc/passwd"),
    ] {
        // The overlay's work directory serves one mount only.
        let fresh = bench.root();
        let spec = Spec {
            root: fresh.overlay.clone(),
            ..spec
        };
        match bench.try_run(&spec) {
            Err(error @ Error::Step(_)) => assert!(error.to_string().contains(message), "{error}"),
            other => panic!("{message}: {:?}", other.map(|done| done.outcome)),
        }
    }
    let mut nothing = of(&["true"]);
    nothing.root.layers = vec!["/nonexistent/layer".into()];
    match bench.try_run(&nothing) {
        Err(Error::Step(Failure::System { path, .. })) => assert_eq!(path, "/nonexistent/layer"),
        other => panic!("{:?}", other.map(|done| done.outcome)),
    }
}

fn programs_are_found_as_in_docker(bench: &Bench) {
    let root = bench.root();
    let mut spec = Spec::new(root.overlay.clone(), ["tool"]);
    spec.command.env = vec![("PATH".into(), "/etc:/missing:/etc/passwd:/opt/bin".into())];
    std::fs::create_dir_all(root.upper.join("opt/bin")).expect("mkdir");
    let tool = root.upper.join("opt/bin/tool");
    std::fs::write(&tool, "#!/bin/sh\necho found $0").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).expect("chmod");
    assert_eq!(bench.run(&spec).text(), "found /opt/bin/tool\n");
}

fn environment_is_the_given_one_and_home(bench: &Bench) {
    let environment = |user: &str, env: &[(&str, &str)]| {
        let mut spec = Spec::new(bench.root().overlay, ["/usr/bin/env"]);
        let root = bench.root();
        spec.root = root.overlay;
        spec.command.user = user.into();
        spec.command.env = env
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        bench.run(&spec).text().to_owned()
    };
    assert_eq!(environment("", &[("A", "b c")]), "A=b c\nHOME=/root\n");
    assert_eq!(environment("www-data", &[]), "HOME=/var/www\n");
    assert_eq!(environment("4321", &[]), "HOME=/\n");
    assert_eq!(environment("", &[("HOME", "/x")]), "HOME=/x\n");
}

fn limits_are_set(bench: &Bench) {
    let root = bench.root();
    let mut spec = bench.script(&root, "ulimit -Sn; ulimit -Hn; ulimit -Sc");
    spec.command.limits = vec![
        Limit {
            resource: Resource::OpenFiles,
            soft: Some(100),
            hard: Some(200),
        },
        Limit {
            resource: Resource::Core,
            soft: Some(0),
            hard: Some(0),
        },
    ];
    assert_eq!(bench.run(&spec).text(), "100\n200\n0\n");
}

fn secrets_do_not_show_in_debug_output(_: &Bench) {
    assert_eq!(
        format!("{:?}", Secret(b"hunter2".into())),
        "Secret(7 bytes)"
    );
}

fn steps_run_side_by_side(bench: &Bench) {
    let roots: Vec<_> = (0..16).map(|_| bench.root()).collect();
    let steps = roots.iter().enumerate().map(|(number, root)| {
        let spec = bench.script(
            root,
            &format!("sleep 0.3; echo {number} > /x; ls /x; exit {number}"),
        );
        async move {
            let outcome = bench
                .sandbox
                .run(&spec, |_, _| {}, std::future::pending())
                .await;
            outcome.expect("it runs").exit
        }
    });
    let began = Instant::now();
    let exits = bench.block_on(futures_util::future::join_all(steps));
    assert!(
        began.elapsed().as_secs_f32() < 0.3 * 16.0,
        "{:?}",
        began.elapsed()
    );
    let expected: Vec<_> = (0..16).map(Exit::Code).collect();
    assert_eq!(exits, expected);
}

/// Prints what `RUN true` costs, and fails only where something has gone badly wrong: the machine may be busy.
fn a_step_costs_a_few_milliseconds(bench: &Bench) {
    let mut times: Vec<_> = (0..40)
        .map(|_| {
            let root = bench.root();
            let spec = Spec::new(root.overlay, ["/bin/true"]);
            let began = Instant::now();
            bench.run(&spec);
            began.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "RUN true: best {:?}, median {:?}, worst {:?}",
        times[0], times[20], times[39]
    );
    assert!(times[20].as_secs() < 1);
}
