//! The cases of `testdata/expand/words.txt`, and how texts are split into words.

use std::collections::BTreeMap;

use kiln_frontend::expand::{ExpandError, Expander};
use kiln_frontend::limits::{EXPANSION_DEPTH, EXPANSION_GROWTH};

fn variables() -> BTreeMap<String, String> {
    let pairs = [
        ("A", "a"),
        ("EMPTY", ""),
        ("P", "/usr/lib/x.so.1"),
        ("W", "xxyyzz"),
        ("D", "$0$1"),
        ("S", "two  words"),
    ];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn words_expand_as_listed() {
    let variables = variables();
    let expander = Expander::new('\\', &variables);
    for line in include_str!("../../testdata/expand/words.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let (word, expected) = line
            .split_once(" => ")
            .unwrap_or((line.trim_end_matches(" =>"), ""));
        let found = expander.word(word).map(|expansion| expansion.text);
        match expected {
            "error" => assert!(found.is_err(), "{word}: {found:?}"),
            _ => assert_eq!(found.as_deref(), Ok(expected), "{word}"),
        }
    }
}

#[test]
fn blanks_of_variables_split_unless_quoted() {
    let variables = variables();
    let expander = Expander::new('\\', &variables);
    let cases: [(&str, &[&str]); 5] = [
        ("a$S b", &["atwo", "words", "b"]),
        ("a\"$S\" b", &["atwo  words", "b"]),
        ("a\\ b 'c d'", &["a b", "c d"]),
        ("", &[]),
        ("80 $NO", &["80"]),
    ];
    for (text, words) in cases {
        assert_eq!(expander.words(text).expect(text), words, "{text}");
    }
}

#[test]
fn modes_keep_what_they_say() {
    let variables = variables();
    let expander = Expander::new('\\', &variables);
    let text = r#"'$A' "$A" \$A $NO ${NO:-x}"#;
    let word = |expander: Expander<'_>| expander.word(text).expect(text).text;
    assert_eq!(word(expander), "$A a $A  x");
    assert_eq!(word(expander.raw_quotes()), "'$A' \"a\" $A  x");
    assert_eq!(word(expander.raw_escapes()), "$A a \\$A  x");
    assert_eq!(word(expander.literal_quotes()), "'a' \"a\" $A  x");
    assert_eq!(word(expander.keep_unset()), "$A a $A $NO ${NO:-x}");
}

#[test]
fn variables_are_told_apart_by_whether_they_are_set() {
    let variables = variables();
    let expansion = Expander::new('\\', &variables)
        .word("$A ${NO:-$P}")
        .expect("a word");
    assert_eq!(
        expansion.matched.into_iter().collect::<Vec<_>>(),
        ["A", "P"]
    );
    assert_eq!(expansion.unmatched.into_iter().collect::<Vec<_>>(), ["NO"]);
}

#[test]
fn bombs_are_refused() {
    let deep = "${A:-".repeat(EXPANSION_DEPTH + 1);
    assert_eq!(
        Expander::new('\\', &variables()).word(&deep),
        Err(ExpandError::TooDeep)
    );
    let mut variables = variables();
    variables.insert("BIG".to_owned(), "x".repeat(EXPANSION_GROWTH / 2));
    let expander = Expander::new('\\', &variables);
    for word in ["$BIG$BIG$BIG", "\"$BIG$BIG$BIG\""] {
        assert!(
            expander.word(word) == Err(ExpandError::TooLong(1 << 20)),
            "{word}"
        );
    }
}
