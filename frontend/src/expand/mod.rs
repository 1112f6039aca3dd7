//! Variables and quotes: BuildKit's dialect of shell words.
//!
//! A word knows `$name`, `${name}` with the operators `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/`
//! `//`, single and double quotes, and the escape character. Written as a cursor and not with
//! combinators, because what a character means depends on state that crosses the grammar's levels.

mod glob;
mod lexer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::limits::{EXPANSION_DEPTH, EXPANSION_GROWTH, PATTERN_STEPS};

/// The values that words can refer to.
pub trait Variables {
    /// The value of a variable, if it is set.
    fn get(&self, name: &str) -> Option<&str>;
}

/// No variable is set.
#[derive(Debug, Clone, Copy)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is never closed.
    #[error("a {0} quote is not closed")]
    OpenQuote(&'static str),
    /// A `${` is never closed, or the operator's next part is missing.
    #[error("missing '{0}' in a substitution")]
    Missing(char),
    /// `${` is followed by something that no name can begin with.
    #[error("bad substitution")]
    BadSubstitution,
    /// An operator that does not exist here.
    #[error("the operator {0:?} does not exist in substitutions")]
    UnknownOperator(String),
    /// `${name?}` of an unset or `${name:?}` of an empty variable.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the author wrote, or a text that says what is wrong.
        message: String,
    },
    /// A pattern of `#`, `%` or `/` escapes what cannot be escaped.
    #[error("the pattern {0:?} has an invalid escape")]
    InvalidPattern(String),
    /// Substitutions inside substitutions, beyond what anybody writes.
    #[error("substitutions are nested more than {EXPANSION_DEPTH} deep")]
    TooDeep,
    /// A pattern with many parts on a long value.
    #[error("a pattern takes more than {PATTERN_STEPS} steps to match")]
    TooSlow,
    /// The result is larger than anything useful.
    #[error("the word grows by more than {0} bytes")]
    TooLong(usize),
}

/// An expansion that failed, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why it failed.
    pub error: ExpandError,
    /// The variables that were used up to there and are not set.
    pub unmatched: BTreeSet<String>,
    /// The bytes of the text that hold the substitution, if one is to blame.
    pub place: Option<Range<usize>>,
}

/// What a word expands to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The result.
    pub text: String,
    /// The variables that were used and are set.
    pub matched: BTreeSet<String>,
    /// The variables that were used and are not set.
    pub unmatched: BTreeSet<String>,
    /// How many steps matching patterns took, about.
    pub steps: usize,
}

/// Expands words with one set of variables.
#[derive(Clone, Copy)]
pub struct Expander<'a> {
    escape: char,
    variables: &'a dyn Variables,
    raw_quotes: bool,
    raw_escapes: bool,
    literal_quotes: bool,
    keep_unset: bool,
    growth: usize,
}

impl<'a> Expander<'a> {
    /// An expander that removes quotes and escapes and replaces unset variables by nothing.
    pub fn new(escape: char, variables: &'a dyn Variables) -> Self {
        Self {
            escape,
            variables,
            raw_quotes: false,
            raw_escapes: false,
            literal_quotes: false,
            keep_unset: false,
            growth: EXPANSION_GROWTH,
        }
    }

    /// Quotes still quote, but stay in the result.
    pub fn raw_quotes(mut self) -> Self {
        self.raw_quotes = true;
        self
    }

    /// Escape characters still escape, but stay in the result.
    pub fn raw_escapes(mut self) -> Self {
        self.raw_escapes = true;
        self
    }

    /// Quotes are characters like any other.
    pub fn literal_quotes(mut self) -> Self {
        self.literal_quotes = true;
        self
    }

    /// References to unset variables stay as they are.
    pub fn keep_unset(mut self) -> Self {
        self.keep_unset = true;
        self
    }

    /// A word may grow by this many bytes, and not by [`EXPANSION_GROWTH`].
    pub(crate) fn growing_by(mut self, bytes: usize) -> Self {
        self.growth = bytes;
        self
    }

    /// Whether a text means what is written, with nothing to expand in it.
    pub(crate) fn is_plain(&self, text: &str) -> bool {
        let escape = self.escape;
        !text
            .bytes()
            .any(|byte| matches!(byte, b'$' | b'\'' | b'"') || char::from(byte) == escape)
    }

    /// Expands a text to one word; blanks stay.
    pub fn word(&self, text: &str) -> Result<Expansion, ExpandError> {
        self.attempt(text).map_err(|failure| failure.error)
    }

    /// Like [`Expander::word`]; tells more of a failure.
    pub fn attempt(&self, text: &str) -> Result<Expansion, Box<Failure>> {
        if self.is_plain(text) {
            let text = text.to_owned();
            return Ok(Expansion {
                text,
                ..Expansion::default()
            });
        }
        lexer::Lexer::new(self, text, false)
            .run()
            .map(|(expansion, _)| expansion)
    }

    /// Expands a text and splits it at blanks that are not quoted, those from variables included.
    pub fn words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        lexer::Lexer::new(self, text, true)
            .run()
            .map(|(_, words)| words)
            .map_err(|failure| failure.error)
    }
}
