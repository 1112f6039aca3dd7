//! `RUN --mount=type=cache`: what it begins with, who shares it, and that it is no part of anything.

use std::fs;
use std::process::{Command, Stdio};

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::machine;
use crate::wait;

/// Builds the steps in turn, one build for each, and fails unless all of them end well.
#[track_caller]
fn in_turn(head: &str, steps: &[&str]) -> Bench {
    let bench = Bench::new();
    for step in steps {
        bench.file("Dockerfile", format!("{head}FROM base\n{step}\n"));
        bench.build("--no-cache");
    }
    machine::assert_clean(&bench.store());
    bench
}

#[test]
fn a_cache_is_found_by_its_id() {
    let bench = in_turn(
        "",
        &[
            "RUN --mount=type=cache,target=/c echo 1 >/c/f",
            "RUN --mount=type=cache,target=/d,id=/c test -e /d/f",
            "RUN --mount=type=cache,target=/c,sharing=locked test -e /c/f",
            "RUN --mount=type=cache,target=/c,sharing=private test -e /c/f",
            "RUN --mount=type=cache,target=/c,ro test -e /c/f && ! touch /c/g",
            "WORKDIR /w\nRUN --mount=type=cache,target=c ! test -e c/f && touch c/relative",
            "RUN --mount=type=cache,target=/x,id=c test -e /x/relative",
            "RUN --mount=type=cache,target=/c,uid=1000,gid=50,mode=0700 ! test -e /c/f && test \"$(stat -c '%a %u:%g' /c)\" = '700 1000:50'",
            "RUN --mount=type=cache,target=/c,id=other ! test -e /c/f",
            "RUN --mount=type=cache,target=/c --mount=type=cache,target=/d,id=/c,sharing=locked touch /c/both && test -e /d/both",
            "RUN --mount=type=cache,target=/c,sharing=locked --mount=type=cache,target=/d,id=/c,sharing=locked test -e /d/both",
            "RUN test ! -e /c",
        ],
    );
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c ! test -e /c/f\n",
    );
    bench.build("--build-arg BUILDKIT_CACHE_MOUNT_NS=mine");
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/deep/c touch /deep/c/x\n",
    );
    assert!(!bench.files("out", "").join("deep").exists());
}

#[test]
fn a_cache_begins_with_a_directory_or_a_file_and_then_lives_on() {
    let head = "FROM base AS seed\nRUN mkdir -p /s/d && echo seed >/s/d/f && ln /s/d/f /s/hard && ln -s d/f /s/soft && chown -R 5:6 /s && chmod 0750 /s && ln -s /s /link\n";
    let bench = in_turn(
        head,
        &[
            "RUN --mount=type=cache,target=/c,from=seed,source=/s test \"$(stat -c '%a %u:%g' /c /c/d/f | tr '\\n' ' ')\" = '750 5:6 644 5:6 ' && test $(stat -c %h /c/hard) = 2 && test $(cat /c/soft) = seed && touch /c/new",
            "RUN --mount=type=cache,target=/c,from=seed,source=/s test -e /c/new && test -e /c/d/f",
            "RUN --mount=type=cache,target=/c,from=seed,source=/link/../s test -e /c/d/f",
            "RUN --mount=type=cache,target=/c,from=seed,source=link test -e /c/d/f",
            "RUN --mount=type=cache,target=/c,from=seed,source=../../../s/d test \"$(ls /c)\" = f",
            "RUN --mount=type=cache,target=/c,from=seed,uid=7 test -z \"$(ls /c)\" && test $(stat -c %u /c) = 7",
            "RUN --mount=type=cache,target=/c,from=seed test -d /c/s/d -a -x /c/bin/sh",
            "RUN --mount=type=cache,target=/c,from=seed,source=/s/soft test \"$(stat -c '%F %a %u:%g' /c)\" = 'regular file 644 5:6' && test $(cat /c) = seed && echo more >>/c",
            "RUN --mount=type=cache,id=/c,target=/deep/c,from=seed,source=/s/soft test \"$(tail -n 1 /deep/c)\" = more",
        ],
    );
    bench.file(
        "Dockerfile",
        format!(
            "{head}FROM base\nRUN --mount=type=cache,target=/c,from=seed,source=/missing true\n"
        ),
    );
    bench.refused("", 1, &["missing", ">>> RUN --mount"]);
    bench.file(
        "Dockerfile",
        format!(
            "{head}FROM base\nRUN --mount=type=cache,target=/etc,from=seed,source=/s/soft true\n"
        ),
    );
    bench.refused("", 1, &["/etc", "a file cannot be mounted on a directory"]);
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c,source=../../../etc true\n",
    );
    bench.refused("", 1, &["/etc", "No such file"]);
}

