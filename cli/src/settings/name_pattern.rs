//! Patterns that names are compared with, in the language of Go's `path.Match` as Docker's filters have it.

use kiln_solver::pattern::{check_glob, glob_matches};

use super::UsageError;

/// `*` is any text without a slash, `?` any character but a slash, `[a-z]` one of a class; a backslash quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern that an option has in its value, as `typed`.
    pub fn parse(option: &'static str, typed: &str, pattern: &str) -> Result<Self, UsageError> {
        match check_glob(pattern) {
            Ok(()) => Ok(Self(pattern.to_owned())),
            Err(error) => {
                let problem = format!("it is no pattern: {}", error.problem);
                Err(UsageError::new(option, typed, problem)
                    .hint("a backslash before a character takes it as it is"))
            }
        }
    }

    /// Whether a name is like this, all of it.
    pub fn matches(&self, name: &str) -> bool {
        glob_matches(self.0.as_bytes(), name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        let cases = [
            ("debian", "debian", true),
            ("debian", "debian:12", false),
            ("debian:*", "debian:12", true),
            ("*:12", "debian:12", true),
            ("*", "me/app", false),
            ("*/*", "me/app", true),
            ("*/a?p", "me/app", true),
            ("*a*a", "banana", true),
            ("*a*b", "banana", false),
            ("[a-c]pp", "app", true),
            (r"\[x", "[x", true),
            ("", "", true),
        ];
        for (pattern, name, expected) in cases {
            let parsed = NamePattern::parse("--filter", pattern, pattern).expect(pattern);
            assert_eq!(parsed.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[", "[]", "a[b", "\\"] {
            let typed = format!("name={pattern}");
            let refused = NamePattern::parse("--filter", &typed, pattern).expect_err(pattern);
            assert_eq!((refused.option, refused.value), ("--filter", typed));
        }
    }
}
