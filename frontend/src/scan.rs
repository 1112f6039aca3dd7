//! From physical to logical lines: continuations are joined, comments dropped, heredoc bodies taken.
//!
//! Every logical line can say where each of its bytes stands in the file. What the instructions mean
//! is not known here, except which of them may announce heredocs.

use std::ops::Range;

use crate::check::names;
use crate::diagnostic::Diagnostic;
use crate::directive::{DirectiveReader, Directives};
use crate::heredoc::{self, Heredoc};
use crate::layout::{Layout, PieceKind};
use crate::limits;
use crate::source::{Source, Span, Spanned};

/// A file cut into logical lines.
#[derive(Debug)]
pub struct Scanned {
    /// The directives at its head.
    pub directives: Directives,
    /// The logical lines that hold an instruction.
    pub lines: Vec<LogicalLine>,
    /// Every byte of the file.
    pub layout: Layout,
    /// What is wrong on this level.
    pub diagnostics: Vec<Diagnostic>,
}

/// One instruction's text, joined from its physical lines.
#[derive(Debug, Clone)]
pub struct LogicalLine {
    /// The joined text, without comments, continuation characters and line ends.
    pub text: String,
    /// From the first to the last physical line, heredoc bodies included.
    pub span: Span,
    /// The comment lines right above, without their `#`.
    pub comments: Vec<Spanned<String>>,
    /// The heredocs that the line announces, in order.
    pub heredocs: Vec<Heredoc>,
    /// The pieces of the layout that it consists of.
    pub pieces: Range<usize>,
    segments: Vec<Segment>,
}

/// A stretch of a logical line that is also a stretch of the file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    joined: usize,
    source: usize,
}

impl LogicalLine {
    /// A line that stands at one place as a whole, for text that is not in the file.
    pub fn at(text: &str, span: Span) -> Self {
        let (text, heredocs) = (text.to_owned(), Vec::new());
        Self {
            text,
            span,
            comments: Vec::new(),
            heredocs,
            pieces: 0..0,
            segments: Vec::new(),
        }
    }

    /// Where a range of the joined text stands in the file.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        if self.segments.is_empty() {
            return self.span;
        }
        let start = self.source_offset(range.start);
        match range.end.checked_sub(1) {
            Some(last) if last >= range.start => Span::new(start, self.source_offset(last) + 1),
            _ => Span::new(start, start),
        }
    }

    fn source_offset(&self, joined: usize) -> usize {
        let behind = self
            .segments
            .partition_point(|segment| segment.joined <= joined);
        let segment = self.segments[behind.max(1) - 1];
        (segment.source + (joined - segment.joined.min(joined))).min(self.span.end)
    }

    fn push(&mut self, text: &str, source: usize) {
        self.segments.push(Segment {
            joined: self.text.len(),
            source,
        });
        self.text.push_str(text);
    }
}

/// Cuts a file into logical lines.
pub fn scan(source: &Source) -> Scanned {
    let mut scanner = Scanner {
        physical: PhysicalLines {
            text: source.text(),
            position: 0,
        },
        directives: DirectiveReader::default(),
        comments: Vec::new(),
        lines: Vec::new(),
        layout: Layout::default(),
        diagnostics: Vec::new(),
        unread: Span::default(),
    };
    scanner.run();
    scanner.layout.push(PieceKind::Unread, scanner.unread);
    if let Some(at) = source.text().find('\0') {
        // No argument, variable or path can hold one.
        let span = Span::new(at, at + 1);
        let finding = Diagnostic::error("nul", span, "a Dockerfile cannot have a NUL byte");
        scanner.diagnostics.push(finding);
    }
    Scanned {
        directives: scanner.directives.into_directives(),
        lines: scanner.lines,
        layout: scanner.layout,
        diagnostics: scanner.diagnostics,
    }
}

/// A line as it stands in the file.
#[derive(Debug, Clone, Copy)]
struct PhysicalLine<'a> {
    /// Where it begins.
    start: usize,
    /// Its text, line end included.
    raw: &'a str,
}

impl<'a> PhysicalLine<'a> {
    fn content(self) -> &'a str {
        self.raw.trim_end_matches(['\r', '\n'])
    }

    fn span(self) -> Span {
        Span::new(self.start, self.start + self.content().len())
    }

    fn end(self) -> usize {
        self.start + self.raw.len()
    }
}

struct PhysicalLines<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Iterator for PhysicalLines<'a> {
    type Item = PhysicalLine<'a>;

    fn next(&mut self) -> Option<PhysicalLine<'a>> {
        let rest = self
            .text
            .get(self.position..)
            .filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let line = PhysicalLine {
            start: self.position,
            raw: &rest[..length],
        };
        self.position += length;
        Some(line)
    }
}

