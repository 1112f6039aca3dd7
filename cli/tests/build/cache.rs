//! What runs again, and what does not.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::bench::Bench;
use crate::finished::Finished;

const APP: &str = "FROM base
ARG GREETING=hello
WORKDIR /src
COPY first .
RUN cat first >out
COPY second .
RUN cat second >>out; echo $GREETING >>out
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("first", "1\n");
    bench.file("second", "2\n");
    bench.build("");
    bench
}

#[test]
fn a_second_build_runs_nothing() {
    let bench = app();
    let again = bench.build("");
    assert_eq!(again.ran(), [""; 0]);
    assert_eq!(again.cached().len(), 5, "{:?}", again.cached());
}

#[test]
fn a_changed_file_reruns_what_depends_on_it_and_no_more() {
    let bench = app();
    bench.file("second", "two\n");
    let expected = ["COPY second .", "RUN cat second >>out; echo hello >>out"];
    assert_eq!(bench.build("").ran(), expected);
    assert_eq!(bench.text("src/out", ""), "1\ntwo\nhello\n");
    // What was once is known still.
    bench.file("second", "2\n");
    assert_eq!(bench.build("").ran(), [""; 0]);
    assert_eq!(bench.text("src/out", ""), "1\n2\nhello\n");
}

#[test]
fn a_changed_first_file_reruns_all_but_what_reads_none_of_it() {
    let bench = app();
    bench.file("first", "one\n");
    let ran = bench.build("").ran();
    assert!(!ran.contains(&"WORKDIR /src".to_owned()), "{ran:?}");
    assert_eq!(bench.text("src/out", ""), "one\n2\nhello\n");
}

#[test]
fn a_changed_build_argument_reruns_commands_but_no_copies() {
    let bench = app();
    let ran = bench.build("--build-arg GREETING=hi").ran();
    let expected = ["RUN cat first >out", "RUN cat second >>out; echo hi >>out"];
    assert_eq!(ran, expected);
    let text = bench.text("src/out", "--build-arg GREETING=hi");
    assert_eq!(text, "1\n2\nhi\n");
    assert_eq!(bench.build("").ran(), [""; 0]);
}

#[test]
fn proxies_are_no_reason_to_run_again() {
    let bench = app();
    assert_eq!(
        bench.build("--build-arg http_proxy=http://x:1").ran(),
        [""; 0]
    );
}

#[test]
fn a_command_that_yields_the_same_again_lets_what_follows_hit() {
    let bench = Bench::with(
        "FROM base AS noisy\nCOPY noise /noise\nFROM base\nRUN --mount=from=noisy,target=/mnt test -s /mnt/noise; echo same >/made\n\
         RUN cp /made /copied\nCOPY noise2 /n\nRUN cp /copied /again\n",
    );
    bench.file("noise", "1");
    bench.file("noise2", "1");
    bench.build("");
    bench.file("noise", "2");
    let ran = bench.build("").ran();
    let expected = [
        "COPY noise /noise",
        "RUN --mount=from=noisy,target=/mnt test -s /mnt/noise; echo same >/made",
    ];
    assert_eq!(ran, expected);
}

/// Of what a command makes again only the times differ, and a file that is gone: all that takes from it
/// hits, in whatever way it takes it.
#[test]
fn a_command_that_yields_other_times_only_lets_what_takes_from_it_hit() {
    let made = "RUN mkdir -p /d/e; echo same >/d/e/f; ln -s f /d/e/g; chmod 750 /d; touch -h -d @$(cat /noise) /d/e/f /d/e/g /d/e /d; rm /noise";
    let bench = Bench::with(&format!(
        "FROM base AS made\nCOPY noise /noise\n{made}\n\
         FROM base AS last\nCOPY --from=made /d /copied\nCOPY --link --from=made /d/e/f /linked\n\
         COPY --from=made --parents /d/./e /parents/\nRUN --mount=from=made,target=/m cp /m/d/e/f /mounted\n\
         RUN --mount=from=made,source=/d,target=/m cat /m/e/f /copied/e/f >/all\n\
         FROM made AS on\nRUN cat /d/e/f >/on\n\
         FROM last\nCOPY --from=on /on /on\n"
    ));
    bench.file("noise", "1000");
    bench.build("");
    assert_eq!(bench.text("all", ""), "same\nsame\n");
    bench.file("noise", "2000");
    // What stands on the stage itself stands on the layer that had the noise.
    let expected = ["COPY noise /noise", made, "RUN cat /d/e/f >/on"];
    assert_eq!(bench.build("").ran(), expected);
    // Then its content was the same, too, and the next build knows all by its definition.
    assert_eq!(bench.build("").ran(), [""; 0]);
    bench.file("noise", "1000");
    assert_eq!(bench.build("").ran(), [""; 0]);
}

