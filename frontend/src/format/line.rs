//! The lines of a layout, each with the little that the style has to know about it.

use crate::layout::{Piece, PieceKind};
use crate::source::Source;

/// One line of the file, or all of a heredoc's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// What the line is; one without a text is blank.
    pub(super) kind: PieceKind,
    /// The blanks before its text.
    pub(super) blanks: &'a str,
    /// Its text.
    pub(super) text: &'a str,
    /// The continuation character and the blanks behind it; empty if there is none.
    pub(super) continuation: &'a str,
    /// How it ends; empty at the end of the file, or if an instruction follows.
    pub(super) end: &'a str,
}

const EMPTY: Line<'_> = Line {
    kind: PieceKind::Blanks,
    blanks: "",
    text: "",
    continuation: "",
    end: "",
};

/// Groups pieces into lines.
pub(super) fn lines<'a>(source: &'a Source, pieces: &[Piece]) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut line = EMPTY;
    let mut is_open = false;
    for piece in pieces {
        let text = source.slice(piece.span);
        is_open = true;
        match piece.kind {
            PieceKind::Blanks => line.blanks = text,
            PieceKind::Continuation => line.continuation = text,
            PieceKind::LineEnd => line.end = text,
            kind => (line.kind, line.text) = (kind, text),
        }
        if matches!(
            piece.kind,
            PieceKind::LineEnd | PieceKind::HeredocBody | PieceKind::ByteOrderMark
        ) {
            lines.push(std::mem::replace(&mut line, EMPTY));
            is_open = false;
        }
    }
    lines.extend(is_open.then_some(line));
    lines
}

/// The end that a line is given for the one it has.
pub(super) fn end_of(end: &str) -> &'static str {
    if end.ends_with("\r\n") { "\r\n" } else { "\n" }
}