struct Scanner<'a> {
    physical: PhysicalLines<'a>,
    directives: DirectiveReader,
    comments: Vec<Spanned<String>>,
    lines: Vec<LogicalLine>,
    layout: Layout,
    diagnostics: Vec<Diagnostic>,
    /// What stands behind a limit.
    unread: Span,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        if self.physical.text.starts_with('\u{feff}') {
            let mark = Span::new(0, '\u{feff}'.len_utf8());
            self.physical.position = mark.end;
            self.layout.push(PieceKind::ByteOrderMark, mark);
        }
        if self.physical.text.len() > limits::FILE_SIZE {
            let message = format!("the file is longer than {} bytes", limits::FILE_SIZE);
            self.stop("file-too-long", 0, message);
        }
        while let Some(first) = self.next_physical() {
            if self.comment_or_directive(first) {
                continue;
            }
            if self.lines.len() == limits::INSTRUCTIONS {
                let message = format!("there are more than {} instructions", limits::INSTRUCTIONS);
                self.stop("too-many-instructions", first.start, message);
                return;
            }
            self.logical_line(first);
        }
    }

    /// Leaves what stands behind a place unread.
    fn stop(&mut self, code: &'static str, at: usize, message: String) {
        let text = self.physical.text;
        self.leave_unread(at);
        let line = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let span = Span::new(at, line);
        let finding = Diagnostic::error(code, span, message);
        self.diagnostics
            .push(finding.label("not read from here on"));
    }

    fn leave_unread(&mut self, at: usize) {
        let end = self.physical.text.len();
        self.unread = Span::new(at, end);
        self.physical.position = end;
    }

    fn next_physical(&mut self) -> Option<PhysicalLine<'a>> {
        let line = self.physical.next()?;
        if line.raw.trim_end_matches('\n').len() > limits::LINE {
            let message = format!("the line is longer than {} bytes", limits::LINE);
            self.stop("line-too-long", line.start, message);
            return None;
        }
        Some(line)
    }

    fn escape(&self) -> char {
        self.directives.directives().escape_char()
    }

    /// Takes a comment, a directive or an empty line.
    fn comment_or_directive(&mut self, line: PhysicalLine<'_>) -> bool {
        let trimmed = line.content().trim_start();
        let is_directive = match self.directives.read(trimmed, line.span()) {
            Ok(is_directive) => is_directive,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                true
            }
        };
        if let Some(comment) = trimmed.strip_prefix('#') {
            if is_directive {
                self.without_code(line, PieceKind::Directive);
            } else {
                self.without_code(line, PieceKind::Comment);
                self.comment(comment.trim(), line.span());
            }
            return true;
        }
        if trimmed.is_empty() {
            self.without_code(line, PieceKind::Blanks);
        }
        trimmed.is_empty()
    }

    /// Takes a line that adds nothing to an instruction into the layout.
    fn without_code(&mut self, line: PhysicalLine<'_>, kind: PieceKind) {
        let text = line.start + line.content().len() - line.content().trim_start().len();
        self.layout
            .push(PieceKind::Blanks, Span::new(line.start, text));
        self.layout.push(kind, Span::new(text, line.span().end));
        self.line_end(line);
    }

    /// Takes a line's part of an instruction, the continuation character behind it, and its end.
    fn code(&mut self, line: PhysicalLine<'_>, start: usize, text: &str) {
        let end = start + text.len();
        self.layout.push(PieceKind::Code, Span::new(start, end));
        let continuation = Span::new(end, line.span().end);
        self.layout.push(PieceKind::Continuation, continuation);
        self.line_end(line);
    }

    fn line_end(&mut self, line: PhysicalLine<'_>) {
        let span = Span::new(line.span().end, line.end());
        self.layout.push(PieceKind::LineEnd, span);
    }

    /// An empty comment separates those above it from the instruction.
    fn comment(&mut self, text: &str, span: Span) {
        if text.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(Spanned::new(text.to_owned(), span));
        }
    }

    fn logical_line(&mut self, first: PhysicalLine<'a>) {
        let indent = first.content().len() - first.content().trim_start().len();
        let mut line = LogicalLine::at("", first.span());
        line.comments = std::mem::take(&mut self.comments);
        let head = &first.content()[indent..];
        let (text, mut continues) = split_continuation(head, self.escape());
        line.push(text, first.start + indent);
        line.span.start += indent;
        self.layout.push(
            PieceKind::Blanks,
            Span::new(first.start, first.start + indent),
        );
        line.pieces.start = self.layout.pieces.len();
        self.code(first, first.start + indent, text);
        let (mut has_empty, mut last) = (false, first.span());
        while continues {
            let Some(next) = self.next_physical() else {
                break;
            };
            last = next.span();
            let content = next.content();
            if content.trim_start().starts_with('#') {
                self.without_code(next, PieceKind::Comment);
                continue;
            }
            if content.trim_start().is_empty() {
                self.without_code(next, PieceKind::Blanks);
                has_empty = true;
                continue;
            }
            let text;
            (text, continues) = split_continuation(content, self.escape());
            line.push(text, next.start);
            self.code(next, next.start, text);
            line.span.end = next.span().end;
        }
        if has_empty {
            self.empty_continuation(last);
        }
        self.heredocs(&mut line);
        line.pieces.end = self.layout.pieces.len();
        self.lines.push(line);
    }

    /// The finding stands on the last line of the instruction, heredocs not counted, as BuildKit's.
    fn empty_continuation(&mut self, span: Span) {
        let message = "an empty line inside a continued instruction";
        let finding = Diagnostic::warning(names::EMPTY_CONTINUATION, span, message)
            .label("the instruction ends here")
            .hint("remove empty lines before it or make them comments");
        self.diagnostics.push(finding);
    }

    fn heredocs(&mut self, line: &mut LogicalLine) {
        let openings = match heredoc::openings(&line.text, self.escape()) {
            Ok(openings) => openings,
            Err(error) => {
                let message = format!("a heredoc's name cannot be read: {error}");
                self.diagnostics
                    .push(Diagnostic::error("invalid-heredoc", line.span, message));
                return;
            }
        };
        if openings.len() > limits::HEREDOCS {
            let message = format!(
                "the instruction has more than {} heredocs",
                limits::HEREDOCS
            );
            let finding = Diagnostic::error("too-many-heredocs", line.span, message);
            self.diagnostics.push(finding);
            // Without their names, the bodies would be read as instructions.
            self.leave_unread(self.physical.position);
            return;
        }
        for opening in openings {
            let start = self.physical.position;
            let (content, terminated) = self.heredoc_body(&opening, line);
            if !terminated && self.unread == Span::default() {
                let message = format!("the heredoc {:?} does not end", opening.name);
                let missing = Diagnostic::error("unterminated-heredoc", line.span, message).hint(
                    format!("end it with a line that holds only {}", opening.name),
                );
                self.diagnostics.push(missing);
            }
            let place = Some(Span::new(start, start + content.len()));
            line.heredocs.push(Heredoc {
                opening,
                content,
                place,
            });
        }
    }

    fn heredoc_body(
        &mut self,
        opening: &heredoc::Opening,
        line: &mut LogicalLine,
    ) -> (String, bool) {
        let mut content = String::new();
        let start = self.physical.position;
        while let Some(next) = self.next_physical() {
            line.span.end = next.span().end.max(line.span.end);
            if opening.is_ended_by(next.content()) {
                let body = Span::new(start, next.start);
                self.layout.push(PieceKind::HeredocBody, body);
                self.layout.push(PieceKind::HeredocEnd, next.span());
                self.line_end(next);
                return (content, true);
            }
            content.push_str(next.raw);
        }
        let body = Span::new(start, start + content.len());
        self.layout.push(PieceKind::HeredocBody, body);
        (content, false)
    }
}

