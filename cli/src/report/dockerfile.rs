//! Findings beside the Dockerfile's lines, as rustc shows them.

use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use kiln_frontend::check::{self, Rule};
use kiln_frontend::diagnostic::{MORE_FINDINGS, shortened};
use kiln_frontend::{Diagnostic, Severity, Source, Span};

use crate::progress::printable;

/// How many findings are shown; one slip can cause hundreds.
const SHOWN: usize = 20;

/// How many characters a line of an explanation has.
const WIDTH: usize = 80;

/// The findings in the order of their places, each with an empty line behind it.
pub(super) fn render(source: &Source, found: &[Diagnostic], colors: bool) -> String {
    let renderer = renderer(colors);
    let sorted = in_order(found);
    let mut text = String::new();
    for diagnostic in sorted.iter().take(SHOWN) {
        text.push_str(&render_one(source, diagnostic, None, &renderer));
        text.push_str("\n\n");
    }
    if sorted.len() > SHOWN {
        text.push_str(&format!("and {} more\n\n", sorted.len() - SHOWN));
    }
    text
}

/// As many findings as are told at all. The first one of each rule says what the rule is about.
pub(super) fn render_explained(source: &Source, found: &[Diagnostic], colors: bool) -> String {
    let renderer = renderer(colors);
    let mut explained = BTreeSet::new();
    let mut text = String::new();
    for diagnostic in in_order(&shortened(found)) {
        let rule = check::find(diagnostic.code).filter(|rule| explained.insert(rule.name));
        text.push_str(&render_one(source, diagnostic, rule, &renderer));
        text.push_str("\n\n");
    }
    text
}

/// How much was found, in one line.
pub(super) fn tally(source: &Source, found: &[Diagnostic]) -> String {
    let name = printable(source.name());
    let errors = found.iter().filter(|found| found.is_error()).count();
    let warnings = found.len() - errors;
    match (errors, warnings) {
        (0, 0) => format!("{name}: nothing found"),
        (0, _) => format!("{name}: {}", counted(warnings, "warning")),
        (_, 0) => format!("{name}: {}", counted(errors, "error")),
        _ => format!(
            "{name}: {}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    }
}

/// `1 warning`, `2 warnings`
pub(super) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// How many errors there are, in one line.
pub(super) fn summary(source: &Source, found: &[Diagnostic]) -> String {
    let errors: Vec<&Diagnostic> = found.iter().filter(|d| d.is_error()).collect();
    let name = printable(source.name());
    let place = |diagnostic: &Diagnostic| match diagnostic.span {
        None => name.clone(),
        Some(span) => {
            let at = source.position(span.start);
            format!("{name}:{}:{}", at.line, at.column)
        }
    };
    match errors.as_slice() {
        [error] => format!("failed to build: {}: {}", place(error), error.message),
        errors => format!("failed to build: {name} has {} errors", errors.len()),
    }
}

fn renderer(colors: bool) -> Renderer {
    match colors {
        true => Renderer::styled(),
        false => Renderer::plain(),
    }
}

fn in_order(found: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut sorted: Vec<&Diagnostic> = found.iter().collect();
    let place = |diagnostic: &Diagnostic| diagnostic.span.map_or(0, |span| span.start);
    sorted.sort_by_key(|diagnostic| (diagnostic.code == MORE_FINDINGS, place(diagnostic)));
    sorted
}

/// One finding; what its rule is about is told if `rule` is given.
fn render_one(
    source: &Source,
    diagnostic: &Diagnostic,
    rule: Option<&Rule>,
    renderer: &Renderer,
) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .elements(
            diagnostic
                .span
                .map(|span| snippet(source, span, diagnostic)),
        );
    if diagnostic.span.is_none() {
        return without_place(group, diagnostic, rule, renderer);
    }
    for hint in &diagnostic.hints {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    if let Some(rule) = rule {
        group = group.element(Level::NOTE.message(wrapped(rule.reason)));
    }
    renderer.render(&[group])
}

/// A finding beside which no line stands, and therefore no margin either.
fn without_place(
    title: Group<'_>,
    diagnostic: &Diagnostic,
    rule: Option<&Rule>,
    renderer: &Renderer,
) -> String {
    let told = |level: Level<'static>, text: String| {
        renderer.render(&[Group::with_title(level.primary_title(text))])
    };
    let mut lines = vec![renderer.render(&[title])];
    let hints = diagnostic.hints.iter().cloned();
    lines.extend(hints.map(|hint| told(Level::HELP, hint)));
    lines.extend(rule.map(|rule| told(Level::NOTE, wrapped(rule.reason))));
    lines.join("\n")
}

/// Broken into lines of a width that people like to read.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn snippet<'s>(
    source: &'s Source,
    span: Span,
    diagnostic: &'s Diagnostic,
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    let range = inside(source.text(), span.range());
    let (first_line, lines) = lines_around(source.text(), &range);
    let annotation = AnnotationKind::Primary
        .span(range.start - lines.start..range.end - lines.start)
        .label(diagnostic.label.as_deref());
    Snippet::source(&source.text()[lines])
        .path(printable(source.name()))
        .line_start(source.lines(Span::new(first_line, first_line)).0)
        .annotation(annotation)
}

/// The lines that a range touches: where the first one begins, and all of them. More would only be
/// read for every finding again.
fn lines_around(text: &str, range: &Range<usize>) -> (usize, Range<usize>) {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[range.end..]
        .find('\n')
        .map_or(text.len(), |at| range.end + at + 1);
    (start, start..end)
}

/// The nearest range that lies in the text and splits no character.
fn inside(text: &str, range: Range<usize>) -> Range<usize> {
    let floor = |at: usize| {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(range.start);
    start..floor(range.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# syntax\nFROM debian AS béta\nCOYP a /b\nRUN x \\\n  --y \\\n  z\n";

    fn span(part: &str) -> Span {
        let start = TEXT.find(part).expect("the text has it");
        Span::new(start, start + part.len())
    }

    #[test]
    fn findings_stand_beside_their_lines() {
        let source = Source::new("docker/Dockerfile", TEXT);
        let found = [
            Diagnostic::error(
                "unknown-instruction",
                span("COYP"),
                "unknown instruction COYP",
            )
            .hint("did you mean COPY?"),
            Diagnostic::warning(
                "StageNameCasing",
                span("béta"),
                "stage names are lower-case",
            )
            .label("this one"),
            Diagnostic::error("bad-flag", span("RUN x \\\n  --y \\\n  z"), "several lines"),
            Diagnostic::error_nowhere("no-stage", "there is no stage \u{1b}[31mx")
                .hint("first")
                .hint("second"),
        ];
        insta::assert_snapshot!(render(&source, &found, false));
        assert_eq!(
            summary(&source, &found),
            "failed to build: docker/Dockerfile has 3 errors"
        );
        let one = "failed to build: docker/Dockerfile:3:1: unknown instruction COYP";
        assert_eq!(summary(&source, &found[..1]), one);
    }

    #[test]
    fn no_span_is_too_strange() {
        let source = Source::new("Dockerfile", "é\n");
        for (start, end) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 1), (3, 3), (9, 99)] {
            let found = [Diagnostic::error("x", Span { start, end }, "message")];
            assert!(
                render(&source, &found, true).contains("message"),
                "{start}..{end}"
            );
        }
    }
}
