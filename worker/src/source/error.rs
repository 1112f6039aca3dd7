//! What can go wrong with something of another machine.

use std::io;

use kiln_solver::{RelPath, Sha256Digest};

use crate::http::HttpError;
use crate::io_error::{IoError, what_to_do};
use crate::layer::CommitError;
use crate::store::{IndexError, LayerError};

/// Why a file or a repository could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server did not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The address is none.
    #[error("{url}: not an address: {reason}")]
    Url {
        /// As written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused.
    #[error("{url}: the server answered {status}{}", hint_for(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The file is not the expected one.
    #[error("{url}: digest mismatch: the file has {found}, but --checksum says {expected}")]
    Digest {
        /// Where it comes from.
        url: String,
        /// What was to be expected.
        expected: Sha256Digest,
        /// What its bytes hash to.
        found: Sha256Digest,
    },
    /// The file changed between two requests of one build.
    #[error("{url}: the file is not there any more with which this build began; build again")]
    Changed {
        /// Where it comes from.
        url: String,
    },
    /// What was received could not be read: its encoding is damaged.
    #[error("{url}: the answer is damaged: {reason}")]
    Body {
        /// Where it comes from.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// What was received could not be kept.
    #[error("cannot write to the store: {source}{}", what_to_do(source))]
    Write {
        /// The operating system's answer.
        source: io::Error,
    },
    /// Git could not be started.
    #[error("cannot run git: {0}; is it installed?")]
    NoGit(#[source] io::Error),
    /// Git failed.
    #[error("git {action} {remote}: {reason}")]
    Git {
        /// What git was to do.
        action: &'static str,
        /// With which repository.
        remote: String,
        /// What it said.
        reason: String,
    },
    /// There is no such branch, tag or commit.
    #[error("{remote} has no branch, tag or commit {reference:?}")]
    NoReference {
        /// The repository.
        remote: String,
        /// What was looked for.
        reference: String,
    },
    /// The repository has no commit yet.
    #[error("{remote} has no default branch; name a branch behind #")]
    NoDefaultBranch {
        /// The repository.
        remote: String,
    },
    /// The commit is not the expected one.
    #[error(
        "{remote}: {reference} is {found}, but a commit is expected that begins with {expected}"
    )]
    Commit {
        /// The repository.
        remote: String,
        /// What was looked for.
        reference: String,
        /// What its name should begin with.
        expected: String,
        /// What it stands for.
        found: String,
    },
    /// The commit has no such directory.
    #[error("{remote}: there is no directory {path} in commit {commit}")]
    NoDirectory {
        /// The repository.
        remote: String,
        /// The directory.
        path: RelPath,
        /// The commit.
        commit: String,
    },
    /// Something on the way to the directory is a file or a link.
    #[error("{remote}: {path} is not a directory, and links are not followed")]
    NotADirectory {
        /// The repository.
        remote: String,
        /// What is on the way.
        path: RelPath,
    },
    /// ssh needs an agent, and the build was given none.
    #[error("{remote} is reached by ssh, but the build was given no agent; add --ssh default")]
    NoAgent {
        /// The repository.
        remote: String,
    },
    /// A secret is no text.
    #[error("the secret {0} cannot stand in a header: it is not a line of text")]
    Secret(String),
    /// What is known of an address could not be written.
    #[error("cannot write a record: {0}")]
    Note(#[source] serde_json::Error),
    /// The build was ended.
    #[error("the build was ended")]
    Canceled,
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The layer could not be kept.
    #[error(transparent)]
    Pack(#[from] CommitError),
    /// The layer could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

fn hint_for(status: u16) -> &'static str {
    match status {
        401 | 403 => "; it wants a password or denies access (see the secret HTTP_AUTH_TOKEN_HOST)",
        404 | 410 => " (not found)",
        _ => "",
    }
}
