//! Reads the Dockerfile and the ignore rules that go with it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kiln_frontend::Source;
use kiln_solver::pattern::Patterns;

use super::context::{ContextFiles, DockerfileText, OpenContext};
use crate::settings::{BuildSettings, DockerfileSource};
use crate::text_file::{self, TextFileError};

/// A Dockerfile and what is left out of its context.
pub(super) struct Loaded {
    pub(super) source: Source,
    pub(super) excludes: Patterns,
}

/// Reads the Dockerfile that the settings name.
pub(super) fn load(settings: &BuildSettings, context: &OpenContext) -> Result<Loaded> {
    if let Some(DockerfileText { name, bytes }) = &context.dockerfile {
        let excludes = match &context.files {
            ContextFiles::Directory(directory) => {
                ignore_patterns(&directory.join(".dockerignore"))?
            }
            // What is not the client's directory was made to be a context.
            ContextFiles::Nothing(_) | ContextFiles::Snapshot(_) => None,
        };
        return Ok(Loaded {
            source: Source::from_bytes(name, bytes),
            excludes: excludes.unwrap_or_default(),
        });
    }
    match &context.files {
        ContextFiles::Directory(directory) => load_beside(settings, directory),
        ContextFiles::Nothing(_) | ContextFiles::Snapshot(_) => {
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
    let bytes = text_file::read(&path).with_context(unreadable(path.display()))?;
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
        source: Source::from_bytes(&shown.display().to_string(), &bytes),
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

/// Says which Dockerfile it is that cannot be read.
pub(super) fn unreadable(name: impl std::fmt::Display) -> impl FnOnce() -> String {
    move || format!("cannot read the Dockerfile {name}")
}

/// The rules in an ignore file; `None` if there is none.
pub(super) fn ignore_patterns(path: &Path) -> Result<Option<Patterns>> {
    let unreadable = || format!("cannot read {}", path.display());
    let bytes = match text_file::read(path) {
        Ok(bytes) => bytes,
        Err(TextFileError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(unreadable),
    };
    let text = String::from_utf8(bytes).with_context(unreadable)?;
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
