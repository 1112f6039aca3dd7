//! COPY and ADD: the cases, and what is ignored.

use crate::bench::Bench;
use crate::copy_cases::{CASES, CONTEXT, Case};
use crate::listing::{below, lines, of_tar};

#[test]
fn copies_go_as_buildkits_do() {
    let bench = Bench::new();
    bench.shell(CONTEXT);
    let mut wrong = Vec::new();
    for Case {
        what,
        dockerfile,
        expected,
    } in CASES
    {
        bench.file("Dockerfile", format!("FROM base\n{dockerfile}\n"));
        let built = bench.try_build("-o -");
        match expected {
            Ok(expected) if built.code == Some(0) => {
                let found = lines(&below(&of_tar(built.stdout.as_slice()), "x"));
                if found != *expected {
                    wrong.push(format!(
                        "{what}\n   found {found:#?}\nexpected {expected:#?}"
                    ));
                }
            }
            Err(parts) if built.code == Some(1) => {
                let told = built.told();
                if !parts.iter().all(|part| told.contains(part)) {
                    wrong.push(format!("{what}: not {parts:?}\n{told}"));
                }
            }
            _ => wrong.push(format!(
                "{what}: exit code {:?}\n{}",
                built.code,
                built.told()
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn copied(bench: &Bench, line: &str) -> Vec<String> {
    let built = bench.build(&format!("{line} -o -"));
    let paths = below(&of_tar(built.stdout.as_slice()), "x").into_keys();
    paths.collect()
}

#[test]
fn what_a_mount_shows_may_be_left_out_as_well() {
    let bench = Bench::with("FROM base\nRUN --mount=source=secret,target=/s true\n");
    bench.file("secret", "x");
    bench.file(".dockerignore", "secret\n");
    let ignored = "the ignore file (.dockerignore) leaves it out";
    bench.refused("", 1, &["/secret: not found in the build context", ignored]);
}

#[test]
fn ignored_files_are_not_there() {
    let bench = Bench::with("FROM scratch\nCOPY . /x/\n");
    bench.shell(
        "mkdir -p a/b .git; touch a/keep a/b/drop a/b/keep top.log a/in.log .git/x 'with space'",
    );
    bench.file(".dockerignore", "# comment\n.git\n*.log\n**/drop\n!a/b/drop\n/with space\nDockerfile\n.dockerignore\n\na/*\n!a/keep\n!a/b\n");
    assert_eq!(
        copied(&bench, ""),
        ["a", "a/b", "a/b/drop", "a/b/keep", "a/keep"]
    );
    bench.file(".dockerignore", "**\n!a/**/keep\n");
    assert_eq!(copied(&bench, ""), ["a", "a/b", "a/b/keep", "a/keep"]);
}

#[test]
fn a_dockerfiles_own_ignore_file_wins() {
    let bench = Bench::new();
    bench.file("other/Other", "FROM scratch\nCOPY . /x/\n");
    bench.file("one", "1");
    bench.file("two", "2");
    bench.file(".dockerignore", "two\nother\n.dockerignore\n");
    let file = bench.context("other/Other");
    let line = format!("-f {}", file.display());
    assert_eq!(copied(&bench, &line), ["one"]);
    bench.file("other/Other.dockerignore", "one\nother\n.dockerignore\n");
    assert_eq!(copied(&bench, &line), ["two"]);
}

#[test]
fn an_ignored_file_is_missing() {
    let bench = Bench::with("FROM scratch\nCOPY secret /x\n");
    bench.file("secret", "s");
    bench.file(".dockerignore", "secret\n");
    bench.refused("", 1, &["secret", ">>> COPY"]);
}

#[test]
fn another_context_has_its_own_files() {
    let bench =
        Bench::with("FROM scratch\nCOPY --from=more f /x/\nCOPY --from=base /etc/passwd /x/\n");
    let more = bench.path("more");
    std::fs::create_dir(&more).expect("a directory");
    std::fs::write(more.join("f"), "f").expect("writable");
    let line = format!("--build-context more={}", more.display());
    assert_eq!(copied(&bench, &line), ["f", "passwd"]);
}
