//! What changed is named where neither the result nor what is printed shows it.

use super::explain;
use crate::bench::Bench;

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