/// The line without a continuation character at its end, and whether there was one. A continuation
/// character is the escape character, perhaps followed by blanks, unless another one precedes it.
pub(crate) fn split_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        scan(&Source::new("Dockerfile", text))
            .lines
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    #[test]
    fn lines_are_joined_and_comments_dropped() {
        assert_eq!(
            lines("\u{feff}  RUN a \\\r\n # no\r\n\r\n  b\\ \r\nc\r\n"),
            ["RUN a   bc"]
        );
        assert_eq!(lines("# escape=`\nRUN a `\n b\\\nX"), ["RUN a  b\\", "X"]);
        assert_eq!(lines("RUN a \\\\\nX\\"), ["RUN a \\\\", "X"]);
    }

    #[test]
    fn bytes_keep_their_places() {
        let source = Source::new("Dockerfile", "RUN a \\\n# c\n  bc\n");
        let line = &scan(&source).lines[0];
        let at = line.text.find("bc").expect("present");
        assert_eq!(source.slice(line.span_of(at..at + 2)), "bc");
        assert_eq!(source.slice(line.span_of(0..3)), "RUN");
    }

    #[test]
    fn the_limit_of_a_line_is_exact() {
        for (length, errors) in [(limits::LINE, 0), (limits::LINE + 1, 1)] {
            let text = format!("{}\n", "#".repeat(length));
            assert_eq!(
                scan(&Source::new("Dockerfile", &text)).diagnostics.len(),
                errors
            );
        }
    }
}
