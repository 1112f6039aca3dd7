//! Text that is not UTF-8: where it may stand, and what is said where it may not.
//!
//! BuildKit hands steps on in a form that takes UTF-8 alone, but never looks at comments, and writes
//! U+FFFD into what an image only says of itself. Old files name their authors in Latin-1.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::layout::{Layout, Piece, PieceKind};
use crate::source::{ForeignByte, Source};
use crate::syntax::{Command, Instruction};

/// Reports the first byte of every instruction that is part of no character and matters.
pub(super) fn check(
    source: &Source,
    layout: &Layout,
    instructions: &[Arc<Instruction>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut reported = None;
    for foreign in source.foreign_bytes() {
        let piece = piece_at(layout, foreign.offset);
        if piece.is_some_and(|piece| is_without_meaning(piece.kind)) {
            continue;
        }
        let number = instructions.partition_point(|one| one.span.end <= foreign.offset);
        let instruction = instructions.get(number);
        if instruction.is_some_and(|one| only_describes(&one.command)) || reported == Some(number) {
            continue;
        }
        reported = Some(number);
        diagnostics.push(finding(*foreign));
    }
}

fn piece_at(layout: &Layout, offset: usize) -> Option<&Piece> {
    let pieces = &layout.pieces;
    pieces.get(pieces.partition_point(|piece| piece.span.end <= offset))
}

/// What is unread has a finding of its own.
fn is_without_meaning(kind: PieceKind) -> bool {
    matches!(kind, PieceKind::Comment | PieceKind::Unread)
}

/// Whether an instruction changes nothing but what the image says of itself.
fn only_describes(command: &Command) -> bool {
    matches!(command, Command::Label(_) | Command::Maintainer(_))
}

fn finding(foreign: ForeignByte) -> Diagnostic {
    let message = "the file is not UTF-8 text here";
    Diagnostic::error("not-utf-8", foreign.span(), message)
        .label(format!("the byte 0x{:02X}", foreign.byte))
        .hint("save the file as UTF-8, for example with iconv -f LATIN1 -t UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// The lines and columns of errors about bytes.
    fn places(text: &[u8]) -> Vec<(usize, usize)> {
        let source = Source::from_bytes("Dockerfile", text);
        let found = parse(&source).diagnostics;
        found
            .iter()
            .map(|error| {
                assert_eq!(error.code, "not-utf-8", "{error}");
                source.position(error.span.map_or(0, |span| span.start))
            })
            .map(|at| (at.line, at.column))
            .collect()
    }

    #[test]
    fn comments_and_descriptions_may_have_any_bytes() {
        let text = b"# Jos\xe9\nFROM a\nMAINTAINER Jos\xe9\nLABEL a=\"\xe9\" b=c\n\
                     RUN a \\\n # \xff\xfe\n b\nlabel a=b \\\n  c=\xe9";
        assert_eq!(places(text), []);
    }

    #[test]
    fn each_instruction_is_told_about_once_with_its_place() {
        let text = b"FROM a\nRUN \xe9 \xe9 \\\n \xe9\nENV a=\xe9\nLABEL a=b\nONBUILD LABEL a=\xe9";
        assert_eq!(places(text), [(2, 5), (4, 7), (6, 17)]);
    }

    #[test]
    fn a_comment_in_a_heredoc_is_part_of_a_command() {
        let text = b"FROM a\nRUN <<E cat > /x\n# caf\xe9\nE\n# \xe9\n";
        assert_eq!(places(text), [(3, 6)]);
    }
}
