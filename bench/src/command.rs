//! Finding programs and running the ones that are not measured.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::interrupt;

/// The program at `given`, else the first of that name on PATH.
///
/// A path that was given must exist; a program that is merely not there is `None`.
pub(crate) fn find(name: &str, given: Option<&Path>) -> Result<Option<PathBuf>> {
    match given {
        Some(path) if is_executable(path) => {
            let path = std::path::absolute(path);
            Ok(Some(path.with_context(|| {
                format!("making the path of {name} absolute")
            })?))
        }
        Some(path) => bail!("{}: no such program", path.display()),
        None => Ok(search_path(name)),
    }
}

/// Like [`find`], for a program without which the work cannot be done.
pub(crate) fn require(name: &str) -> Result<PathBuf> {
    search_path(name).with_context(|| format!("{name} is needed and not on PATH"))
}

fn search_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end and returns what it printed; its error output becomes the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}"))?;
    interrupt::check()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, last_lines(&message, 5));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `count` lines of a text, on lines of their own if there are several.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = &lines[lines.len().saturating_sub(count)..];
    tail.join("\n    ")
}

/// The first line that `program ARGUMENT` prints, as a version to report; a dash if it cannot tell.
pub(crate) fn version(program: &Path, argument: &str) -> String {
    let printed = run(Command::new(program).arg(argument)).unwrap_or_default();
    printed
        .lines()
        .next()
        .map_or_else(|| "-".to_owned(), |line| line.trim().to_owned())
}