/// One mode, owner, name or byte more is another content.
#[test]
fn a_command_that_yields_something_else_runs_what_follows() {
    let changes = [
        "chmod 600 /d/f",
        "chown 1 /d/f",
        "mv /d/f /d/g",
        "echo >>/d/f",
        "rm /d/f",
        "ln -sf x /d/f",
    ];
    let bench = Bench::with(
        "FROM base AS made\nARG CHANGE=true\nRUN mkdir /d; echo f >/d/f; sh -c \"$CHANGE\"\n\
         FROM base\nCOPY --from=made /d /d\nRUN ls -l /d\n",
    );
    bench.build("");
    for change in changes {
        let mut command = bench.command("");
        command.args(["--build-arg", &format!("CHANGE={change}")]);
        let ran = Finished::of(&mut command).ran();
        assert_eq!(ran.len(), 3, "{change}: {ran:?}");
    }
}

#[test]
fn another_time_or_a_rewrite_of_the_same_bytes_changes_nothing() {
    let bench = app();
    let file = File::options().write(true).open(bench.context("first"));
    let later = SystemTime::now() + Duration::from_secs(1000);
    let set = file.expect("the file is there").set_modified(later);
    set.expect("the time can be set");
    let second = bench.context("second");
    fs::remove_file(&second).expect("removable");
    fs::write(&second, "2\n").expect("writable");
    bench.file("unrelated", "not copied");
    assert_eq!(bench.build("").ran(), [""; 0]);
}

#[test]
fn another_mode_of_a_file_is_a_change() {
    let bench = app();
    bench.shell("chmod 755 second");
    let ran = bench.build("").ran();
    assert_eq!(ran[0], "COPY second .", "{ran:?}");
}

#[test]
fn a_file_that_comes_or_goes_is_a_change_of_its_directory() {
    let bench = Bench::with("FROM scratch\nCOPY d /d\n");
    bench.file("d/one", "1");
    bench.build("");
    bench.file("d/two", "2");
    assert_eq!(bench.build("").ran(), ["COPY d /d"]);
    assert!(bench.files("with", "").join("d/two").exists());
    fs::remove_file(bench.context("d/two")).expect("removable");
    assert_eq!(bench.build("").ran(), [""; 0]);
    assert!(!bench.files("without", "").join("d/two").exists());
}

#[test]
fn what_is_copied_with_its_parents_is_read_at_any_depth_and_nothing_beside_it() {
    const COPY: &str = "COPY --parents src/**/*.c k/*/./y/**/z /x/";
    let bench = Bench::with(&format!("FROM base\n{COPY}\n"));
    for file in [
        "src/a/b/c/deep.c",
        "k/m/y/p/q/z",
        "src/a/beside",
        "k/m/beside",
    ] {
        bench.file(file, "1\n");
    }
    assert_eq!(bench.text("x/y/p/q/z", ""), "1\n");
    for change in [
        "echo 2 >src/a/b/c/deep.c",
        "echo 2 >k/m/y/p/q/z",
        "chmod 700 src/a/b",
        "mkdir -p k/n/y; echo 3 >k/n/y/z",
    ] {
        bench.shell(change);
        assert_eq!(bench.build("").ran(), [COPY], "{change}");
    }
    bench.shell("echo 2 >src/a/beside; echo 2 >k/m/beside; chmod 700 k");
    assert_eq!(bench.build("").ran(), [""; 0]);
    assert_eq!(bench.text("x/src/a/b/c/deep.c", ""), "2\n");
}

#[test]
fn without_the_cache_all_runs_again() {
    let bench = app();
    // As in BuildKit, but for a WORKDIR, which cannot come to anything else.
    assert_eq!(bench.build("--no-cache").ran().len(), 4);
    assert_eq!(bench.build("").ran(), [""; 0]);
}

#[test]
fn a_failed_build_keeps_what_went_well() {
    let bench = Bench::with("FROM base\nRUN echo a >/a\nRUN test -e /b\n");
    bench.refused("", 1, &["exit code: 1", ">>> RUN test -e /b"]);
    bench.file("Dockerfile", "FROM base\nRUN echo a >/a\nRUN test -e /a\n");
    assert_eq!(bench.build("").ran(), ["RUN test -e /a"]);
}

#[test]
fn stages_that_the_target_does_not_need_never_run() {
    let bench = Bench::with(
        "FROM base AS unused\nRUN exit 7\nFROM base AS used\nRUN echo x >/x\n\
         FROM base AS last\nCOPY --from=used /x /x\nFROM last AS after\nRUN exit 8\n",
    );
    let built = bench.build("--target LAST");
    assert_eq!(built.ran(), ["RUN echo x >/x", "COPY --from=used /x /x"]);
    assert!(!built.stderr.contains("exit 7"), "not even named");
}

