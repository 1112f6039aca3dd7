//! What is said of why steps ran.

use crate::bench::{Bench, output};

const APP: &str = "FROM base
ARG V=1
WORKDIR /w
COPY src src
RUN cat src/* >out
RUN echo $V >v
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    for name in ["a", "b"] {
        bench.file(&format!("src/{name}"), name);
    }
    bench.build("");
    bench
}

fn explain(bench: &Bench, line: &str) -> String {
    let mut command = bench.kiln();
    output(command.arg("explain").args(line.split_whitespace()))
}

#[test]
fn a_changed_file_is_named_and_what_followed_from_it() {
    let bench = app();
    bench.file("src/a", "other");
    bench.file("src/c", "new");
    std::fs::remove_file(bench.context("src/b")).expect("it is there");
    bench.build("");
    let said = explain(&bench, "");
    for part in [
        "COPY src src\n  what it reads of [internal] load build context changed\n    /w/src/a changed\n    /w/src/b is gone\n    /w/src/c is new\n",
        "RUN cat src/* >out\n  what it reads of [2/5] COPY src src changed\n",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    assert!(!said.contains("WORKDIR"), "it was in the cache:\n{said}");
}

/// A step that runs again and yields the same is not in the image: the earlier one is, with its times.
#[test]
fn a_result_that_was_the_same_is_told() {
    let bench = Bench::with(
        "FROM base AS first\nRUN echo made >/made\nFROM first AS made\nRUN mkdir /more && cat /made >/more/of-it\nFROM base\nCOPY --from=first /made /made\n",
    );
    let times = |line: &str| {
        let out = bench.files("out", &format!("--target made {line}"));
        let modified = std::fs::metadata(out.join("made")).and_then(|found| found.modified());
        std::fs::remove_dir_all(out).expect("removable");
        modified.expect("a time")
    };
    let before = times("");
    // The disk may know seconds only.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let kept = "it yielded the same as an earlier one, times aside: the earlier result was kept";
    let built = bench.build("--no-cache-filter first --target made --explain");
    assert_eq!(built.ran().len(), 1, "{:?}", built.ran());
    assert!(built.everything().contains(&format!("explain: {kept}\n")));
    let said = explain(&bench, "");
    assert!(
        said.contains(&format!(
            "RUN echo made >/made\n  the cache was not to be used\n  {kept}\n"
        )),
        "{said}"
    );
    let json = explain(&bench, "--format json");
    assert_eq!(json.matches("\"Reproduced\": true").count(), 1, "{json}");
    assert_eq!(times(""), before);
    // A copy takes only a part of it: nothing was kept of the step itself.
    bench.build("");
    let built = bench.build("--no-cache-filter first --explain");
    assert_eq!(built.ran().len(), 1, "{:?}", built.ran());
    assert!(!built.everything().contains(kept));
}

#[test]
fn a_changed_argument_and_command_are_named_with_their_values() {
    let bench = app();
    bench.build("--build-arg V=2");
    let said = explain(&bench, "--step echo");
    assert!(
        said.contains("the variable V was \"1\" and is \"2\""),
        "{said}"
    );
    assert!(said.contains("op.exec.args.- echo $V >v"), "{said}");
    bench.file("Dockerfile", APP.replace("RUN cat src/*", "RUN cat src/a"));
    bench.build("");
    let said = explain(&bench, "");
    let command = "the command was \"cat src/* >out\" and is \"cat src/a >out\"";
    assert!(said.contains(command), "{said}");
}

#[test]
fn what_is_cached_says_so_and_two_builds_can_be_compared() {
    let bench = app();
    bench.build("");
    let said = explain(&bench, "");
    assert!(
        said.starts_with("Nothing ran: every step of build "),
        "{said}"
    );
    bench.build("--build-arg V=3");
    bench.build("");
    // Both hit now, and differ all the same.
    let said = explain(&bench, "^0 --against ^1 --format json");
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let steps = said.as_array().expect("a list");
    let step = |part: &str| {
        let found = steps
            .iter()
            .find(|step| step["Name"].to_string().contains(part));
        found.unwrap_or_else(|| panic!("no {part} in {said}"))
    };
    assert_eq!(step("COPY")["Causes"][0], "it is the same in both builds");
    let cause = "the variable V was \"3\" and is \"1\"";
    assert!(
        step("RUN echo")["Causes"]
            .to_string()
            .contains("variable V"),
        "{said}"
    );
    assert_eq!(step("RUN echo")["Causes"][0], cause);
}

#[test]
fn a_build_can_say_it_while_it_runs() {
    let bench = app();
    bench.file("src/a", "other");
    let said = bench.build("--explain").everything();
    for part in [
        "explain: what it reads of [internal] load build context changed",
        "explain: /w/src/a changed",
        "explain: what it reads of [2/5] COPY src src changed",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

/// What somebody changes between two builds, by which arguments the second one differs, and what is said.
struct Case {
    what: &'static str,
    /// Run in the context.
    change: &'static str,
    line: &'static str,
    /// What must be said, all of it.
    said: &'static str,
}

/// The Dockerfile has all that the cases change.
const CHANGING: &str = "FROM base AS made
ARG V=1
ENV MODE=release
WORKDIR /w
COPY src src
RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v

FROM scratch
COPY --from=made /w/out /w/v /
COPY --chmod=600 package /
";

const CASES: [Case; 19] = [
    Case {
        what: "one file of many, of which nothing else is made",
        change: "echo more >>package",
        line: "",
        said: "COPY --chmod=600 package /
  what it reads of [internal] load build context changed
    /package changed
",
    },
    Case {
        what: "a file's mode, which the result does not show",
        change: "chmod 755 src/f7",
        line: "",
        said: "COPY src src
  what it reads of [internal] load build context changed
    /w/src/f7 changed in mode, owner or attributes

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed
",
    },
    Case {
        what: "a file more and a file less",
        change: "rm src/f7; touch src/new",
        line: "",
        said: "COPY src src
  what it reads of [internal] load build context changed
    /w/src/f7 is gone
    /w/src/new is new

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed

COPY --from=made /w/out /w/v /
  what it reads of [made 4/5] RUN echo 1 >v changed
    /out changed

COPY --chmod=600 package /
  what it reads of [stage-1 1/2] COPY --from=made /w/out /w/v / changed
",
    },
    Case {
        what: "ignore rules",
        change: "printf '# tests\\nsrc/f1*\\n' >.dockerignore",
        line: "--target made",
        said: "COPY src src
  the ignore rules changed: now with \"src/f1*\"
  what it reads of [internal] load build context changed
    /w/src/f1 is gone
    /w/src/f10 is gone
    /w/src/f11 is gone
    /w/src/f12 is gone
    /w/src/f13 is gone
    /w/src/f14 is gone
    /w/src/f15 is gone
    /w/src/f16 is gone
    /w/src/f17 is gone
    /w/src/f18 is gone
    and 1 more

RUN --mount=type=cache,target=/c cat src/* >out
  what it reads of [made 2/5] COPY src src changed

RUN echo $V >v
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat src/* >out changed
",
    },
    Case {
        what: "a build argument",
        change: "",
        line: "--build-arg V=2 --target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the variable V was \"1\" and is \"2\"
",
    },
    Case {
        what: "a variable of the image",
        change: "sed -i 's/MODE=release/MODE=debug/' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the variable MODE was \"release\" and is \"debug\"
",
    },
    Case {
        what: "a command",
        change: "sed -i 's/echo $V/echo V=$V/' Dockerfile",
        line: "--target made",
        said: "RUN echo V=$V >v
  the command was \"echo $V >v\" and is \"echo V=$V >v\"
",
    },
    Case {
        what: "a command that writes the same",
        change: "sed -i 's/echo $V >v/echo $V >v; true/' Dockerfile",
        line: "",
        said: "RUN echo $V >v; true
  the command was \"echo $V >v\" and is \"echo $V >v; true\"
",
    },
    Case {
        what: "how a cache is shared",
        change: "sed -i 's/target=.c /target=\\/c,sharing=locked /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,sharing=locked cat src/* >out
  a cache mount's sharing was \"shared\" and is \"locked\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "which cache is mounted",
        change: "sed -i 's/target=.c /target=\\/c,id=other /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,id=other cat src/* >out
  a cache mount's id was \"/c\" and is \"other\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "what mode a cache has, and that it is not written to",
        change: "sed -i 's/target=.c /target=\\/c,mode=700,ro /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c,mode=700,ro cat src/* >out
  a mount's read-only is set now
  a cache mount's mode was \"0755\" and is \"0700\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "one mount more",
        change: "sed -i 's/target=.c /target=\\/c --mount=type=tmpfs,target=\\/t /' Dockerfile",
        line: "--target made",
        said: "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t cat src/* >out
  a mount's target is new: \"/t\"
  a mount's type is new: \"tmpfs\"
  a mount's size is new: \"0\"
  it yielded the same as an earlier one, times aside: the earlier result was kept
",
    },
    Case {
        what: "the mode of what is copied",
        change: "sed -i 's/chmod=600/chmod=640 --chown=5:6/' Dockerfile",
        line: "",
        said: "COPY --chmod=640 --chown=5:6 package /
  the owner is new: \"5\"
  the group is new: \"6\"
  the mode was \"0600\" and is \"0640\"
    /package changed in mode, owner or attributes
",
    },
    Case {
        what: "where it is copied to",
        change: "sed -i 's/package .$/package \\/elsewhere/' Dockerfile",
        line: "",
        said: "COPY --chmod=600 package /elsewhere
  the destination was \"\" and is \"elsewhere\"
  a slash behind the destination is not set any more
    /elsewhere is new
    /package is gone
",
    },
    Case {
        what: "the working directory",
        change: "sed -i 's/WORKDIR .w/WORKDIR \\/w\\/x/; s/COPY src src/COPY src \\/w\\/src/; s/cat src/cat \\/w\\/src/' Dockerfile",
        line: "--target made",
        said: "WORKDIR /w/x
  the directory was \"w\" and is \"w/x\"
    /w/x is new

COPY src /w/src
  what it reads of [made 1/5] WORKDIR /w/x changed

RUN --mount=type=cache,target=/c cat /w/src/* >out
  the cache has nothing like it

RUN echo $V >v
  the working directory was \"/w\" and is \"/w/x\"
  what it reads of [made 3/5] RUN --mount=type=cache,target=/c cat /w/src/* >ou… changed
",
    },
    Case {
        what: "the user",
        change: "sed -i 's/^RUN echo/USER 1000\\nRUN id; echo/; s/>v$/>\\/tmp\\/v/' Dockerfile",
        line: "--target made",
        said: "RUN id; echo $V >/tmp/v
  the command was \"echo $V >v\" and is \"id; echo $V >/tmp/v\"
  the user was \"\" and is \"1000\"
",
    },
    Case {
        what: "the network",
        change: "",
        line: "--network none --target made",
        said: "RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the network was \"default\" and is \"none\"
",
    },
    Case {
        what: "without the cache",
        change: "",
        line: "--no-cache --target made",
        said: "COPY src src
RUN --mount=type=cache,target=/c cat src/* >out
RUN echo $V >v
  the cache was not to be used
",
    },
    Case {
        what: "nothing",
        change: "touch src/f7 package",
        line: "",
        said: "Nothing ran: every step of build ID was in the cache.
",
    },
];

/// What is said without numbers of steps and names of builds, and names of steps without their place and
/// the values of variables.
fn plain(said: &str) -> String {
    let mut lines = String::new();
    for line in said.lines() {
        let line = match line
            .strip_prefix('#')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((_, name)) => name
                .replace("echo 1 >", "echo $V >")
                .replace("echo 2 >", "echo $V >")
                .replace("V=1", "V=$V"),
            None => line.to_owned(),
        };
        lines += &line;
        lines.push('\n');
    }
    match lines.split_once("every step of build ") {
        Some((begin, end)) => {
            let (_, end) = end.split_once(' ').expect("more follows");
            format!("{begin}every step of build ID {end}")
        }
        None => lines,
    }
}

#[test]
fn whatever_changes_is_named() {
    let mut wrong = String::new();
    for case in CASES {
        let bench = Bench::with(CHANGING);
        bench.file("package", "package");
        for number in 0..20 {
            bench.file(&format!("src/f{number}"), number.to_string());
        }
        bench.build("");
        bench.shell(case.change);
        bench.build(case.line);
        let said = plain(&explain(&bench, ""));
        if said != case.said {
            wrong += &format!("{}:\n{said}instead of\n{}\n", case.what, case.said);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What a step only reads, and what its result does not show: a Dockerfile, what changes, and what is said of
/// the step.
const ONLY_READ: [(&str, &str, &str); 6] = [
    (
        "RUN --mount=type=bind,target=/m true",
        "echo more >>p/q",
        "what it reads of [internal] load build context changed\n    /p/q changed\n",
    ),
    (
        "RUN --mount=type=bind,target=/m,source=p true",
        "rm p/q; touch p/r; chmod 700 p",
        "what it reads of [internal] load build context changed\n    /p changed in mode, owner or attributes\n    /p/q is gone\n    /p/r is new\n",
    ),
    (
        "RUN --mount=type=cache,target=/m,from=seed,source=/e true",
        "sed -i 's/echo 1/echo 2/' Dockerfile",
        "what it reads of [seed 1/2] RUN mkdir /e && echo 2 >/e/a && touch /e/b changed\n    /e/a changed\n",
    ),
    (
        "RUN --mount=from=seed,target=/m true",
        "sed -i 's/ && touch .e.b//' Dockerfile",
        "what it reads of [seed 1/2] RUN mkdir /e && echo 1 >/e/a changed\n    /e/b is gone\n",
    ),
    (
        "COPY p /d",
        "chmod 700 p",
        "what it reads of [internal] load build context changed\n    /p changed in mode, owner or attributes\n",
    ),
    (
        "COPY --chmod=600 p /d",
        "chmod 700 p/q",
        "what it reads of [internal] load build context changed\n    /p/q changed in mode, owner or attributes\n",
    ),
];

#[test]
fn files_that_are_only_read_are_named() {
    let mut wrong = String::new();
    for (instruction, change, expected) in ONLY_READ {
        let bench = Bench::with(&format!(
            "FROM base AS seed\nRUN mkdir /e && echo 1 >/e/a && touch /e/b\nFROM base\n{instruction}\n"
        ));
        bench.file("p/q", "text");
        bench.file("p/same", "text");
        bench.build("");
        bench.shell(change);
        let built = bench.build("--explain").everything();
        for line in ["", "--against ^1"] {
            let said = explain(&bench, line);
            let mut lines = expected.lines();
            let (_, of_the_step) = said.split_once(instruction).unwrap_or_default();
            if !lines.all(|line| of_the_step.contains(line)) {
                wrong += &format!("{line} {instruction}:\n{said}instead of\n{expected}\n");
            }
        }
        for line in expected.lines() {
            if !built.contains(&format!("explain: {}", line.trim_start())) {
                wrong += &format!("--explain {instruction}:\n{built}has no\n{line}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Two builds of which the second must run its step again: instructions, arguments, and what is said.
type Pair = ([&'static str; 2], [&'static str; 2], &'static str);

/// What differs in order or in bytes that cannot be seen.
const HARD_TO_SEE: [Pair; 7] = [
    (
        ["ENV A=1 B=2", "ENV B=2 A=1"],
        ["", ""],
        "the order of the variables changed: it was \"A B\" and is \"B A\"",
    ),
    (
        ["", ""],
        [
            "--add-host a:1.1.1.1 --add-host b:2.2.2.2",
            "--add-host b:2.2.2.2 --add-host a:1.1.1.1",
        ],
        "the order of the hosts changed: it was \"a b\" and is \"b a\"",
    ),
    (
        ["ENV A=\"\u{1}\"", "ENV A=\"01\""],
        ["", ""],
        r#"the variable A was "\x01" and is "01""#,
    ),
    (
        ["ENV A=\"a\u{7f}\"", "ENV A=\"617f\""],
        ["", ""],
        r#"the variable A was "a\x7f" and is "617f""#,
    ),
    (
        ["ENV A=\"a\u{7f}\"", "ENV A='a\\x7f'"],
        ["", ""],
        r#"the variable A was "a\x7f" and is "a\\x7f""#,
    ),
    (
        ["ENV A=ab", "ENV A=a\u{200b}b"],
        ["", ""],
        r#"the variable A was "ab" and is "a\u{200b}b""#,
    ),
    (
        ["RUN [\"echo\", \"a b\"]", "RUN [\"echo\", \"a\", \"b\"]"],
        ["", ""],
        r#"the command was "["a b"]" and is "["a", "b"]""#,
    ),
];

#[test]
fn what_is_hard_to_see_is_told() {
    for (instructions, lines, said) in HARD_TO_SEE {
        let bench = Bench::new();
        for (instruction, line) in instructions.iter().zip(lines) {
            bench.file(
                "Dockerfile",
                format!("FROM base\n{instruction}\nRUN true\n"),
            );
            bench.build(line);
        }
        for line in ["", "--against ^1"] {
            let found = explain(&bench, line);
            assert!(
                found.contains(&format!("  {said}\n")),
                "{line}: no {said} in\n{found}"
            );
        }
    }
}

#[test]
fn a_step_that_failed_is_not_said_to_be_forgotten() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    bench.file("Dockerfile", "FROM base\nRUN false\n");
    bench.refused("", 1, &["exit code: 1"]);
    let said = explain(&bench, "--against ^1");
    let expected =
        "RUN false\n  it failed in one of the builds, and of what failed no key is kept\n";
    assert!(said.contains(expected), "{said}");
}

/// An image of one file, as a layout.
fn image(bench: &Bench, content: &str) -> std::path::PathBuf {
    let (context, layout) = (bench.path("image"), bench.path("layout"));
    let _ = std::fs::remove_dir_all(&layout);
    std::fs::create_dir_all(&context).expect("writable");
    std::fs::write(context.join("file"), content).expect("writable");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY file /\n").expect("writable");
    let output_to = format!("type=oci,tar=false,dest={}", layout.display());
    let mut command = bench.kiln();
    output(
        command
            .args(["build", "-q", "-t", "other:1", "-o", &output_to])
            .arg(context),
    );
    layout
}

#[test]
fn another_image_behind_the_same_name_is_told_by_its_digest() {
    let bench = Bench::with("FROM other\nCOPY f /\nCOPY g /\n");
    bench.file("f", "f");
    bench.file("g", "g");
    for content in ["one", "two"] {
        let layout = image(&bench, content);
        bench.build(&format!(
            "--build-context other=oci-layout://{}:1",
            layout.display()
        ));
    }
    let said = plain(&explain(&bench, ""));
    let name = format!("{}:1", bench.path("layout").display());
    let begin = format!("COPY f /\n  the image {name} was sha256:");
    assert!(said.starts_with(&begin), "{said}");
    let digests = said
        .lines()
        .nth(1)
        .and_then(|line| line.split_once(" was "));
    let (was, is) = digests
        .and_then(|(_, rest)| rest.split_once(" and is "))
        .expect("two digests");
    assert_ne!(was, is);
    assert!(is.starts_with("sha256:"), "{said}");
    let rest = "COPY g /\n  what it reads of [1/3] COPY f / changed\n";
    assert!(said.ends_with(rest), "{said}");
    assert_eq!(said.lines().count(), 5, "{said}");
}

#[test]
fn another_platform_is_named() {
    let bench = Bench::with("FROM base\nARG TARGETARCH\nRUN echo $TARGETARCH >/arch\n");
    bench.build("");
    bench.file(
        "Dockerfile",
        "FROM base\nARG TARGETARCH=other\nRUN echo $TARGETARCH >/arch\n",
    );
    bench.build("--build-arg TARGETARCH=arm64");
    let said = explain(&bench, "");
    assert!(
        said.contains("the variable TARGETARCH was \"amd64\" and is \"arm64\""),
        "{said}"
    );
}

#[test]
fn a_result_that_was_pruned_is_told_from_one_that_never_was() {
    let bench = app();
    let mut prune = bench.kiln();
    output(prune.args(["prune", "--force", "--filter", "type=regular"]));
    bench.build("");
    let said = explain(&bench, "--step echo");
    for part in [
        "the cache has nothing like it",
        "did the same, but its result was pruned",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let new = Bench::with(APP);
    new.file("src/a", "a");
    new.build("");
    assert!(!explain(&new, "").contains("pruned"));
}

#[test]
fn two_builds_that_do_the_same_and_steps_of_only_one_are_told() {
    let bench = app();
    bench.build("--no-cache");
    let said = explain(&bench, "^0 --against ^1");
    assert!(said.starts_with("Nothing differs: builds "), "{said}");
    bench.file("Dockerfile", APP.replace("RUN echo $V >v\n", ""));
    bench.build("");
    let said = explain(&bench, "^0 --against ^1");
    assert!(said.starts_with("Only in build "), "{said}");
    assert!(said.contains("RUN echo 1 >v"), "{said}");
    let said = explain(&bench, "^1 --against ^0");
    assert!(
        said.contains("RUN echo 1 >v\n  the other build has no such step\n"),
        "{said}"
    );
}

#[test]
fn what_is_not_there_cannot_be_explained() {
    let bench = Bench::with(APP);
    let finished = crate::finished::Finished::of(bench.kiln().arg("explain"));
    finished.assert_failed(1, &["no builds are recorded"]);
}
