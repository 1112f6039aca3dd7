//! Findings as BuildKit's `frontend.lint` request answers them.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_frontend::syntax::Dockerfile;
use kiln_frontend::{Diagnostic, check};
use serde::Serialize;

use super::location::Location;
use super::write_json;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    warnings: Vec<Warning<'a>>,
    sources: Vec<SourceFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<BuildError<'a>>,
    /// All errors. BuildKit knows only the first one, and has no such field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build_errors: Vec<BuildError<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning<'a> {
    rule_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    detail: String,
    location: Location,
}

#[derive(Debug, Serialize)]
struct SourceFile<'a> {
    filename: &'a str,
    data: String,
    language: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct BuildError<'a> {
    message: &'a str,
    location: Location,
}

/// Writes errors and warnings of a Dockerfile as one JSON object.
pub fn write_findings(
    out: &mut dyn Write,
    dockerfile: &Dockerfile,
    found: &[Diagnostic],
) -> io::Result<()> {
    let source = &dockerfile.source;
    let (errors, warnings): (Vec<_>, Vec<_>) = found.iter().partition(|d| d.is_error());
    let errors: Vec<BuildError<'_>> = errors
        .into_iter()
        .map(|error| BuildError {
            message: &error.message,
            location: match error.span {
                Some(span) => Location::of(source, span),
                None => Location::nowhere(),
            },
        })
        .collect();
    let answer = Answer {
        warnings: warnings
            .into_iter()
            .map(|finding| warning(dockerfile, finding))
            .collect(),
        sources: vec![SourceFile {
            filename: source.name(),
            data: STANDARD.encode(source.text()),
            language: "Dockerfile",
        }],
        build_error: errors.first().cloned(),
        build_errors: errors,
    };
    write_json(out, &answer)
}

fn warning<'a>(dockerfile: &Dockerfile, finding: &'a Diagnostic) -> Warning<'a> {
    let rule = check::find(finding.code);
    Warning {
        rule_name: finding.code,
        description: rule.map_or("", |rule| rule.summary),
        url: rule.and_then(check::Rule::url),
        detail: finding.to_string(),
        location: match finding.span {
            // Of this rule alone, BuildKit says a line and not an instruction.
            Some(span) if finding.code == "NoEmptyContinuation" => {
                Location::of(&dockerfile.source, span)
            }
            Some(span) => Location::of_instruction(dockerfile, span),
            None => Location::nowhere(),
        },
    }
}
