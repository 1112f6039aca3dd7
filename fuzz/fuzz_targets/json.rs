//! Arrays of strings in JSON are read as another reader reads them, and their places are right.

#![no_main]

use kiln_frontend::json::{self, Array};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let trimmed = text.trim_start();
    let other: Result<Vec<String>, _> = serde_json::from_str(trimmed);
    match json::array(text) {
        Array::Strings(found) => {
            for (value, range) in &found {
                let again: Result<String, _> = serde_json::from_str(&text[range.clone()]);
                // The other reader takes no half of a surrogate pair.
                assert!(again.is_err() || again.is_ok_and(|again| again == *value));
            }
            if let Ok(other) = other {
                let values: Vec<String> = found.into_iter().map(|(value, _)| value).collect();
                assert_eq!(values, other);
            }
        }
        Array::Mixed | Array::No => assert!(other.is_err(), "{other:?}"),
    }
});
