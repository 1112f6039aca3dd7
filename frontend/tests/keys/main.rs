//! Every instruction, flag and option of a build, and which keys it changes: each file of `testdata/keys/`
//! is a table of pairs of Dockerfiles (see `case`), which this test completes by what it found.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend --test keys` writes the findings anew.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

mod build;
mod case;
mod coverage;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use build::Build;
use case::{Case, Line, Place};
use kiln_frontend::image_config::ImageConfig;
use serde_json::Value;

/// The table of each file.
fn tables() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/keys");
    let entries = std::fs::read_dir(&root).expect("the tables");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a table");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn shown(case: &Case) -> String {
    let sides = [case.side(Place::First), case.side(Place::Second)];
    let builds = [Build::of(&sides[0]), Build::of(&sides[1])];
    let mut text = format!("## {}\n", case.title);
    for reason in &case.reasons {
        writeln!(text, "# {reason}").expect("no failure");
    }
    for (at, line) in case.lines.iter().enumerate() {
        let numbers = [sides[0].numbers[at], sides[1].numbers[at]];
        let line = format!("{} {}", marker(line, numbers, &builds), line.text);
        writeln!(text, "{}", line.trim_end()).expect("no failure");
    }
    let differing = differing(&builds[0].config, &builds[1].config);
    writeln!(text, "= config: {}", differing.join(" ")).expect("no failure");
    text.replace(": \n", ": the same\n")
}

/// What tells where a line is and whether its key differs.
fn marker(line: &Line, numbers: [Option<usize>; 2], builds: &[Build; 2]) -> char {
    let keys = |side: usize| {
        let number = numbers[side]?;
        Some(&builds[side].steps.get(&number)?.keys)
    };
    let is_in = |side: usize, other: usize| {
        let step = numbers[side].and_then(|number| builds[side].step_of(number));
        step.is_some_and(|step| builds[other].has(&step.keys))
    };
    match (line.place, keys(0), keys(1)) {
        (Place::Both, Some(first), Some(second)) if first == second => ' ',
        (Place::Both, Some(first), Some(second)) if first.is_disjoint(second) => '!',
        (Place::Both, Some(_), Some(_)) => '~',
        // No step, or one that only one of the builds needs.
        (Place::Both, ..) => ' ',
        (Place::First, ..) if is_in(0, 1) => '<',
        (Place::First, ..) => '-',
        (Place::Second, ..) if is_in(1, 0) => '>',
        (Place::Second, ..) => '+',
    }
}

/// The fields of two configs that differ.
fn differing(first: &ImageConfig, second: &ImageConfig) -> Vec<String> {
    let fields = |config: &ImageConfig| match serde_json::to_value(config).expect("JSON") {
        Value::Object(fields) => fields,
        other => panic!("a config is an object: {other}"),
    };
    let (mut first, mut second) = (fields(first), fields(second));
    for fields in [&mut first, &mut second] {
        if let Some(Value::Object(inner)) = fields.remove("config") {
            fields.extend(inner);
        }
    }
    let mut names: Vec<String> = first.keys().chain(second.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| first.get(name) != second.get(name));
    names
}

#[test]
fn tables_say_which_keys_differ() {
    let mut wrong = Vec::new();
    for (path, text) in tables() {
        let cases: Vec<String> = Case::all(&text).iter().map(shown).collect();
        let found = cases.join("\n");
        if found == text {
            continue;
        }
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&path, &found).expect("writable");
        }
        let lines = found.lines().zip(text.lines());
        let first = lines.enumerate().find(|(_, (found, said))| found != said);
        wrong.push(format!("{}: {first:?}", path.display()));
    }
    assert_eq!(wrong, [""; 0], "write them anew with INSTA_UPDATE=always");
}
