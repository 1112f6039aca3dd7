//! The targets of a Dockerfile, as `docker buildx build --call=targets` prints them.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_frontend::Source;
use kiln_frontend::targets::Target;
use serde::Serialize;

use super::location::Location;
use super::{write_columns, write_json};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    targets: Vec<Row<'a>>,
    sources: [String; 1],
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    location: Location,
}

/// Writes one JSON object.
pub fn write_targets_json(
    out: &mut dyn Write,
    source: &Source,
    targets: &[Target],
) -> io::Result<()> {
    let targets = targets.iter().map(|target| Row {
        name: target.name.as_deref(),
        default: target.is_default,
        description: &target.description,
        base: &target.base,
        platform: target.platform.as_deref(),
        location: Location::of(source, target.span),
    });
    let answer = Answer {
        targets: targets.collect(),
        sources: [STANDARD.encode(source.text())],
    };
    write_json(out, &answer)
}

/// Writes a table.
pub fn write_targets(out: &mut dyn Write, targets: &[Target]) -> io::Result<()> {
    let names: Vec<String> = targets
        .iter()
        .map(|target| match (&target.name, target.is_default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        })
        .collect();
    let mut rows = vec![vec!["TARGET", "DESCRIPTION"]];
    for (name, target) in names.iter().zip(targets) {
        rows.push(vec![name, &target.description]);
    }
    write_columns(out, 1, &rows)
}