#[test]
fn what_a_cache_holds_changes_no_key_but_what_it_begins_with_does() {
    let bench = Bench::new();
    let write = |seed: &str| {
        bench.file("Dockerfile", format!("FROM base AS seed\nRUN mkdir /s && echo {seed} >/s/f\nFROM base\nRUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/f >/f && date +%N >>/c/f\n"));
    };
    write("one");
    assert_eq!(bench.build("").ran().len(), 2);
    assert_eq!(bench.build("").ran(), [""; 0]);
    write("two");
    assert_eq!(bench.text("f", ""), "two\n");
}

/// Starts builds at once, each with another context, and waits for all of them.
fn at_once(bench: &Bench, dockerfile: &str, how_many: usize) -> Vec<Finished> {
    let start = |number: usize| {
        let context = bench.path(&format!("context-{number}"));
        fs::create_dir(&context).expect("a directory");
        fs::write(
            context.join("Dockerfile"),
            dockerfile.replace("NUMBER", &number.to_string()),
        )
        .expect("writable");
        let base = format!("base=oci-layout://{}", text(crate::base::small()));
        let mut command = bench.kiln();
        command
            .args(["build", "--progress=rawjson", "--build-context", &base])
            .arg(context);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kiln runs")
    };
    let running: Vec<_> = (0..how_many).map(start).collect();
    let outputs = running
        .into_iter()
        .map(|child| child.wait_with_output().expect("it ends"));
    let finished = outputs.map(|output| Finished {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    });
    finished.collect()
}

#[test]
fn processes_that_lock_a_cache_take_turns() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    // Each step would see the other's mark if it were there at the same time.
    let dockerfile = "FROM base\nRUN --mount=type=cache,target=/c,id=turns,sharing=locked echo NUMBER && mkdir /c/mark && sleep 0.3 && rmdir /c/mark && echo NUMBER >>/c/done\n\
        RUN --mount=type=cache,target=/a,id=a,sharing=locked --mount=type=cache,target=/b,id=b,sharing=locked echo NUMBER\n\
        RUN --mount=type=cache,target=/b,id=b,sharing=locked --mount=type=cache,target=/a,id=a,sharing=locked echo NUMBER\n";
    let finished = at_once(&bench, dockerfile, 4);
    finished.iter().for_each(Finished::assert_well);
    let waited = finished
        .iter()
        .filter(|one| one.everything().contains("waiting for the cache turns"));
    assert!(waited.count() >= 1);
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c,id=turns sort /c/done >/done\n",
    );
    assert_eq!(bench.text("done", ""), "0\n1\n2\n3\n");
    machine::assert_clean(&bench.store());
}

#[test]
fn processes_that_share_a_cache_meet_and_private_ones_do_not() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    // Both end only when they see each other.
    let shared = "FROM base\nRUN --mount=type=cache,target=/c,id=meet touch /c/NUMBER && until test -e /c/0 && test -e /c/1; do sleep 0.05; done\n";
    at_once(&bench, shared, 2)
        .iter()
        .for_each(Finished::assert_well);
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    let private = "FROM base\nRUN --mount=type=cache,target=/c,id=own,sharing=private --mount=type=cache,target=/m,id=meet touch /m/NUMBER && until test -e /m/0 && test -e /m/1; do sleep 0.05; done && ! test -e /c/x && touch /c/x && sleep 0.2\n";
    at_once(&bench, private, 2)
        .iter()
        .for_each(Finished::assert_well);
}

#[test]
fn a_killed_holder_lets_go_of_its_cache() {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked touch /c/held && sleep 1000\n",
    );
    let mut holder = bench
        .command("")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kiln runs");
    let held = || {
        Command::new("find")
            .arg(bench.store().join("cache-mounts"))
            .args(["-name", "held"])
            .output()
            .expect("it runs")
            .stdout
    };
    wait::until(|| !held().is_empty());
    holder.kill().expect("it runs");
    holder.wait().expect("it ends");
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked test -e /c/held\n",
    );
    bench.build("");
    machine::assert_clean(&bench.store());
}
