//! What is said of why steps ran.

mod changes;
mod unseen;

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
