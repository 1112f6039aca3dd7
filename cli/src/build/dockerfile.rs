//! Reads the Dockerfile and the ignore rules that go with it.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kiln_frontend::{Source, limits};
use kiln_solver::pattern::Patterns;

use super::context::{ContextFiles, DockerfileText, OpenContext};
use crate::settings::{BuildSettings, DockerfileSource};

/// The longest Dockerfile that is read, in bytes.
pub(super) const MAXIMUM_SIZE: u64 = limits::FILE_SIZE as u64;

/// A Dockerfile and what is left out of its context.
pub(super) struct Loaded {
    pub(super) source: Source,
    pub(super) excludes: Patterns,
}

/// Reads the Dockerfile that the settings name.
pub(super) fn load(settings: &BuildSettings, context: &OpenContext) -> Result<Loaded> {
    if let Some(DockerfileText { name, bytes }) = &context.dockerfile {
        let text = limited(bytes.clone()).with_context(|| format!("the Dockerfile {name}"))?;
        let excludes = match &context.files {
            ContextFiles::Directory(directory) => {
                ignore_patterns(&directory.join(".dockerignore"))?
            }
            // What is not the client's directory was made to be a context.
            ContextFiles::Snapshot(_) | ContextFiles::Nothing => None,
        };
        return Ok(Loaded {
            source: Source::new(name, &text),
            excludes: excludes.unwrap_or_default(),
        });
    }
    match &context.files {
        ContextFiles::Directory(directory) => load_beside(settings, directory),
        ContextFiles::Snapshot(_) | ContextFiles::Nothing => {
            bail!("the build context has no Dockerfile")
        }
    }
}

fn load_beside(settings: &BuildSettings, context: &Path) -> Result<Loaded> {
    let path = match &settings.dockerfile {
        DockerfileSource::Stdin | DockerfileSource::Remote(_) => {
            bail!("the Dockerfile was not read")
        }
        DockerfileSource::File(path) => path.clone(),
        DockerfileSource::InContext => default_dockerfile(context)?,
    };
    let text = read(&path)?;
    let mut beside: OsString = path.clone().into();
    beside.push(".dockerignore");
    let excludes = match ignore_patterns(Path::new(&beside))? {
        Some(excludes) => excludes,
        None => ignore_patterns(&context.join(".dockerignore"))?.unwrap_or_default(),
    };
    let shown = match path.strip_prefix(context) {
        Ok(inside) if settings.dockerfile == DockerfileSource::InContext => inside,
        _ => &path,
    };
    Ok(Loaded {
        source: Source::new(&shown.display().to_string(), &text),
        excludes,
    })
}

fn default_dockerfile(context: &Path) -> Result<PathBuf> {
    let candidates = ["Dockerfile", "dockerfile"].map(|name| context.join(name));
    let [preferred, _] = &candidates;
    let found = candidates.iter().find(|path| path.exists()).cloned();
    found.with_context(|| {
        format!(
            "there is no {}; name another file with --file",
            preferred.display()
        )
    })
}

fn read(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("cannot read the Dockerfile {}", path.display()))?;
    read_limited(file)
        .and_then(limited)
        .with_context(|| format!("cannot read the Dockerfile {}", path.display()))
}

/// Reads as much as may be a Dockerfile, and one byte more.
pub(super) fn read_limited(reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAXIMUM_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn limited(bytes: Vec<u8>) -> Result<String> {
    if bytes.len() as u64 > MAXIMUM_SIZE {
        bail!("longer than {MAXIMUM_SIZE} bytes");
    }
    text(bytes)
}

/// Bytes as text. What is not UTF-8 may stand in comments only.
fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).or_else(|error| {
        let mut text = String::new();
        for (index, line) in error
            .as_bytes()
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
        {
            let lossy = String::from_utf8_lossy(line);
            if std::str::from_utf8(line).is_err() && !lossy.trim_start().starts_with('#') {
                bail!("line {}: not UTF-8 text", index + 1);
            }
            text.push_str(&lossy);
        }
        Ok(text)
    })
}

/// The rules in an ignore file; `None` if there is none.
pub(super) fn ignore_patterns(path: &Path) -> Result<Option<Patterns>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let source = Source::new(&path.display().to_string(), &text);
    kiln_frontend::ignore::compile(&source)
        .map(Some)
        .map_err(|findings| {
            let lines = findings.iter().map(|finding| match finding.span {
                Some(span) => format!("line {}: {finding}", source.lines(span).0),
                None => finding.to_string(),
            });
            anyhow!(
                "{}: {}",
                path.display(),
                lines.collect::<Vec<_>>().join("; ")
            )
        })
}
