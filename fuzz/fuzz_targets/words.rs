//! Words lie in order inside the text.

#![no_main]

use kiln_frontend::words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for ranges in [
        words::quoted_words(text, '\\'),
        words::blank_separated(text),
    ] {
        let mut end = 0;
        for range in ranges {
            assert!(end <= range.start && range.start < range.end);
            assert!(text.get(range.clone()).is_some());
            end = range.end;
        }
    }
});
