//! `kiln fmt`: Dockerfiles in the one style. What the style is, and that it changes no meaning, is the
//! frontend's concern; here files are read, compared and replaced.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kiln_frontend::{Diagnostic, Source};
use kiln_worker::export::{AtomicFile, ExportError};
use rustix::fs::{Access, Gid, Uid};
use similar::TextDiff;

use crate::args::FmtArgs;
use crate::exit::Exit;
use crate::report::Report;
use crate::text_file::{self, TextFileError};

/// How many unchanged lines a diff shows around a change.
const CONTEXT: usize = 3;

/// Why a file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum FmtError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TextFileError,
    },
    /// It is no text.
    #[error("{}:{line}: the file is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is none, from 1.
        line: usize,
    },
    /// It has errors, which were shown.
    #[error("{} is left as it is, because it has errors", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be replaced.
    #[error(transparent)]
    Replace(Box<ExportError>),
    /// Standard output is closed or full.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
}

/// Formats each file; what is wrong with one is reported and the others are done nevertheless.
pub fn run(
    args: &FmtArgs,
    input: &mut dyn Read,
    out: &mut dyn Write,
    report: &mut Report<'_>,
) -> io::Result<Exit> {
    let (mut changes, mut failed) = (false, false);
    for path in &args.files {
        match one(args, path, input, out, report) {
            Ok(changed) => changes |= changed,
            Err(error) => {
                failed = true;
                report.error(&error)?;
            }
        }
    }
    Ok(match (failed, args.check && changes) {
        (true, _) => Exit::Unreadable,
        (false, true) => Exit::Unformatted,
        (false, false) => Exit::Done,
    })
}

/// Formats one file; whether that changes it.
fn one(
    args: &FmtArgs,
    path: &Path,
    input: &mut dyn Read,
    out: &mut dyn Write,
    report: &mut Report<'_>,
) -> Result<bool, FmtError> {
    let is_stdin = path == Path::new("-");
    let shown = if is_stdin { Path::new("<stdin>") } else { path };
    let text = read(path, shown, is_stdin.then_some(input))?;
    let source = Source::new(&shown.display().to_string(), &text);
    let parsed = kiln_frontend::parse(&source);
    if parsed.has_errors() {
        let errors = parsed.diagnostics.into_iter().filter(Diagnostic::is_error);
        let errors: Vec<Diagnostic> = errors.collect();
        let path = shown.to_owned();
        report
            .diagnostics(&source, &errors)
            .map_err(FmtError::Print)?;
        return Err(FmtError::Invalid { path });
    }
    let formatted = kiln_frontend::format(&parsed.dockerfile);
    let changed = formatted != text;
    let print =
        |out: &mut dyn Write, text: &str| out.write_all(text.as_bytes()).map_err(FmtError::Print);
    if args.diff {
        print(out, &diff(shown, &text, &formatted))?;
    } else if args.check {
        if changed {
            print(out, &format!("{}\n", shown.display()))?;
        }
    } else if is_stdin {
        print(out, &formatted)?;
    } else if changed {
        replace(path, &formatted)?;
    }
    Ok(changed)
}

fn read(path: &Path, shown: &Path, input: Option<&mut dyn Read>) -> Result<String, FmtError> {
    let read = match input {
        Some(input) => text_file::read_from(input),
        None => text_file::read(path),
    };
    let path = shown.to_owned();
    match read {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            FmtError::NotText { path, line }
        }),
        Err(source) => Err(FmtError::Read { path, source }),
    }
}

fn diff(path: &Path, before: &str, after: &str) -> String {
    let name = path.display().to_string();
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&name, &format!("{name} (formatted)"))
        .to_string()
}

/// Puts a text in a file's place: all of it or nothing, with the file's owner and permissions.
fn replace(path: &Path, text: &str) -> Result<(), FmtError> {
    let failed = |source: io::Error| FmtError::Write {
        path: path.to_owned(),
        source,
    };
    let replaced = |error| FmtError::Replace(Box::new(error));
    rustix::fs::access(path, Access::WRITE_OK).map_err(|error| failed(error.into()))?;
    let metadata = fs::metadata(path).map_err(failed)?;
    let mut file = AtomicFile::create(path).map_err(replaced)?;
    file.file().write_all(text.as_bytes()).map_err(failed)?;
    let new = file.file().metadata().map_err(failed)?;
    if (new.uid(), new.gid()) != (metadata.uid(), metadata.gid()) {
        let (user, group) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        rustix::fs::fchown(file.file().as_fd(), Some(user), Some(group))
            .map_err(|error| failed(error.into()))?;
    }
    let permissions = Permissions::from_mode(metadata.permissions().mode());
    file.file().set_permissions(permissions).map_err(failed)?;
    file.finish().map_err(replaced)
}
