//! What can go wrong when a step is performed.

use kiln_solver::{Exceeded, RelPath, StepError};

use crate::io_error::IoError;
use crate::layer::{CommitError, DiffError, DirectoryError, ExtractError, IngestError, PackError};
use crate::source::SourceError;
use crate::store::{BlobError, IndexError, LayerError, StoreError};

/// Why a step could not be performed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it is")]
pub enum ExecutorError {
    #[error("a path of {0} bytes is longer than Linux takes: 4095 bytes, 255 for each name")]
    LongPath(usize),
    #[error("{0}: not found")]
    NotFound(RelPath),
    #[error("{path}: not found in the build context {context}{}", ignored(*is_ignored))]
    NotInContext {
        path: RelPath,
        context: String,
        is_ignored: bool,
    },
    #[error("{0}: too many levels of symbolic links")]
    TooManyLinks(RelPath),
    #[error("cannot copy to {0}: it is not a directory")]
    NotADirectory(RelPath),
    #[error("cannot replace the directory {0} with a file")]
    IsADirectory(RelPath),
    #[error("{path}: longer than the {limit} bytes that are allowed here")]
    TooLong { path: RelPath, limit: u64 },
    #[error("nobody can be looked up by the name {0:?}, since there is nothing below this layer")]
    NoAccounts(String),
    #[error("{0:?} is not a mode: expected octal digits or, for example, u+x,go=rX")]
    Mode(String),
    #[error("{0}")]
    Pattern(String),
    #[error("no build context is named {0:?}")]
    NoContext(String),
    #[error("{0:?} is not an address: --add-host takes NAME:ADDRESS")]
    Address(String),
    #[error("{0} is not supported yet")]
    Unsupported(&'static str),
    #[error(
        "the image has no {0}: RUN [\"program\", \"argument\"] runs a program without a shell, and SHELL names another shell"
    )]
    NoShell(String),
    #[error("the image has no {0}")]
    NoProgram(String),
    #[error("cannot run {0:?}: it is there, but the interpreter or loader that it needs is not")]
    NoInterpreter(String),
    #[error("the build was ended")]
    Canceled,
    #[error(
        "the secret {0:?} is required, but the build was not given it: --secret id={0},src=FILE does"
    )]
    MissingSecret(String),
    #[error("the ssh agent {0:?} is required, but the build was not given it: --ssh {0} does")]
    MissingAgent(String),
    #[error("{0}")]
    Fetch(#[source] StepError),
    #[error("{0}")]
    Exceeded(Exceeded),
    #[error("cannot unpack {path}: {source}")]
    Archive { path: RelPath, source: IngestError },
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::Error),
}

fn ignored(is_ignored: bool) -> &'static str {
    if is_ignored {
        "; it is there, but the ignore file (.dockerignore) leaves it out"
    } else {
        ""
    }
}
