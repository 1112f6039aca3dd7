//! What can go wrong with a registry, told so that one knows what to check.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::HttpError;
use crate::io_error::IoError;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers there.
    #[error("cannot reach the registry at {url}: {reason}; {hint}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The innermost reason.
        reason: String,
        /// What to check.
        hint: &'static str,
    },
    /// The server stopped sending.
    #[error("{url}: the registry sent nothing for {} seconds; try again", timeout.as_secs())]
    Stalled {
        /// What was asked for.
        url: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// There is no such image, tag or blob.
    #[error("{url}: not found; check the image's name and tag, and whether it needs a login")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server refuses this user.
    #[error("{url}: the registry denies access ({status}{detail}); {hint}")]
    Denied {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server says.
        detail: String,
        /// What to check.
        hint: String,
    },
    /// The server answers something else than it should.
    #[error("{url}: the registry answered {status}{detail}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server says.
        detail: String,
    },
    /// The server's answer makes no sense.
    #[error("{url}: {problem}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The answer is longer than it may be.
    #[error("{url}: longer than the {limit} bytes that are allowed here")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The configured credentials cannot be had.
    #[error("credentials for {host} from {}: {problem}", path.display())]
    Credentials {
        /// The registry.
        host: String,
        /// Docker's configuration file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A configured certificate cannot be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A configured certificate is none.
    #[error("{}: not a certificate in PEM form: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No http client can be made.
    #[error("cannot set up https: {0}; is the package ca-certificates installed?")]
    Setup(String),
}

impl From<HttpError> for RegistryError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable {
                url, reason, hint, ..
            } => Self::Unreachable { url, reason, hint },
            HttpError::Stalled { url, timeout } => Self::Stalled { url, timeout },
            HttpError::Protocol { url, problem } => Self::Protocol { url, problem },
            HttpError::Io(error) => Self::Io(error),
            HttpError::Certificate { path, reason } => Self::Certificate { path, reason },
            HttpError::Setup(reason) => Self::Setup(reason),
        }
    }
}
