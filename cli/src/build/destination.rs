//! Whether results can be written where they are wanted: asked before the build, for it would be a pity
//! afterwards. Nothing is made or changed here, so that a build that fails leaves nothing.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::Access;

use crate::settings::{BuildSettings, Destination, OutputKind};

/// Fails if a result cannot be written.
pub fn check_destinations(settings: &BuildSettings) -> Result<()> {
    for output in &settings.outputs {
        match &output.kind {
            OutputKind::OciArchive(Destination::File(file))
            | OutputKind::Tar(Destination::File(file)) => {
                check("--output", file, check_file)?;
            }
            OutputKind::OciDirectory(path) | OutputKind::Local(path) => {
                check("--output", path, check_directory)?;
            }
            OutputKind::Image
            | OutputKind::OciArchive(Destination::Stdout)
            | OutputKind::Tar(Destination::Stdout) => {}
        }
    }
    let files = [
        ("--iidfile", &settings.iidfile),
        ("--metadata-file", &settings.metadata_file),
    ];
    for (option, file) in files {
        if let Some(file) = file {
            check(option, file, check_file)?;
        }
    }
    Ok(())
}

fn check(option: &str, path: &Path, how: fn(&Path) -> io::Result<()>) -> Result<()> {
    how(path).with_context(|| format!("cannot write {option} {}", path.display()))
}

/// A file that is there is replaced or written to; for a new one its directory must be there.
fn check_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(there) if there.is_file() => may_write(&directory_of(path)),
        Ok(_) => may_write(path),
        Err(error) if error.kind() == ErrorKind::NotFound => may_write(&directory_of(path)),
        Err(error) => Err(error),
    }
}

/// A directory is made with its parents if it is not there.
fn check_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => may_write(path),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => check_directory(&directory_of(path)),
        Err(error) => Err(error),
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => PathBuf::from("/"),
    }
}

fn may_write(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, Access::EXISTS | Access::WRITE_OK)?)
}
