//! What a target takes from outside, as `docker buildx build --call=outline` prints it.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_frontend::Source;
use kiln_frontend::lower::{Outline, OutlineMount};
use serde::Serialize;

use super::location::Location;
use super::{write_columns, write_json};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Mount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache: Vec<Cache<'a>>,
    sources: [String; 1],
}

#[derive(Debug, Serialize)]
struct Argument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    location: Location,
}

#[derive(Debug, Serialize)]
struct Mount<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

#[derive(Debug, Serialize)]
struct Cache<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    location: Location,
}

/// Writes one JSON object.
pub fn write_outline_json<'a>(
    out: &mut dyn Write,
    source: &Source,
    outline: &'a Outline,
) -> io::Result<()> {
    let named = |mount: &'a OutlineMount| Mount {
        name: &mount.id,
        required: mount.is_required,
        location: Location::of(source, mount.span),
    };
    let answer = Answer {
        name: outline.name.as_deref(),
        description: &outline.description,
        args: outline
            .arguments
            .iter()
            .map(|argument| Argument {
                name: &argument.name,
                description: &argument.description,
                value: &argument.value,
                location: Location::of(source, argument.span),
            })
            .collect(),
        secrets: outline.secrets.iter().map(named).collect(),
        ssh: outline.ssh.iter().map(named).collect(),
        cache: outline
            .caches
            .iter()
            .map(|cache| Cache {
                id: &cache.id,
                location: Location::of(source, cache.span),
            })
            .collect(),
        sources: [STANDARD.encode(source.text())],
    };
    write_json(out, &answer)
}

/// Writes tables, each with an empty line behind it.
pub fn write_outline(out: &mut dyn Write, outline: &Outline) -> io::Result<()> {
    if outline.name.is_some() || !outline.description.is_empty() {
        let name = outline.name.as_deref().unwrap_or("(default)");
        let mut rows = vec![vec!["TARGET:", name]];
        if !outline.description.is_empty() {
            rows.push(vec!["DESCRIPTION:", &outline.description]);
        }
        write_columns(out, 1, &rows)?;
        writeln!(out)?;
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![vec!["BUILD ARG", "VALUE", "DESCRIPTION"]];
        for argument in &outline.arguments {
            rows.push(vec![&argument.name, &argument.value, &argument.description]);
        }
        write_columns(out, 3, &rows)?;
        writeln!(out)?;
    }
    write_mounts(out, "SECRET", &outline.secrets)?;
    write_mounts(out, "SSH", &outline.ssh)?;
    if !outline.caches.is_empty() {
        let mut rows = vec![vec!["CACHE"]];
        rows.extend(outline.caches.iter().map(|cache| vec![cache.id.as_str()]));
        write_columns(out, 3, &rows)?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_mounts(out: &mut dyn Write, title: &str, mounts: &[OutlineMount]) -> io::Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    let mut rows = vec![vec![title, "REQUIRED"]];
    for mount in mounts {
        rows.push(vec![
            &mount.id,
            match mount.is_required {
                true => "true",
                false => "",
            },
        ]);
    }
    write_columns(out, 3, &rows)?;
    writeln!(out)
}
