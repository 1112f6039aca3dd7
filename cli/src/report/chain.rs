//! An error with its causes in one line.

use std::error::Error;

/// The error and its causes, separated by colons. A cause that the error before it has already
/// quoted is not said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !last.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
            last = message;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::anyhow;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Nested {
        #[error("{0}")]
        Passed(#[source] io::Error),
        #[error("cannot read x: {source}")]
        Quoted { source: io::Error },
    }

    #[test]
    fn nothing_is_said_twice() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let outer = |error: Nested| anyhow::Error::from(error).context("cannot build");
        let cases = [
            (anyhow!("alone"), "alone"),
            (anyhow!("inner").context("outer"), "outer: inner"),
            (
                outer(Nested::Passed(denied())),
                "cannot build: permission denied",
            ),
            (
                outer(Nested::Quoted { source: denied() }),
                "cannot build: cannot read x: permission denied",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(chain(error.as_ref()), expected);
        }
    }
}
