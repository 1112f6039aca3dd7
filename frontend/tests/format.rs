//! Formatting changes no meaning and is done after once. What it looks like: every directory of
//! `testdata/format/` has a `before.Dockerfile` and what comes of it beside it.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend` writes the expectations anew.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

mod dockerfiles;
mod meaning;

use std::path::{Path, PathBuf};

use kiln_frontend::{Options, Source, format, parse};
use proptest::prelude::*;

fn formatted(text: &str) -> String {
    format(&parse(&Source::new("Dockerfile", text)).dockerfile)
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let printed = parse(&Source::new("Dockerfile", text)).dockerfile.print();
    prop_assert_eq!(&printed, text);
    let once = formatted(text);
    prop_assert_eq!(&formatted(&once), &once, "a second time, of {:?}", text);
    let options = Options::new("linux/amd64".parse().expect("a platform"));
    let (before, after) = (meaning::of(text, &options), meaning::of(&once, &options));
    prop_assert_eq!(before, after, "{:?} became {:?}", text, once);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn noise_keeps_its_meaning(text in "(?s).{0,200}") {
        check(&text)?;
    }

    #[test]
    fn what_looks_like_a_dockerfile_keeps_its_meaning(text in dockerfiles::pieces()) {
        check(&text)?;
    }

    #[test]
    fn dockerfiles_keep_their_meaning(text in dockerfiles::whole()) {
        check(&text)?;
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata")
}

/// All files below a directory that are Dockerfiles by name.
fn dockerfiles_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            dockerfiles_below(&path, found);
        } else if path.to_string_lossy().ends_with("Dockerfile") {
            found.push(path);
        }
    }
}

#[test]
fn every_case_keeps_its_meaning() {
    let mut found = Vec::new();
    dockerfiles_below(&root(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    for path in found {
        let text = std::fs::read_to_string(&path).expect("a Dockerfile");
        check(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn cases() {
    let entries = std::fs::read_dir(root().join("format")).expect("the cases");
    let mut directories: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    directories.sort();
    assert!(!directories.is_empty());
    for directory in directories {
        let before = directory.join("before.Dockerfile");
        let text = std::fs::read_to_string(&before).expect("a Dockerfile");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&directory);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_binary_snapshot!("after.Dockerfile", formatted(&text).into_bytes())
        });
    }
}
