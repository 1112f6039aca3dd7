//! Any ignore file compiles or says why not, and the index agrees with asking every pattern.

#![no_main]

use kiln_frontend::{Source, ignore};
use kiln_solver::RelPath;
use kiln_solver::pattern::{Patterns, glob_matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let source = Source::new(".dockerignore", text);
    let path = RelPath::resolve(&RelPath::root(), path);
    glob_matches(text.as_bytes(), path.as_bytes());
    let Ok(compiled) = ignore::compile(&source) else {
        return;
    };
    let excluded = compiled.excludes(&path);
    if let Some(parent) = path.parent().filter(|parent| !parent.is_root()) {
        if compiled.excludes(&parent) && !compiled.may_include_below(&parent) {
            assert!(excluded);
        }
    }
    // Alone, a pattern excludes if and only if it matches; together, something must have matched.
    let patterns = ignore::patterns(&source);
    let alone = patterns.iter().any(|pattern| {
        let one = Patterns::new([pattern.value.as_str()].into_iter());
        one.is_ok_and(|one| one.excludes(&path))
    });
    assert!(alone || !excluded);
});
