//! `check=`: which rules count, and whether findings are errors.
//!
//! The same options come from the directive at the head of a file, from the build argument
//! `BUILDKIT_DOCKERFILE_CHECK`, which takes the directive's place, and from comments above an
//! instruction, which add to either for that instruction alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::source::Spanned;
use crate::syntax::Dockerfile;

/// The build argument that takes the directive's place.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Which rules count, and whether findings are errors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    skipped: Choice,
    enabled: Choice,
    /// Whether a finding of BuildKit's rules makes the build fail.
    pub error: bool,
}

/// Some rules by name, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice {
    all: bool,
    names: BTreeSet<String>,
}

impl Choice {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self {
                all: true,
                names: BTreeSet::new(),
            },
            list => Self {
                all: false,
                names: list.split(',').map(|name| name.trim().to_owned()).collect(),
            },
        }
    }

    fn add(&mut self, other: &Choice) {
        self.all |= other.all;
        self.names.extend(other.names.iter().cloned());
    }
}

/// Why check options cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Something that is no `name=value`, or no name that exists.
    #[error("{0:?} is no option of check; there are skip=, error= and experimental=")]
    Unknown(String),
    /// A value that is neither true nor false.
    #[error("error= must be true or false, not {0:?}")]
    Switch(String),
}

impl Settings {
    /// What a file and the build's arguments ask for.
    pub fn of(
        dockerfile: &Dockerfile,
        build_args: &BTreeMap<String, String>,
    ) -> Result<Self, Diagnostic> {
        if let Some(text) = build_args.get(ARGUMENT) {
            return Self::parse(text).map_err(|error| {
                let message = format!("the build argument {ARGUMENT} cannot be read: {error}");
                Diagnostic::error_nowhere("invalid-check", message)
            });
        }
        match &dockerfile.directives.check {
            None => Ok(Self::default()),
            Some(Spanned { value, span }) => Self::parse(first_word(value))
                .map_err(|error| Diagnostic::error("invalid-check", *span, error.to_string())),
        }
    }

    /// Reads `skip=A,B;error=true;experimental=C`, in any order.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(settings);
        }
        for option in text.splitn(3, ';') {
            let unknown = || SettingsError::Unknown(option.to_owned());
            let (name, value) = option.split_once('=').ok_or_else(unknown)?;
            match name.trim() {
                "skip" => settings.skipped = Choice::parse(value),
                "experimental" => settings.enabled = Choice::parse(value),
                "error" => settings.error = switch(value.trim())?,
                _ => return Err(unknown()),
            }
        }
        Ok(settings)
    }

    /// The same with what the comments above an instruction add. Whether findings are errors is not
    /// for them to say, and what cannot be read counts as a comment.
    pub(super) fn with_comments(&self, comments: &[Spanned<String>]) -> Option<Self> {
        let value = comments
            .iter()
            .find_map(|comment| directive::check_comment(&comment.value))?;
        let local = Self::parse(first_word(value)).ok()?;
        let mut merged = self.clone();
        merged.skipped.add(&local.skipped);
        merged.enabled.add(&local.enabled);
        Some(merged)
    }

    /// Leaves a rule out; `all` leaves out every rule.
    pub fn skip(&mut self, name: &str) {
        self.skipped.add(&Choice::parse(name));
    }

    /// Asks a rule that is not asked by itself; `all` asks every one.
    pub fn enable(&mut self, name: &str) {
        if name == "all" {
            let off = super::RULES.iter().filter(|rule| !rule.is_on_by_default());
            self.enabled
                .names
                .extend(off.map(|rule| rule.name.to_owned()));
        }
        self.enabled.add(&Choice::parse(name));
    }

    pub(super) fn skips(&self, name: &str) -> bool {
        self.skipped.all || self.skipped.names.contains(name)
    }

    pub(super) fn enables_experiment(&self, name: &str) -> bool {
        self.enabled.all || self.names(name)
    }

    /// Whether a rule that is off is asked for by its own name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.enabled.names.contains(name)
    }
}

/// What stands behind a blank is a remark.
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// The words that Go's `strconv.ParseBool` takes.
fn switch(value: &str) -> Result<bool, SettingsError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(SettingsError::Switch(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order() {
        let settings = Settings::parse("error=1; skip = A , B;experimental=all").expect("valid");
        assert!(settings.error && settings.skips("A") && settings.skips("B"));
        assert!(!settings.skips("C") && settings.enables_experiment("C"));
        assert_eq!(Settings::parse(" "), Ok(Settings::default()));
        assert!(Settings::parse("skip=all").expect("valid").skips("C"));
        for text in ["skip", "error=maybe", "warn=x", "skip=A;"] {
            assert!(Settings::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comments_add_to_what_the_file_says() {
        let comment = |text: &str| Spanned::new(text.to_owned(), crate::Span::default());
        let file = Settings::parse("skip=A;error=true").expect("valid");
        let local = |texts: &[&str]| {
            let comments: Vec<_> = texts.iter().map(|text| comment(text)).collect();
            file.with_comments(&comments)
        };
        let merged = local(&["words", "check=skip=B // because"]).expect("an option");
        assert!(merged.skips("A") && merged.skips("B") && merged.error);
        assert_eq!(local(&["words"]), None);
        assert_eq!(local(&["check=nonsense", "check=skip=B"]), None);
    }
}
