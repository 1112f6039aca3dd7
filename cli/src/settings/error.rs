//! What is wrong with an option's value.

use std::fmt;

/// A value that makes no sense, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// The option, such as `--output`.
    pub option: &'static str,
    /// The value as typed.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What could be typed instead.
    pub hint: Option<String>,
}

impl UsageError {
    /// A value that makes no sense.
    pub fn new(option: &'static str, value: &str, problem: impl Into<String>) -> Self {
        Self {
            option,
            value: value.to_owned(),
            problem: problem.into(),
            hint: None,
        }
    }

    /// Adds advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the nearest of the known words, or all of them where none is near.
    pub fn known_words(self, written: &str, known: &[&str]) -> Self {
        match nearest(written, known) {
            Some(word) => self.hint(format!("did you mean {word}?")),
            None => self.hint(format!("known are {}", known.join(", "))),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid value '{}' for '{}': {}",
            self.value, self.option, self.problem
        )
    }
}

impl std::error::Error for UsageError {}

/// The word that looks most like what was written, if any looks like it: by a slip of one key, or by
/// how it begins.
fn nearest<'w>(written: &str, known: &[&'w str]) -> Option<&'w str> {
    let written = written.to_ascii_lowercase();
    let likeness = |word: &str| {
        let slips = strsim::damerau_levenshtein(&written, word);
        let is_slip = slips == 1 && word.len() > 2;
        if is_slip {
            1.0
        } else {
            strsim::jaro_winkler(&written, word)
        }
    };
    let scored = known.iter().map(|word| (likeness(word), *word));
    let (score, word) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.8).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["image", "local", "oci", "tar"];
        assert_eq!(nearest("imge", &known), Some("image"));
        assert_eq!(nearest("OCI", &known), Some("oci"));
        assert_eq!(nearest("oic", &known), Some("oci"));
        assert_eq!(nearest("squashfs", &known), None);
    }
}
