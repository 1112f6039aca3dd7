//! The text of a Dockerfile, and places in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A range of bytes of a [`Source`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` to just before `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }

    /// The span as a range, for slicing.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts a value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:?}", self.value, self.span)
    }
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// A file's name and text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    line_starts: Arc<[usize]>,
    foreign: Arc<[ForeignByte]>,
}

/// A byte that is part of no character, because the file is not UTF-8 there. The text has U+FFFD for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignByte {
    /// Where its U+FFFD stands in the text.
    pub offset: usize,
    /// The byte.
    pub byte: u8,
}

impl ForeignByte {
    /// Where its U+FFFD stands in the text.
    pub fn span(self) -> Span {
        let length = char::REPLACEMENT_CHARACTER.len_utf8();
        Span::new(self.offset, self.offset + length)
    }
}

impl Source {
    /// Takes a text; `name` is only for people.
    pub fn new(name: &str, text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self {
            name: name.into(),
            text: text.into(),
            line_starts: starts.collect(),
            foreign: Arc::default(),
        }
    }

    /// Takes a file's bytes, whatever they are: each one that is part of no character becomes U+FFFD,
    /// which Go writes for it, too.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self::new(name, text);
        }
        let mut text = String::with_capacity(bytes.len());
        let mut foreign = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                let (offset, byte) = (text.len(), *byte);
                foreign.push(ForeignByte { offset, byte });
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Self {
            foreign: foreign.into(),
            ..Self::new(name, &text)
        }
    }

    /// The bytes that are part of no character, in order.
    pub fn foreign_bytes(&self) -> &[ForeignByte] {
        &self.foreign
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text at a span; empty if the span does not lie in this text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The line and column of a byte offset.
    pub fn position(&self, offset: usize) -> Position {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self.line_starts[line - 1];
        let before = self
            .text
            .get(start..offset.min(self.text.len()))
            .unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// The first and the last line that a span touches, from 1.
    pub fn lines(&self, span: Span) -> (usize, usize) {
        let last = span.end.saturating_sub(1).max(span.start);
        (self.position(span.start).line, self.position(last).line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_is_no_text_has_its_place() {
        let source = Source::from_bytes("Dockerfile", b"\xe9a\xc3\xa9\xe2\x82b");
        assert_eq!(source.text(), "\u{fffd}a\u{e9}\u{fffd}\u{fffd}b");
        let foreign = source.foreign_bytes().iter();
        let found: Vec<_> = foreign.map(|found| (found.offset, found.byte)).collect();
        assert_eq!(found, [(0, 0xe9), (6, 0xe2), (9, 0x82)]);
        let all = source.foreign_bytes().iter().map(|found| found.span());
        assert!(
            all.map(|span| source.slice(span))
                .all(|text| text == "\u{fffd}")
        );
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("Dockerfile", "FROM é\nRUN x\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(7), Position { line: 1, column: 7 });
        assert_eq!(source.position(8), Position { line: 2, column: 1 });
        assert_eq!(source.lines(Span::new(0, 8)), (1, 1));
        assert_eq!(source.lines(Span::new(5, 10)), (1, 2));
    }
}
