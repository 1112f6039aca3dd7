//! `.dockerignore`: the text of the file → patterns. What they match is told by
//! [`kiln_solver::pattern`], because COPY excludes files in the same language.

use kiln_solver::pattern::{Patterns, clean};

use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span, Spanned};

/// The patterns of a file, cleaned, and where they stand.
pub fn patterns(source: &Source) -> Vec<Spanned<String>> {
    let text = source.text();
    let mut start = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let mut patterns = Vec::new();
    for line in text[start..].split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        let span = Span::new(start, start + content.len());
        start += line.len();
        if let Some(pattern) = pattern(content) {
            patterns.push(Spanned::new(pattern, span));
        }
    }
    patterns
}

/// Compiles the patterns of a file; all that are malformed are reported.
pub fn compile(source: &Source) -> Result<Patterns, Vec<Diagnostic>> {
    let patterns = patterns(source);
    let malformed: Vec<Diagnostic> = patterns
        .iter()
        .filter_map(|pattern| {
            let error = Patterns::new([pattern.value.as_str()].into_iter()).err()?;
            Some(Diagnostic::error(
                "invalid-pattern",
                pattern.span,
                error.to_string(),
            ))
        })
        .collect();
    if !malformed.is_empty() {
        return Err(malformed);
    }
    let texts = patterns.iter().map(|pattern| pattern.value.as_str());
    Patterns::new(texts).map_err(|error| {
        vec![Diagnostic::error_nowhere(
            "invalid-pattern",
            error.to_string(),
        )]
    })
}

/// The pattern of a line; a comment begins in the first column, and a leading slash means nothing.
fn pattern(line: &str) -> Option<String> {
    let trimmed = line.trim();
    if line.starts_with('#') || trimmed.is_empty() {
        return None;
    }
    let (mark, body) = match trimmed.strip_prefix('!') {
        Some(body) => ("!", body.trim()),
        None => ("", trimmed),
    };
    if body.is_empty() {
        return Some(mark.to_owned());
    }
    let body = clean(body);
    let relative = body
        .strip_prefix('/')
        .filter(|relative| !relative.is_empty())
        .unwrap_or(&body);
    Some(format!("{mark}{relative}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_clean_patterns() {
        let text = "\u{feff}#c\n  a/../b/ \r\n #no comment\n\n! /x\n/\n./y\n/../z\n../w";
        let source = Source::new(".dockerignore", text);
        let found = patterns(&source);
        let texts: Vec<_> = found.iter().map(|pattern| pattern.value.as_str()).collect();
        assert_eq!(texts, ["b", "#no comment", "!x", "/", "y", "z", "../w"]);
        assert_eq!(source.slice(found[2].span), "! /x");
    }

    #[test]
    fn malformed_patterns_are_reported_where_they_stand() {
        let source = Source::new(".dockerignore", "a\n[\n!\n");
        let found = compile(&source).expect_err("malformed patterns");
        let places: Vec<_> = found
            .iter()
            .filter_map(|finding| finding.span)
            .map(|span| source.slice(span))
            .collect();
        assert_eq!(places, ["[", "!"]);
    }
}
