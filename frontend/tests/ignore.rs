//! The indexed matcher of `.dockerignore` agrees with the definition, read literally.

mod naive_ignore;

use kiln_frontend::{Source, ignore};
use kiln_solver::RelPath;
use naive_ignore::Reference;
use proptest::prelude::*;

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("a"), 3 => Just("b"), 2 => Just("ab"), 2 => Just("é"), 4 => Just("/"),
        2 => Just("*"), 2 => Just("**"), 1 => Just("**/"), 1 => Just("?"), 1 => Just("[a-b]"),
        1 => Just("[^a]"), 1 => Just("\\*"), 1 => Just("."),
    ];
    (any::<bool>(), prop::collection::vec(piece, 1..7)).prop_map(|(takes_back, pieces)| {
        let mark = if takes_back { "!" } else { "" };
        format!("{mark}{}", pieces.concat())
    })
}

/// The pattern `!/` is a mistake in itself.
fn patterns(most: usize) -> impl Strategy<Value = Vec<String>> {
    let texts = prop::collection::vec(pattern(), 0..most);
    texts.prop_filter("a lone !", |texts| {
        let source = Source::new(".dockerignore", &texts.join("\n"));
        ignore::patterns(&source)
            .iter()
            .all(|pattern| pattern.value != "!/")
    })
}

fn path() -> impl Strategy<Value = String> {
    let component = prop::collection::vec(
        prop_oneof![Just("a"), Just("b"), Just("é"), Just("*")],
        1..4,
    )
    .prop_map(|letters| letters.concat());
    prop::collection::vec(component, 1..5).prop_map(|components| components.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_index_changes_nothing(
        texts in patterns(8),
        paths in prop::collection::vec(path(), 1..8),
    ) {
        let source = Source::new(".dockerignore", &texts.join("\n"));
        let compiled = ignore::compile(&source).expect("patterns without mistakes");
        let cleaned: Vec<String> =
            ignore::patterns(&source).into_iter().map(|pattern| pattern.value).collect();
        let reference = Reference::new(&cleaned);
        for text in &paths {
            let path = RelPath::parse(text.as_bytes()).expect("a path");
            prop_assert_eq!(compiled.excludes(&path), reference.excludes(text), "{:?} on {:?}", cleaned, text);
        }
    }

    /// A directory may only be skipped if nothing below it is included.
    #[test]
    fn what_is_skipped_is_excluded(
        texts in patterns(8),
        directory in path(),
        below in path(),
    ) {
        let source = Source::new(".dockerignore", &texts.join("\n"));
        let compiled = ignore::compile(&source).expect("patterns without mistakes");
        let directory_path = RelPath::parse(directory.as_bytes()).expect("a path");
        let path = RelPath::parse(format!("{directory}/{below}").as_bytes()).expect("a path");
        if compiled.excludes(&directory_path) && !compiled.may_include_below(&directory_path) {
            prop_assert!(compiled.excludes(&path), "{:?} on {:?}", texts, path);
        }
    }
}

/// Ten thousand patterns on a hundred thousand paths take less than a second with optimisation; here
/// only that it is not ten thousand times a hundred thousand.
#[test]
fn thousands_of_patterns_are_tried_on_few_paths() {
    let mut text = String::new();
    for i in 0..10_000 {
        let pattern = match i % 5 {
            0 => format!("packages/p{i}/build"),
            1 => format!("**/cache{i}"),
            2 => format!("src/m{i}/*.o"),
            3 => format!("*/gen{i}_*/**"),
            _ => format!("!packages/p{i}/build/keep*"),
        };
        text.push_str(&pattern);
        text.push('\n');
    }
    let compiled = ignore::compile(&Source::new(".dockerignore", &text)).expect("patterns");
    let excluded = (0..100_000).filter(|i| {
        let path = format!("packages/p{}/build/lib/module{i}/file{i}.o", i % 20_000);
        compiled.excludes(&RelPath::parse(path.as_bytes()).expect("a path"))
    });
    assert_eq!(excluded.count(), 10_000);
}
