//! Findings as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the lines.

use std::io::{self, Write};

use kiln_frontend::check::{self, Rule};
use kiln_frontend::{Diagnostic, Severity, Source, Span};
use serde::Serialize;

use super::write_json;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

#[derive(Debug, Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    version: &'a str,
    runs: [Run<'a>; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    column_kind: &'a str,
    results: Vec<Finding<'a>>,
}

#[derive(Debug, Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Debug, Serialize)]
struct Driver<'a> {
    name: &'a str,
    version: &'a str,
    rules: Vec<Descriptor<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    id: &'a str,
    short_description: Message<'a>,
    full_description: Message<'a>,
    help: Help<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_uri: Option<String>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct Help<'a> {
    text: &'a str,
    markdown: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'a str,
    message: OwnedMessage,
    locations: [Location; 1],
}

#[derive(Debug, Serialize)]
struct OwnedMessage {
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

/// Lines and columns count from 1, columns count characters, and the end is behind the last one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

/// Writes errors and warnings of a Dockerfile as one SARIF log.
pub fn write_sarif(out: &mut dyn Write, source: &Source, found: &[Diagnostic]) -> io::Result<()> {
    let mut rules: Vec<&Rule> = found.iter().filter_map(|f| check::find(f.code)).collect();
    rules.sort_by_key(|rule| rule.name);
    rules.dedup();
    let driver = Driver {
        name: "kiln",
        version: env!("CARGO_PKG_VERSION"),
        rules: rules.iter().map(|rule| descriptor(rule)).collect(),
    };
    let results = found
        .iter()
        .map(|diagnostic| finding(source, &rules, diagnostic));
    let run = Run {
        tool: Tool { driver },
        column_kind: "unicodeCodePoints",
        results: results.collect(),
    };
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [run],
    };
    write_json(out, &log)
}

fn descriptor(rule: &Rule) -> Descriptor<'_> {
    Descriptor {
        id: rule.name,
        short_description: Message { text: rule.summary },
        full_description: Message { text: rule.reason },
        help: Help {
            text: rule.reason,
            markdown: rule.page(),
        },
        help_uri: rule.url(),
    }
}

fn finding<'a>(source: &Source, rules: &[&Rule], diagnostic: &'a Diagnostic) -> Finding<'a> {
    let physical_location = PhysicalLocation {
        artifact_location: ArtifactLocation {
            uri: uri(source.name()),
        },
        region: diagnostic.span.map(|span| region(source, span)),
    };
    Finding {
        rule_id: diagnostic.code,
        rule_index: rules.iter().position(|rule| rule.name == diagnostic.code),
        level: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: OwnedMessage {
            text: diagnostic.to_string(),
        },
        locations: [Location { physical_location }],
    }
}

fn region(source: &Source, span: Span) -> Region {
    let (start, end) = (source.position(span.start), source.position(span.end));
    Region {
        start_line: start.line,
        start_column: start.column,
        end_line: end.line.max(start.line),
        end_column: end.column,
    }
}

/// A relative reference; what a URI cannot hold is written in hexadecimal.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
