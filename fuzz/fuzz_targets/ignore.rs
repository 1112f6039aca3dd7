//! Any ignore file compiles or says why not, and what is skipped is excluded. Patterns put together
//! from the pieces that a naive matcher knows mean what it says.

#![no_main]

#[path = "../../frontend/tests/naive_ignore/mod.rs"]
mod naive_ignore;

use kiln_frontend::{Source, ignore};
use kiln_solver::RelPath;
use kiln_solver::pattern::glob_matches;
use libfuzzer_sys::fuzz_target;
use naive_ignore::Reference;

const PIECES: [&str; 16] = [
    "a", "b", "ab", "\u{e9}", "/", "/", "*", "**", "**/", "?", "[a-b]", "[^a]", "\\*", ".", "\n",
    "\n!",
];
const NAMES: [&str; 6] = ["a", "b", "\u{e9}", "*", "/", "ab"];

/// The naive matcher tries everything.
const MOST: usize = 24;

fuzz_target!(|input: (&str, &str, &[u8], &[u8])| {
    let (text, path, pieces, names) = input;
    let source = Source::new(".dockerignore", text);
    let path = RelPath::resolve(&RelPath::root(), path);
    glob_matches(text.as_bytes(), path.as_bytes());
    if let Ok(compiled) = ignore::compile(&source) {
        let excluded = compiled.excludes(&path);
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root())
            && compiled.excludes(&parent)
            && !compiled.may_include_below(&parent)
        {
            assert!(excluded);
        }
    }
    let join = |all: &[&str], bytes: &[u8]| -> String {
        let chosen = bytes
            .iter()
            .take(MOST)
            .map(|byte| all[usize::from(*byte) % all.len()]);
        chosen.collect()
    };
    agree(&join(&PIECES, pieces), &join(&NAMES, names));
});

fn agree(text: &str, path: &str) {
    let source = Source::new(".dockerignore", text);
    let path = RelPath::resolve(&RelPath::root(), path);
    let Ok(compiled) = ignore::compile(&source) else {
        return;
    };
    let cleaned: Vec<String> = ignore::patterns(&source)
        .into_iter()
        .map(|pattern| pattern.value)
        .collect();
    if path.is_root() || cleaned.iter().any(|pattern| pattern == "!/") {
        return;
    }
    let shown = path.to_string();
    let expected = Reference::new(&cleaned).excludes(shown.trim_start_matches('/'));
    assert_eq!(compiled.excludes(&path), expected, "{cleaned:?} on {shown}");
}
