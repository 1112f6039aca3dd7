//! `kiln fmt`: a Dockerfile in the one style, with the same meaning.
//!
//! - Names of instructions, `AS`, and `CMD` and `NONE` of HEALTHCHECK are in capitals.
//! - One blank stands between words, none at the end of a line; JSON is written `["a", "b"]`.
//! - Instructions and comments between them begin in the first column; continued lines are indented
//!   by four blanks, and a comment among them like the line that follows it.
//! - At most one empty line stands between instructions, none inside them, and none at the start and
//!   the end of the file, which ends with a line feed.
//!
//! What a build could tell apart stays: the text of a shell's command, its indentation included, words
//! with their quotes and escapes, triggers of ONBUILD, heredocs, directives, comments, the byte order
//! mark and CRLF. In a command for the shell, lines that are free take the indentation of the first
//! one that is not. What cannot be read stays as it is.

mod freedom;
mod instruction;
mod line;

use crate::directive::DirectiveReader;
use crate::layout::{Piece, PieceKind};
use crate::source::{Source, Span};
use crate::syntax::Dockerfile;
use line::Line;

/// The file in the style that the module describes.
pub fn format(dockerfile: &Dockerfile) -> String {
    let pieces = &dockerfile.layout.pieces;
    let mut writer = Writer::new(&dockerfile.source);
    let escape = dockerfile.directives.escape_char();
    let mut at = 0;
    for instruction in &dockerfile.instructions {
        let before = &pieces[at..instruction.pieces.start];
        at = instruction.pieces.end;
        let lines = line::lines(&dockerfile.source, &pieces[instruction.pieces.start..at]);
        writer.outside(before);
        if instruction.command.is_unread() {
            writer.unreadable(before.last(), &lines);
        } else {
            writer.separate(false);
            instruction::write(&mut writer, instruction, &lines, escape);
        }
    }
    writer.outside(&pieces[at..]);
    writer.text
}

/// Collects the text line by line.
struct Writer<'a> {
    source: &'a Source,
    text: String,
    /// How a line ends that had no end.
    line_end: &'static str,
    /// Whether something other than empty lines was written.
    begun: bool,
    /// The end of the first empty line behind what was written last.
    separated: Option<&'static str>,
}

impl<'a> Writer<'a> {
    fn new(source: &'a Source) -> Self {
        let first = source.text().split_inclusive('\n').next();
        Self {
            source,
            text: String::with_capacity(source.text().len()),
            line_end: first.map_or("\n", line::end_of),
            begun: false,
            separated: None,
        }
    }

    /// Takes what stands between instructions.
    fn outside(&mut self, pieces: &[Piece]) {
        for line in line::lines(self.source, pieces) {
            match line.kind {
                PieceKind::ByteOrderMark => self.text.push_str(line.text),
                PieceKind::Blanks if line.end.is_empty() => {}
                PieceKind::Blanks => {
                    self.separated.get_or_insert(line::end_of(line.end));
                }
                PieceKind::Unread => {
                    self.separate(true);
                    self.text.push_str(line.text);
                }
                _ => self.comment(&line),
            }
        }
    }

    /// Writes a comment or a directive. Where they stand at the head of a file tells one from the
    /// other.
    fn comment(&mut self, line: &Line<'_>) {
        let reads_as_directive = reads_as_directive(line.text);
        self.separate(reads_as_directive);
        if reads_as_directive {
            self.text.push_str(line.blanks);
        }
        self.line(line.text.trim_end_matches([' ', '\t']), line);
    }

    /// Writes an instruction as it is.
    fn unreadable(&mut self, before: Option<&Piece>, lines: &[Line<'_>]) {
        self.separate(true);
        let blanks = before.filter(|piece| piece.kind == PieceKind::Blanks);
        self.text
            .push_str(blanks.map_or("", |blanks| self.source.slice(blanks.span)));
        for line in lines {
            let parts = [line.blanks, line.text, line.continuation, line.end];
            self.text.extend(parts);
        }
    }

    /// Writes the empty line that is due, if any; at the start of the file only one that matters.
    fn separate(&mut self, matters: bool) {
        if let Some(end) = self.separated.take()
            && (self.begun || matters)
        {
            self.text.push_str(end);
        }
        self.begun = true;
    }

    /// Writes a line's text and end.
    fn line(&mut self, text: &str, line: &Line<'_>) {
        self.text.push_str(text);
        self.text.push_str(match line.end {
            "" => self.line_end,
            end => line::end_of(end),
        });
    }
}

/// Whether a comment would be a directive, or name a program, somewhere at the head of a file.
fn reads_as_directive(comment: &str) -> bool {
    let read = DirectiveReader::default().read(comment, Span::default());
    comment.starts_with("#!") || read != Ok(false)
}
