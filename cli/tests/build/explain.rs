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

#[test]
fn what_is_not_there_cannot_be_explained() {
    let bench = Bench::with(APP);
    let finished = crate::finished::Finished::of(bench.kiln().arg("explain"));
    finished.assert_failed(1, &["no builds are recorded"]);
}
