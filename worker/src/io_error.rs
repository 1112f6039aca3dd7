//! I/O errors that say what was done to which path.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a path failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct IoError {
    /// A verb, such as `read` or `create`.
    pub action: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

/// Adds to a failed call what it was about.
pub trait AtPath<T> {
    /// Says that `action` on `path` was tried.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, IoError>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, IoError> {
        self.map_err(|source| IoError {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        })
    }
}

/// Whether an error says that nothing is there.
pub fn is_not_found(error: &IoError) -> bool {
    error.source.kind() == io::ErrorKind::NotFound
}

/// What to do about the operating system's answer, to be put behind it.
pub(crate) fn what_to_do(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there or choose another place"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; choose another place",
        io::ErrorKind::PermissionDenied => "; check who may do that there",
        _ => "",
    }
}
