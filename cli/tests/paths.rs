//! Paths from outside, of images, archives, contexts, repositories and steps, are resolved in one place,
//! `worker/src/rooted`. They are `RelPath`s, which the standard library's paths do not take; what is left is looked
//! for in the text of the program: bytes that become a name of the operating system's, calls that resolve paths in
//! ways of their own, and names that are joined to a path and do not stand there as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The place where all of this is allowed.
const ROOTED: &str = "worker/src/rooted/";

/// Something that only some files may do.
struct Rule {
    /// What it is.
    what: &'static str,
    count: fn(&str) -> usize,
    /// Files, how often they do it, and why no name from outside is in it.
    allowed: &'static [(&'static str, usize, &'static str)],
}

const RULES: &[Rule] = &[
    Rule {
        what: "makes a name of the operating system's out of bytes",
        count: |code| occurrences(code, "OsStr::from_bytes") + occurrences(code, "OsStringExt"),
        allowed: &[
            (
                "worker/src/sandbox/layers.rs",
                1,
                "where the kernel says that a directory of the store is",
            ),
            (
                "worker/src/sandbox/path_bytes.rs",
                1,
                "paths of the store on their way to the helper",
            ),
        ],
    },
    Rule {
        what: "resolves a path in a way of its own",
        count: |code| occurrences(code, "openat2("),
        allowed: &[
            (
                "worker/src/sandbox/kernel.rs",
                1,
                "names that Kiln masks in /proc and /sys",
            ),
            (
                "worker/src/sandbox/layers.rs",
                1,
                "directories of the store below a mount of it",
            ),
        ],
    },
    Rule {
        what: "joins a name that does not stand there",
        count: joined_names,
        allowed: &[
            (
                "cli/src/build/dockerfile.rs",
                1,
                "one of two names of Dockerfiles",
            ),
            ("cli/src/commands/man.rs", 1, "the names of Kiln's commands"),
            (
                "cli/src/record/build.rs",
                1,
                "only shown: the last name of a context's path",
            ),
            (
                "cli/src/record/reader.rs",
                6,
                "a record's files, by their constant names",
            ),
            (
                "cli/src/record/recorder.rs",
                2,
                "a record's files, by their constant names",
            ),
            (
                "cli/src/record/shelf.rs",
                6,
                "ids of builds, which Kiln makes, and a record's files",
            ),
            ("worker/src/cache_mount/identity.rs", 2, "a constant name"),
            (
                "worker/src/cache_mount/import.rs",
                1,
                "a name that was held against the cache's identity, a digest",
            ),
            (
                "worker/src/cache_mount/inventory.rs",
                1,
                "a name in a directory of the store",
            ),
            ("worker/src/context/mod.rs", 1, "the digest of a path"),
            (
                "worker/src/executor/copy.rs",
                4,
                "paths of trees, not of the disk",
            ),
            (
                "worker/src/executor/exec.rs",
                1,
                "a constant name in a step's workspace",
            ),
            (
                "worker/src/executor/mounts.rs",
                1,
                "a kind of directory and the number of a mount",
            ),
            (
                "worker/src/executor/pivot.rs",
                2,
                "paths of trees, not of the disk",
            ),
            (
                "worker/src/executor/transplant.rs",
                1,
                "paths of trees, not of the disk",
            ),
            (
                "worker/src/executor/unpack.rs",
                6,
                "paths of trees, not of the disk",
            ),
            (
                "worker/src/export/layout_directory.rs",
                2,
                "the digest of a blob",
            ),
            ("worker/src/export/unnamed.rs", 1, "the digest of a blob"),
            (
                "worker/src/gc/measure.rs",
                4,
                "names in directories of the store",
            ),
            ("worker/src/gc/prune.rs", 1, "numbers"),
            (
                "worker/src/gc/survey.rs",
                6,
                "names in directories of the store",
            ),
            ("worker/src/http/mod.rs", 1, "an address, not a path"),
            (
                "worker/src/image/artifact.rs",
                1,
                "only shown: the digest of a blob",
            ),
            (
                "worker/src/image/layout.rs",
                2,
                "index.json, oci-layout, or the digest of a blob",
            ),
            (
                "worker/src/image/origin.rs",
                2,
                "only shown: the digest of a blob",
            ),
            (
                "worker/src/image/saved.rs",
                1,
                "only shown: a file's name in an archive",
            ),
            (
                "worker/src/layer/ingest/member.rs",
                1,
                "names of a path that is not one yet",
            ),
            (
                "worker/src/layer/ingest/parse.rs",
                1,
                "paths of trees, not of the disk",
            ),
            (
                "worker/src/sandbox/cgroup/hierarchy.rs",
                4,
                "this process's own group, and constant names",
            ),
            (
                "worker/src/sandbox/cgroup/mod.rs",
                4,
                "names of settings, numbers of processes",
            ),
            (
                "worker/src/sandbox/probe.rs",
                1,
                "one of three constant names",
            ),
            ("worker/src/source/http.rs", 1, "the digest of an address"),
            ("worker/src/ssh/listen.rs", 1, "the number of a mount"),
            ("worker/src/store/blobs.rs", 1, "a digest"),
            ("worker/src/store/claims.rs", 1, "a key"),
            ("worker/src/store/layers.rs", 4, "digests"),
            ("worker/src/store/mod.rs", 3, "kinds of things in the store"),
            ("worker/src/store/salvage.rs", 1, "a number"),
            ("worker/src/store/scratch.rs", 2, "numbers"),
            (
                "worker/src/verify/mod.rs",
                2,
                "names in directories of the store",
            ),
            ("worker/src/verify/references.rs", 1, "a digest"),
            ("worker/src/verify/repair.rs", 2, "a digest, and a number"),
            (
                "worker/src/verify/restart.rs",
                3,
                "names in directories of the store",
            ),
        ],
    },
];

