//! Why a step could not be run. [`Failure`] is what the step's own processes report, so it crosses a socket;
//! [`Error`] adds what can go wrong on this side of it. A command that exits non-zero is neither.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::WayOut;

/// Why a step could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process that sets steps up could not be started or spoken to.
    #[error("cannot {operation} the sandbox process {program}: {source}")]
    Helper {
        /// What was tried.
        operation: &'static str,
        /// The program that serves as it.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The spec holds what cannot be sent, such as a host path that is not UTF-8.
    #[error("cannot encode the step: {0}")]
    Encoding(#[from] postcard::Error),
    /// The step could not be set up.
    #[error(transparent)]
    Step(#[from] Failure),
    /// The sandbox process ended and did not say why; something outside killed it.
    #[error("the sandbox process ended without a report")]
    Lost,
    /// The caller asked for the end.
    #[error("the step was cancelled")]
    Cancelled,
}

/// What failed while a step was set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failure {
    /// A system call failed.
    #[error("cannot {operation} {path}: {errno}")]
    System {
        /// What was tried.
        operation: String,
        /// On what.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel, or how it is set up, lacks what steps need.
    #[error("cannot {operation}: {missing} ({errno})")]
    Unsupported {
        /// What was tried.
        operation: String,
        /// One clause that says what is missing.
        missing: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The file system cannot show a directory with other owners.
    #[error("cannot map the owners of files in {path}: {errno}")]
    IdMapRefused {
        /// The directory.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The step's network could not be given its way out.
    #[error("cannot connect the step to the network by {way}: {problem}")]
    Unconnected {
        /// Which way.
        way: WayOut,
        /// Why not.
        problem: String,
    },
    /// The spec contradicts itself.
    #[error("{what}: {value:?}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// The offending value.
        value: String,
    },
    /// `USER` names someone whom the root's `/etc/passwd` or `/etc/group` does not know.
    #[error("{kind} {name:?} is not in {file}")]
    Unknown {
        /// `user` or `group`.
        kind: String,
        /// As it was written.
        name: String,
        /// Where it was looked for.
        file: String,
    },
    /// The program could not be started.
    #[error("cannot run {program:?}: {errno}")]
    Exec {
        /// As it was written.
        program: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The step's first process was killed from outside, most often because memory ran out.
    #[error("the step's init process was killed by signal {signal}")]
    InitKilled {
        /// Which signal.
        signal: i32,
    },
    /// Kiln ended or gave the step up.
    #[error("the step was abandoned")]
    Abandoned,
}

/// An error number, printed with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(
            error
                .raw_os_error()
                .unwrap_or(rustix::io::Errno::IO.raw_os_error()),
        )
    }
}

/// Says what a system call was for.
pub(super) trait During<T> {
    /// `operation` is a verb phrase, `path` its object.
    fn during(self, operation: &str, path: impl Display) -> Result<T, Failure>;
    /// For calls that fail where the kernel is too old, or forbids them; `missing` is one clause.
    fn needs(self, operation: &str, missing: &str) -> Result<T, Failure>;
}

impl<T, E: Into<Errno>> During<T> for Result<T, E> {
    fn during(self, operation: &str, path: impl Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure::System {
            operation: operation.into(),
            path: path.to_string(),
            errno: errno.into(),
        })
    }

    fn needs(self, operation: &str, missing: &str) -> Result<T, Failure> {
        self.map_err(|errno| Failure::Unsupported {
            operation: operation.into(),
            missing: missing.into(),
            errno: errno.into(),
        })
    }
}
