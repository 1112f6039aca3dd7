//! Any word expands or says why not, in all modes.

#![no_main]

use std::collections::BTreeMap;

use kiln_frontend::expand::Expander;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, bool)| {
    let (text, value, backtick) = input;
    let variables = BTreeMap::from([
        ("a".to_owned(), value.to_owned()),
        ("b".to_owned(), String::new()),
    ]);
    let expander = Expander::new(if backtick { '`' } else { '\\' }, &variables);
    for expander in [
        expander,
        expander.raw_quotes().keep_unset(),
        expander.raw_quotes().raw_escapes(),
        expander.literal_quotes(),
    ] {
        let word = expander.word(text);
        let words = expander.words(text);
        assert_eq!(word.is_ok(), words.is_ok());
    }
});