/// Each stage waits for the other's sign, which a serial build would never see.
#[test]
fn independent_stages_run_at_the_same_time() {
    let wait = |own: &str, others: &str| {
        format!(
            "RUN --mount=type=cache,target=/c touch /c/{own}; n=0; \
             until test -e /c/{others}; do n=$((n+1)); test $n -lt 600 || exit 1; sleep 0.1; done; touch /{own}"
        )
    };
    let bench = Bench::with(&format!(
        "FROM base AS one\n{}\nFROM base AS two\n{}\nFROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        wait("one", "two"),
        wait("two", "one"),
    ));
    let out = bench.files("out", "");
    assert!(out.join("one").exists() && out.join("two").exists());
}

#[test]
fn several_builds_at_once_on_one_store_are_right() {
    let bench = Bench::with(
        "FROM base\nARG N\nCOPY shared /shared\nRUN cat /shared /shared >/twice\nRUN echo $N >/n\n",
    );
    bench.file("shared", "x".repeat(100_000));
    let builds = (0..6).map(|number| {
        let out = bench.path(&format!("out{number}"));
        // Two of each, so that some do the very same at once.
        let line = format!(
            "--build-arg N={} -t app:{number} -o {}",
            number / 2,
            out.display()
        );
        let mut command = bench.command(&line);
        std::thread::spawn(move || Finished::of(&mut command))
    });
    let builds: Vec<_> = builds.collect();
    for (number, build) in builds.into_iter().enumerate() {
        build.join().expect("it ran").assert_well();
        let out = bench.path(&format!("out{number}"));
        let read = |name: &str| fs::read_to_string(out.join(name)).expect(name);
        assert_eq!(read("n"), format!("{}\n", number / 2));
        assert_eq!(read("twice").len(), 200_000);
    }
    crate::machine::assert_clean(&bench.store());
    assert_eq!(bench.build("--build-arg N=1").ran(), [""; 0]);
}

#[test]
fn a_step_that_two_builds_want_at_once_runs_once_and_both_see_its_log() {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=cache,target=/c echo ran >>/c/count; echo heard-by-all; sleep 2; cat /c/count >/count\n",
    );
    let builds = (0..3).map(|number| {
        let out = bench.path(&format!("out{number}"));
        let mut command = bench.command(&format!("-o {}", out.display()));
        std::thread::spawn(move || (Finished::of(&mut command), out))
    });
    let builds: Vec<_> = builds.collect();
    for build in builds {
        let (finished, out) = build.join().expect("it ran");
        finished.assert_well();
        let heard = finished.everything();
        assert!(heard.contains("heard-by-all"), "{heard}");
        assert_eq!(
            fs::read_to_string(out.join("count")).expect("it is there"),
            "ran\n"
        );
    }
    crate::machine::assert_clean(&bench.store());
}

/// The link is all that is copied; what it names is elsewhere.
#[test]
fn a_hard_link_reads_the_file_that_it_names() {
    let bench = Bench::with(
        "FROM base AS made\nARG V\nRUN echo $V >/a; ln /a /b\nFROM scratch\nCOPY --from=made /b /b\n",
    );
    assert_eq!(bench.text("b", "--build-arg V=1"), "1\n");
    assert_eq!(bench.text("b", "--build-arg V=2"), "2\n");
}

#[test]
fn stages_may_be_left_out_of_the_cache() {
    let bench = Bench::with(
        "FROM base AS one\nRUN echo 1 >/x\nFROM base AS Two\nRUN echo 2 >/y\nFROM base\nCOPY --from=one /x /x\nCOPY --from=two /y /y\nRUN echo 3\n",
    );
    bench.build("");
    assert_eq!(
        bench.build("--no-cache-filter TWO").ran(),
        ["RUN echo 2 >/y"]
    );
    assert_eq!(bench.build("--no-cache-filter one,two").ran().len(), 2);
    assert_eq!(bench.build("--no-cache-filter other").ran(), [""; 0]);
}

/// A copy that runs again takes what did not change from the layer that it made before.
#[test]
fn a_layer_of_old_and_new_bytes_is_the_layer_of_a_first_build() {
    let bench = Bench::with("FROM scratch\nCOPY . /\n");
    bench.shell(
        "mkdir d e; for n in $(seq 300); do seq $n 400 >d/f$n; done; : >empty; ln d/f7 e/link",
    );
    bench.build("");
    // Something in each place of the order, a file that only moved, and one whose length stays.
    bench.shell(
        "echo x >d/f150; rm d/f151; mv d/f152 e/f152; seq 9 >a; seq 9 >z; chmod 700 d/f1; tr 1 2 <d/f299 >t; cat t >d/f299; rm t",
    );
    let layers = |store: &str| {
        let mut command = bench.command("-t layers:1");
        command.env("KILN_ROOT", bench.path(store));
        Finished::of(&mut command).assert_well();
        let mut inspect = bench.kiln();
        inspect.env("KILN_ROOT", bench.path(store));
        let json = crate::bench::output(inspect.args(["inspect", "layers:1"]));
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let layers = json[0]["RootFS"]["Layers"].clone();
        assert_eq!(layers.as_array().map(Vec::len), Some(1), "{json}");
        layers
    };
    assert_eq!(layers("store"), layers("another"));
}
