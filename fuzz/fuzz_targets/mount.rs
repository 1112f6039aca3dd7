//! Any `--mount` is read or refused; what is read is read the same again.

#![no_main]

use kiln_frontend::mount;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let read = || mount::parse(text, |value| Ok(value.to_owned()));
    assert_eq!(read(), read());
    let unexpanded = mount::from_unexpanded(text);
    if let (Ok(mount), Ok(from)) = (read(), unexpanded) {
        assert_eq!(mount.from, from.unwrap_or_default());
    }
});
