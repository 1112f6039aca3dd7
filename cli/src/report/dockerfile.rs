//! Findings beside the Dockerfile's lines, as rustc shows them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use kiln_frontend::{Diagnostic, Severity, Source, Span};

/// How many findings are shown; one slip can cause hundreds.
const SHOWN: usize = 20;

/// The findings in the order of their places, each with an empty line behind it.
pub(super) fn render(source: &Source, found: &[Diagnostic], colors: bool) -> String {
    let renderer = if colors {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut sorted: Vec<&Diagnostic> = found.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span.map_or(0, |span| span.start));
    let mut text = String::new();
    for diagnostic in sorted.iter().take(SHOWN) {
        text.push_str(&render_one(source, diagnostic, &renderer));
        text.push_str("\n\n");
    }
    if sorted.len() > SHOWN {
        text.push_str(&format!("and {} more\n\n", sorted.len() - SHOWN));
    }
    text
}

/// How many errors there are, in one line.
pub(super) fn summary(source: &Source, found: &[Diagnostic]) -> String {
    let errors: Vec<&Diagnostic> = found.iter().filter(|d| d.is_error()).collect();
    let place = |diagnostic: &Diagnostic| match diagnostic.span {
        None => source.name().to_owned(),
        Some(span) => {
            let at = source.position(span.start);
            format!("{}:{}:{}", source.name(), at.line, at.column)
        }
    };
    match errors.as_slice() {
        [error] => format!("failed to build: {}: {}", place(error), error.message),
        errors => format!(
            "failed to build: {} has {} errors",
            source.name(),
            errors.len()
        ),
    }
}

fn render_one(source: &Source, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
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
    for hint in &diagnostic.hints {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

fn snippet<'s>(
    source: &'s Source,
    span: Span,
    diagnostic: &'s Diagnostic,
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    let range = inside(source.text(), span.range());
    let annotation = AnnotationKind::Primary
        .span(range)
        .label(diagnostic.label.as_deref());
    Snippet::source(source.text())
        .path(source.name())
        .annotation(annotation)
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
