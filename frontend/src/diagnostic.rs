//! What is wrong with a Dockerfile, said in a way that can be shown beside its lines.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Reverse;
use std::fmt;

use crate::limits;
use crate::source::Span;

/// The longest name that may be misspelt, in bytes: comparing takes time in the square of it.
const LONGEST_NAME: usize = 64;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build cannot go on.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name: BuildKit's rule name for a lint, words with dashes for everything else.
    pub code: &'static str,
    /// Where; `None` if it concerns no place in the file.
    pub span: Option<Span>,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// What to write beside the marked place.
    pub label: Option<String>,
    /// What could be done about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, Some(span), message.into())
    }

    /// An error of no place in the file.
    pub fn error_nowhere(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, None, message.into())
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, Some(span), message.into())
    }

    /// A warning of no place in the file.
    pub fn warning_nowhere(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, None, message.into())
    }

    /// An error for what the language has and this program does not yet.
    pub fn unsupported(span: Span, what: &str) -> Self {
        Self::error("unsupported", span, format!("{what} is not supported yet"))
    }

    fn new(severity: Severity, code: &'static str, span: Option<Span>, message: String) -> Self {
        Self {
            severity,
            code,
            span,
            message,
            label: None,
            hints: Vec::new(),
        }
    }

    /// Adds the text beside the marked place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds "did you mean" if one of `options` is close to `written`, letter case included.
    pub fn did_you_mean<'a>(
        self,
        written: &str,
        options: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let option = closest(written, options);
        self.did_you_mean_this(option)
    }

    /// Adds "did you mean" if there is something to suggest.
    pub(crate) fn did_you_mean_this(self, option: Option<&str>) -> Self {
        match option {
            Some(option) => self.hint(format!("did you mean {option}?")),
            None => self,
        }
    }

    /// Moves the finding to another place.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Whether the build cannot go on.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints
            .iter()
            .try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// The code of the finding that stands for those that are not told.
pub const MORE_FINDINGS: &str = "more-findings";

/// As many findings as are told of one file ([`limits::FINDINGS`]), in their order: the errors rather than
/// the warnings, and at the end a warning that says how many there are beside them.
pub fn shortened(found: &[Diagnostic]) -> Cow<'_, [Diagnostic]> {
    let more = found.len().saturating_sub(limits::FINDINGS);
    if more == 0 {
        return Cow::Borrowed(found);
    }
    let errors = found.iter().filter(|finding| finding.is_error()).count();
    let mut errors_left = errors.min(limits::FINDINGS);
    let mut warnings_left = limits::FINDINGS - errors_left;
    let is_told = |finding: &&Diagnostic| {
        let left = match finding.severity {
            Severity::Error => &mut errors_left,
            Severity::Warning => &mut warnings_left,
        };
        let is_told = *left > 0;
        *left -= usize::from(is_told);
        is_told
    };
    let mut told: Vec<Diagnostic> = found.iter().filter(is_told).cloned().collect();
    let message = format!("there are {more} findings more");
    told.push(Diagnostic::warning_nowhere(MORE_FINDINGS, message));
    Cow::Owned(told)
}

/// Finds near names as long as that is not too much work: in a file with very many names, the last of
/// very many misspelt ones get no suggestion.
#[derive(Debug)]
pub(crate) struct Suggestions {
    /// How many names may still be compared.
    left: Cell<usize>,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self {
            left: Cell::new(limits::COMPARED_NAMES),
        }
    }
}

impl Suggestions {
    /// [`closest`]; the names are only asked for if they will be looked at.
    pub(crate) fn closest<'a, N: IntoIterator<Item = &'a str>>(
        &self,
        written: &str,
        names: impl FnOnce() -> N,
    ) -> Option<&'a str> {
        let count = || self.left.set(self.left.get().saturating_sub(1));
        match self.left.get() {
            0 => None,
            left => closest(written, names().into_iter().take(left).inspect(|_| count())),
        }
    }
}

/// The option that fewest edits lead to: at most two, and no more than half the characters of `written`, or
/// three if it begins like `written` or with all of it. Another letter case is one edit, and so are two letters that changed places;
/// among equals an option of the same letters wins, and then one that begins alike. None if `written`
/// is itself an option, or longer than any name.
pub fn closest<'a>(written: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > LONGEST_NAME {
        return None;
    }
    let edits = |option: &str| match option.eq_ignore_ascii_case(written) && option != written {
        true => 1,
        false => strsim::osa_distance(written, option),
    };
    let length = written.chars().count();
    let letters = letters_of(written);
    let distances = options
        .into_iter()
        .filter(|option| !option.is_empty() && option.len().abs_diff(written.len()) <= 8)
        .map(|option| (edits(option), option));
    let (distance, option) = distances.min_by_key(|(distance, option)| {
        let has_other_letters = letters_of(option) != letters;
        let alike = common_beginning(written, option);
        (*distance, has_other_letters, Reverse(alike))
    })?;
    let alike = common_beginning(written, option);
    let is_near = match alike >= SURE_BEGINNING || (alike > 1 && alike == length) {
        true => distance <= 3,
        false => distance <= 2 && 2 * distance <= length,
    };
    (is_near && distance > 0).then_some(option)
}

/// So many equal letters at the beginning of two names make a third edit as credible as two elsewhere:
/// `retry` and `retries`.
const SURE_BEGINNING: usize = 4;

fn letters_of(name: &str) -> Vec<char> {
    let mut letters: Vec<char> = name.to_lowercase().chars().collect();
    letters.sort_unstable();
    letters
}

fn common_beginning(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_findings_the_errors_are_told_first() {
        let warning = Diagnostic::warning_nowhere("w", "");
        let error = Diagnostic::error_nowhere("e", "");
        let mut found = vec![warning; limits::FINDINGS];
        assert_eq!(*shortened(&found), *found);
        found.extend([error.clone(), error]);
        let told = shortened(&found);
        assert_eq!(told.len(), limits::FINDINGS + 1);
        assert_eq!(told.iter().filter(|finding| finding.is_error()).count(), 2);
        let last = told.last().map(|finding| finding.to_string());
        assert_eq!(last.as_deref(), Some("there are 2 findings more"));
        let many = vec![found[limits::FINDINGS].clone(); 3 * limits::FINDINGS];
        assert_eq!(shortened(&many).len(), limits::FINDINGS + 1);
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(closest("COYP", ["COPY", "ADD"]), Some("COPY"));
        assert_eq!(closest("COPY", ["COPY", "COPYX"]), None);
        assert_eq!(closest("frobnicate", ["COPY"]), None);
        assert_eq!(closest("tmp", ["bind", "tmpfs"]), Some("tmpfs"));
        assert_eq!(closest("FOO", ["FPE"]), None);
        assert_eq!(closest("x", []), None);
        assert_eq!(closest("x", ["y", ""]), None);
        assert_eq!(closest("RNU", ["ENV", "RUN"]), Some("RUN"));
        assert_eq!(closest("AGR", ["ADD", "ARG"]), Some("ARG"));
        assert_eq!(closest("tga", ["target", "tag"]), Some("tag"));
        assert_eq!(closest("retry", ["timeout", "retries"]), Some("retries"));
        assert_eq!(closest("goPath", ["PATH", "GOPATH"]), Some("GOPATH"));
    }
}
