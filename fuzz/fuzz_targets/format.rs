//! Formatting any text changes no meaning and is done after once.

#![no_main]

#[path = "../../frontend/tests/meaning/mod.rs"]
mod meaning;

use kiln_frontend::{Options, Source, format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let formatted = |text: &str| format(&parse(&Source::new("Dockerfile", text)).dockerfile);
    let once = formatted(text);
    assert_eq!(formatted(&once), once, "a second time");
    let options = Options::new("linux/amd64".parse().expect("a platform"));
    assert_eq!(
        meaning::of(&once, &options),
        meaning::of(text, &options),
        "{once:?}"
    );
});
