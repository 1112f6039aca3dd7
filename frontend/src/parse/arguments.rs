//! The arguments of one instruction, with their places, in the forms that instructions take.

use crate::diagnostic::Diagnostic;
use crate::json::{self, Array};
use crate::scan::LogicalLine;
use crate::source::{Span, Spanned};
use crate::syntax::{CommandLine, Word};
use crate::words;

/// Why an instruction is not in the tree.
pub(super) type Rejected = Box<Diagnostic>;

/// The text behind the flags of an instruction.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub(super) line: &'a LogicalLine,
    /// The instruction's name in capitals.
    pub(super) keyword: &'a str,
    /// A slice of `line.text`.
    pub(super) text: &'a str,
    pub(super) escape: char,
}

impl<'a> Arguments<'a> {
    fn offset(&self) -> usize {
        self.text.as_ptr() as usize - self.line.text.as_ptr() as usize
    }

    /// The place of a slice of the arguments.
    pub(super) fn span_of(&self, range: std::ops::Range<usize>) -> Span {
        let offset = self.offset();
        self.line.span_of(offset + range.start..offset + range.end)
    }

    pub(super) fn word(&self, range: std::ops::Range<usize>) -> Word {
        Spanned::new(self.text[range.clone()].to_owned(), self.span_of(range))
    }

    /// Where a complaint about the arguments as a whole belongs.
    pub(super) fn span(&self) -> Span {
        if self.text.is_empty() {
            self.line.span
        } else {
            self.span_of(0..self.text.len())
        }
    }

    pub(super) fn error(&self, code: &'static str, message: impl Into<String>) -> Rejected {
        Box::new(Diagnostic::error(code, self.span(), message))
    }

    pub(super) fn missing(&self) -> Rejected {
        self.error(
            "missing-argument",
            format!("{} needs an argument", self.keyword),
        )
    }

    /// All of it as one word, which may not be empty.
    pub(super) fn single(&self) -> Result<Word, Rejected> {
        if self.text.is_empty() {
            Err(self.missing())
        } else {
            Ok(self.word(0..self.text.len()))
        }
    }

    /// What follows the first word; the first word itself.
    pub(super) fn split_first(self) -> Option<(Word, Self)> {
        if self.text.is_empty() {
            return None;
        }
        let end = self
            .text
            .find(char::is_whitespace)
            .unwrap_or(self.text.len());
        let rest = self.text[end..].trim_start();
        Some((self.word(0..end), Self { text: rest, ..self }))
    }

    /// The strings of a JSON array; `None` if the text is no JSON array.
    fn json(&self) -> Result<Option<Vec<Word>>, Rejected> {
        match json::array(self.text) {
            Array::Strings(strings) => {
                let place = |(value, range)| Spanned::new(value, self.span_of(range));
                Ok(Some(strings.into_iter().map(place).collect()))
            }
            Array::Mixed => Err(self.error("invalid-json", "the JSON array may hold only strings")),
            Array::No => Ok(None),
        }
    }

    /// The strings of a JSON array, or else what blanks separate.
    pub(super) fn list(&self) -> Result<Vec<Word>, Rejected> {
        match self.json()? {
            Some(strings) => Ok(strings),
            None => Ok(self.blank_separated()),
        }
    }

    pub(super) fn blank_separated(&self) -> Vec<Word> {
        words::blank_separated(self.text)
            .into_iter()
            .map(|range| self.word(range))
            .collect()
    }

    pub(super) fn quoted_words(&self) -> Vec<std::ops::Range<usize>> {
        words::quoted_words(self.text, self.escape)
    }

    /// The strings of a JSON array, or else a text for the shell.
    pub(super) fn command_line(&self) -> Result<CommandLine, Rejected> {
        Ok(match self.json()? {
            Some(strings) => CommandLine::Exec(strings),
            None => CommandLine::Shell(self.word(0..self.text.len())),
        })
    }
}
