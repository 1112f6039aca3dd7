//! The cursor that walks over one text and expands it.

use std::ops::Range;

use super::{ExpandError, Expander, Expansion, Failure, glob};
use crate::limits::EXPANSION_DEPTH;

pub(super) struct Lexer<'a> {
    expander: &'a Expander<'a>,
    /// How many bytes the whole text has.
    length: usize,
    rest: &'a str,
    raw_escapes: bool,
    depth: usize,
    limit: usize,
    /// Whether words are wanted, and not only the text.
    splits: bool,
    found: Expansion,
    /// The innermost substitution that failed.
    failed: Option<Range<usize>>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(expander: &'a Expander<'a>, text: &'a str, splits: bool) -> Self {
        let (raw_escapes, limit) = (expander.raw_escapes, text.len() + expander.growth);
        let found = Expansion::default();
        Self {
            expander,
            length: text.len(),
            rest: text,
            raw_escapes,
            depth: 0,
            limit,
            splits,
            found,
            failed: None,
        }
    }

    /// Expands all, both as one word and split into words.
    pub(super) fn run(mut self) -> Result<(Expansion, Vec<String>), Box<Failure>> {
        match self.until(None, self.raw_escapes) {
            Ok((text, words)) => {
                self.found.text = text;
                Ok((self.found, words))
            }
            Err(error) => Err(Box::new(Failure {
                error,
                unmatched: self.found.unmatched,
                place: self.failed,
            })),
        }
    }

    /// How many bytes were read.
    fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn take_while(&mut self, condition: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !condition(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Expands up to and over `stop`, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandError> {
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.until_inner(stop);
        self.raw_escapes = outer;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::new(self.splits);
        while let Some(next) = self.peek() {
            if Some(next) == stop {
                self.next();
                return Ok((text, words.finish()));
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    words.push_all(&value);
                    text.push_str(&value);
                }
                '\'' if !self.expander.literal_quotes => {
                    self.quoted(&mut text, &mut words, Self::single_quoted)?;
                }
                '"' if !self.expander.literal_quotes => {
                    self.quoted(&mut text, &mut words, Self::double_quoted)?;
                }
                '<' => self.possible_heredoc(&mut text, &mut words),
                _ => self.plain(&mut text, &mut words),
            }
            if text.len() > self.limit {
                return Err(self.too_long());
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Missing(stop)),
            None => Ok((text, words.finish())),
        }
    }

    fn quoted(
        &mut self,
        text: &mut String,
        words: &mut Words,
        read: fn(&mut Self) -> Result<String, ExpandError>,
    ) -> Result<(), ExpandError> {
        let value = read(self)?;
        words.push_raw(&value);
        text.push_str(&value);
        Ok(())
    }

    fn plain(&mut self, text: &mut String, words: &mut Words) {
        let Some(mut next) = self.next() else { return };
        if next == self.expander.escape {
            if self.raw_escapes {
                words.push_raw_char(next);
                text.push(next);
            }
            // At the very end, an escape character stands for nothing.
            let Some(escaped) = self.next() else { return };
            next = escaped;
            words.push_raw_char(next);
        } else {
            words.push(next);
        }
        text.push(next);
    }

    /// `<<` and the blanks behind it belong to the word that follows.
    fn possible_heredoc(&mut self, text: &mut String, words: &mut Words) {
        self.next();
        let mut mark = "<".to_owned();
        if self.peek() == Some('<') {
            self.next();
            mark.push('<');
            mark.push_str(self.take_while(|c| matches!(c, ' ' | '\t' | '\r')));
        }
        words.push_raw(&mark);
        text.push_str(&mark);
    }

    /// Everything up to the next single quote, as it is.
    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.next();
        let inner = self.take_while(|c| c != '\'');
        self.next().ok_or(ExpandError::OpenQuote("single"))?;
        Ok(if self.expander.raw_quotes {
            format!("'{inner}'")
        } else {
            inner.to_owned()
        })
    }

    /// Up to the next double quote; `$` still expands, and the escape character escapes itself, `$`
    /// and `"`.
    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote_mark(&mut text);
        loop {
            match self.peek() {
                None => return Err(ExpandError::OpenQuote("double")),
                Some('"') => {
                    self.quote_mark(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(next) if next == self.expander.escape => self.escape_in_quotes(&mut text),
                Some(next) => {
                    self.next();
                    text.push(next);
                }
            }
            if text.len() > self.limit {
                return Err(self.too_long());
            }
        }
    }

    fn quote_mark(&mut self, text: &mut String) {
        self.next();
        if self.expander.raw_quotes {
            text.push('"');
        }
    }

    fn escape_in_quotes(&mut self, text: &mut String) {
        let escape = self.expander.escape;
        self.next();
        if self.raw_escapes {
            text.push(escape);
        }
        match self.peek() {
            None => {}
            Some(escaped) if escaped == '"' || escaped == '$' || escaped == escape => {
                self.next();
                text.push(escaped);
            }
            Some(_) => text.push(escape),
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        if self.depth == EXPANSION_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let (start, from) = (self.position(), self.rest);
        self.next();
        let value = if self.peek() == Some('{') {
            self.braces()
        } else {
            self.bare_name()
        };
        self.depth -= 1;
        if value.is_err() && self.failed.is_none() {
            // What is never closed runs on to the end of the text; its first line says enough.
            let read = &from[..self.position() - start];
            let line = read.find(['\r', '\n']).unwrap_or(read.len());
            self.failed = Some(start..start + line);
        }
        value
    }

    fn bare_name(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match self.lookup(name) {
            Some(value) => self.copied(value),
            None if self.expander.keep_unset => Ok(format!("${name}")),
            None => Ok(String::new()),
        }
    }

    /// A value that becomes part of the word. One that does not fit is not even copied.
    fn copied(&self, value: &str) -> Result<String, ExpandError> {
        match value.len() > self.limit {
            true => Err(self.too_long()),
            false => Ok(value.to_owned()),
        }
    }

    fn too_long(&self) -> ExpandError {
        ExpandError::TooLong(self.expander.growth)
    }

    fn braces(&mut self) -> Result<String, ExpandError> {
        self.next();
        match self.peek() {
            None => return Err(ExpandError::Missing('}')),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => self.plain_braces(name),
            Some(':') => match self.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(name, operator, true),
                None | Some('\n' | '\r') => Err(ExpandError::Missing('}')),
                Some(other) => Err(ExpandError::UnknownOperator(format!(":{other}"))),
            },
            Some(operator @ ('-' | '+' | '?')) => self.conditional(name, operator, false),
            Some(operator @ ('#' | '%')) => self.trim(name, operator),
            Some('/') => self.replace(name),
            // No operator begins with the end of a line.
            None | Some('\n' | '\r') => Err(ExpandError::Missing('}')),
            Some(other) => Err(ExpandError::UnknownOperator(other.to_string())),
        }
    }

    fn plain_braces(&mut self, name: &str) -> Result<String, ExpandError> {
        match self.lookup(name) {
            Some(value) => self.copied(value),
            None if self.expander.keep_unset => Ok(format!("${{{name}}}")),
            None => Ok(String::new()),
        }
    }

    /// `-`, `+` and `?`, which ask whether a variable is set, or with a colon, set and not empty.
    fn conditional(
        &mut self,
        name: &str,
        operator: char,
        colon: bool,
    ) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'), false)?;
        let value = self.lookup(name);
        if value.is_none() && self.expander.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let present = value.filter(|value| !(colon && value.is_empty()));
        match (operator, present) {
            ('-', Some(present)) => self.copied(present),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(present)) => Ok(present.to_owned()),
            (_, None) => {
                let state = if value.is_none() { "unset" } else { "empty" };
                let fallback = format!("is not allowed to be {state}");
                let message = if word.is_empty() { fallback } else { word };
                Err(ExpandError::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }

    /// `#` and `%`, which remove the shortest match of a pattern from an end; doubled, the longest.
    fn trim(&mut self, name: &str, operator: char) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'), true)?;
        let Some(value) = self.lookup(name) else {
            let kept = format!("${{{name}{operator}{word}}}");
            return self.unset_with_pattern(word.strip_prefix(operator).unwrap_or(&word), kept);
        };
        let longest = word.starts_with(operator);
        let pattern = glob::Glob::new(word.strip_prefix(operator).unwrap_or(&word))?;
        self.found.steps += pattern.steps(value)?;
        let trimmed = match operator {
            '#' => pattern.trim_start(value, longest),
            _ => pattern.trim_end(value, longest),
        };
        Ok(trimmed.to_owned())
    }

    /// `/` and `//`, which replace the first or all longest matches of a pattern.
    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let Some(value) = self.lookup(name) else {
            let kept = format!("${{{name}/{pattern}/{replacement}}}");
            return self.unset_with_pattern(&pattern, kept);
        };
        let pattern = glob::Glob::new(&pattern)?;
        self.found.steps += pattern.steps(value)?;
        if all {
            pattern.replace_all(value, &replacement)
        } else {
            Ok(pattern.replace_first(value, &replacement))
        }
    }

    fn unset_with_pattern(&self, pattern: &str, kept: String) -> Result<String, ExpandError> {
        if self.expander.keep_unset {
            return Ok(kept);
        }
        glob::Glob::new(pattern).map(|_| String::new())
    }

    /// A name, a number, or one of the shell's special parameters, none of which is ever set here.
    fn name(&mut self) -> &'a str {
        match self.peek() {
            Some(first) if is_digit(first) => self.take_while(is_digit),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                let (name, rest) = self.rest.split_at(1);
                self.rest = rest;
                name
            }
            _ => self.take_while(|c| c.is_alphabetic() || is_digit(c) || c == '_'),
        }
    }

    fn lookup(&mut self, name: &str) -> Option<&'a str> {
        let value = self.expander.variables.get(name);
        let seen = match value {
            Some(_) => &mut self.found.matched,
            None => &mut self.found.unmatched,
        };
        if !seen.contains(name) {
            seen.insert(name.to_owned());
        }
        value
    }
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Collects words that blanks separate.
struct Words {
    /// Whether anybody wants them.
    wanted: bool,
    finished: Vec<String>,
    current: String,
}

impl Words {
    fn new(wanted: bool) -> Self {
        Self {
            wanted,
            finished: Vec::new(),
            current: String::new(),
        }
    }

    fn push_all(&mut self, text: &str) {
        if self.wanted {
            text.chars().for_each(|c| self.push(c));
        }
    }

    fn push(&mut self, c: char) {
        if !self.wanted {
            return;
        }
        if !c.is_whitespace() {
            self.current.push(c);
        } else if !self.current.is_empty() {
            self.finished.push(std::mem::take(&mut self.current));
        }
    }

    fn push_raw(&mut self, text: &str) {
        if self.wanted {
            self.current.push_str(text);
        }
    }

    fn push_raw_char(&mut self, c: char) {
        if self.wanted {
            self.current.push(c);
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.finished.push(self.current);
        }
        self.finished
    }
}