fn occurrences(code: &str, sought: &str) -> usize {
    code.matches(sought).count()
}

/// How often something is joined that is no string in quotes.
fn joined_names(code: &str) -> usize {
    let arguments = code.split(".join(").skip(1).map(str::trim_start);
    // Threads are joined without an argument.
    let is_plain =
        |argument: &&str| argument.starts_with(['"', ')']) || argument.starts_with("&\"");
    arguments.filter(|argument| !is_plain(argument)).count()
}

/// The program without comments and tests.
fn code(text: &str) -> String {
    let program = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    let lines = program.lines().map(|line| match line.find("//") {
        // An address has the same two letters.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The program's files, by their paths in the repository.
fn files() -> BTreeMap<String, String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = BTreeMap::new();
    let mut pending = vec!["cli/src".to_owned(), "worker/src".to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(repository.join(&path)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = format!(
                "{path}/{}",
                entry.file_name().to_str().expect("a plain name")
            );
            if entry.path().is_dir() {
                pending.push(path);
            } else if path.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).expect("UTF-8");
                files.insert(path, code(&text));
            }
        }
    }
    files
}

/// What a rule finds in files that do not do what they may, or do what they may not.
fn violations(rule: &Rule, files: &BTreeMap<String, String>) -> Vec<String> {
    let may = |path: &str| {
        let known = rule.allowed.iter().find(|(known, ..)| *known == path);
        known.map_or(0, |(_, count, _)| *count)
    };
    let found = files.iter().filter(|(path, _)| !path.starts_with(ROOTED));
    let found = found.filter_map(|(path, code)| {
        let (count, may) = ((rule.count)(code), may(path));
        (count != may).then(|| format!("{path} {}: {count} times, allowed {may}", rule.what))
    });
    let gone = rule
        .allowed
        .iter()
        .filter(|(path, ..)| !files.contains_key(*path));
    let gone = gone.map(|(path, ..)| format!("{path} is not there any more"));
    found.chain(gone).collect()
}

#[test]
fn names_from_outside_are_resolved_in_one_place() {
    let files = files();
    assert!(files.keys().any(|path| path.starts_with(ROOTED)));
    let violations: Vec<String> = RULES
        .iter()
        .flat_map(|rule| violations(rule, &files))
        .collect();
    assert!(
        violations.is_empty(),
        "find paths by {ROOTED}, or say here why the name is Kiln's own:\n{}",
        violations.join("\n")
    );
}

#[test]
fn what_breaks_a_rule_is_found() {
    let cases = [
        ("root.join(name)", [0, 0, 1]),
        ("root\n    .join(\n        &entry.path,\n    )", [0, 0, 1]),
        ("root.join(\"layers\").join(&\"x\")", [0, 0, 0]),
        ("thread.join()", [0, 0, 0]),
        ("// root.join(name)", [0, 0, 0]),
        ("let url = \"http://\"; root.join(name)", [0, 0, 1]),
        ("root.join(OsStr::from_bytes(name))", [1, 0, 1]),
        ("use std::os::unix::ffi::OsStringExt;", [1, 0, 0]),
        ("openat2(root, path, flags, mode, resolve)", [0, 1, 0]),
        (
            "fn f() {}\n#[cfg(test)]\nmod tests { root.join(name) }",
            [0, 0, 0],
        ),
    ];
    for (text, expected) in cases {
        let counts: Vec<usize> = RULES.iter().map(|rule| (rule.count)(&code(text))).collect();
        assert_eq!(counts, expected, "{text}");
    }
    let rule = &RULES[2];
    let new = BTreeMap::from([("worker/src/new.rs".to_owned(), "root.join(name)".to_owned())]);
    let said = violations(rule, &new);
    assert!(said[0].contains("worker/src/new.rs") && said[0].contains("1 times, allowed 0"));
    assert_eq!(
        said.len(),
        1 + rule.allowed.len(),
        "what is gone is told, too"
    );
}
