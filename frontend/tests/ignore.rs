//! The indexed matcher of `.dockerignore` agrees with the definition, read literally.

use kiln_frontend::{Source, ignore};
use kiln_solver::RelPath;
use proptest::prelude::*;

/// One pattern and what it remembers of the directory above.
struct Reference {
    patterns: Vec<(bool, Vec<char>)>,
}

impl Reference {
    fn new(texts: &[String]) -> Self {
        let patterns = texts.iter().map(|text| match text.strip_prefix('!') {
            Some(body) => (true, body.chars().collect()),
            None => (false, text.chars().collect()),
        });
        Self {
            patterns: patterns.collect(),
        }
    }

    /// Every pattern on every level, with what it matched on the level above.
    fn excludes(&self, path: &str) -> bool {
        let mut above = vec![false; self.patterns.len()];
        let mut verdict = false;
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            let level: Vec<char> = path[..end].chars().collect();
            let mut here = vec![false; self.patterns.len()];
            verdict = false;
            for (i, (takes_back, pattern)) in self.patterns.iter().enumerate() {
                if !above[i] && *takes_back != verdict {
                    continue;
                }
                here[i] = above[i] || whole(pattern, &level);
                if here[i] {
                    verdict = !takes_back;
                }
            }
            above = here;
        }
        verdict
    }
}

/// The three short cuts of the original, then its expressions.
fn whole(pattern: &[char], path: &[char]) -> bool {
    let is_plain = |text: &[char]| !text.iter().any(|c| "*?[]\\".contains(*c));
    match pattern {
        ['*', '*', suffix @ ..] if is_plain(suffix) => {
            path.ends_with(suffix) || (suffix.first() == Some(&'/') && path == &suffix[1..])
        }
        [prefix @ .., '*', '*'] if is_plain(prefix) => path.starts_with(prefix),
        _ => matches(pattern, path),
    }
}

fn matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            let behind_slashes = (1..=path.len()).filter(|at| path[at - 1] == '/');
            std::iter::once(0)
                .chain(behind_slashes)
                .any(|at| matches(rest, &path[at..]))
        }
        ['*', rest @ ..] => {
            let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=end).any(|at| matches(rest, &path[at..]))
        }
        ['?', rest @ ..] => matches!(path, [c, tail @ ..] if *c != '/' && matches(rest, tail)),
        ['[', 'a', '-', 'b', ']', rest @ ..] => {
            matches!(path, ['a' | 'b', tail @ ..] if matches(rest, tail))
        }
        ['[', '^', 'a', ']', rest @ ..] => {
            matches!(path, [c, tail @ ..] if *c != 'a' && matches(rest, tail))
        }
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            matches!(path, [d, tail @ ..] if c == d && matches(rest, tail))
        }
    }
}

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
