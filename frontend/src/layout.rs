//! A Dockerfile as it stands in its file: stretches that follow each other without gaps, so that the
//! file can be printed back byte for byte, whatever is in it.

use crate::source::{Source, Span};

/// What a stretch of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PieceKind {
    /// The mark that some editors put before everything else.
    ByteOrderMark,
    /// Blanks before a comment or an instruction, or alone on their line.
    Blanks,
    /// A directive, from its `#` to the end of the line.
    Directive,
    /// A comment, from its `#` to the end of the line.
    Comment,
    /// What one physical line adds to an instruction; may be empty.
    Code,
    /// The character that continues a line, and the blanks behind it.
    Continuation,
    /// Lines of a heredoc, their ends included.
    HeredocBody,
    /// What ends a heredoc.
    HeredocEnd,
    /// What stands behind a limit.
    Unread,
    /// A line feed, and the carriage returns before it.
    LineEnd,
}

/// A stretch of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Where it stands.
    pub span: Span,
}

/// All stretches of a file in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Each begins where the one before it ends.
    pub pieces: Vec<Piece>,
}

impl Layout {
    /// The file, byte for byte.
    pub fn print(&self, source: &Source) -> String {
        let pieces = self.pieces.iter();
        pieces.map(|piece| source.slice(piece.span)).collect()
    }

    /// Adds a stretch; of the empty ones only code says something.
    pub(crate) fn push(&mut self, kind: PieceKind, span: Span) {
        if span.start < span.end || kind == PieceKind::Code {
            self.pieces.push(Piece { kind, span });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn every_byte_has_its_piece() {
        use PieceKind::*;
        let text = "\u{feff}#escape=`\r\n \t\n # c\nRUN a ` \n  # d\n b <<E\nx\nE\nX";
        let source = Source::new("Dockerfile", text);
        let layout = parse(&source).dockerfile.layout;
        let pieces: Vec<(PieceKind, &str)> = layout
            .pieces
            .iter()
            .map(|piece| (piece.kind, source.slice(piece.span)))
            .collect();
        let expected = [
            (ByteOrderMark, "\u{feff}"),
            (Directive, "#escape=`"),
            (LineEnd, "\r\n"),
            (Blanks, " \t"),
            (LineEnd, "\n"),
            (Blanks, " "),
            (Comment, "# c"),
            (LineEnd, "\n"),
            (Code, "RUN a "),
            (Continuation, "` "),
            (LineEnd, "\n"),
            (Blanks, "  "),
            (Comment, "# d"),
            (LineEnd, "\n"),
            (Code, " b <<E"),
            (LineEnd, "\n"),
            (HeredocBody, "x\n"),
            (HeredocEnd, "E"),
            (LineEnd, "\n"),
            (Code, "X"),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(layout.print(&source), text);
    }
}
