//! What can go wrong with a request, told so that one knows what to check.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::io_error::IoError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody answers there.
    #[error("cannot reach {url}: {reason}; {hint}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The innermost reason.
        reason: String,
        /// What to check.
        hint: &'static str,
        /// Whether the next attempt may fare better.
        may_pass: bool,
    },
    /// The server stopped sending.
    #[error("{url}: the server sent nothing for {} seconds; try again", timeout.as_secs())]
    Stalled {
        /// What was asked for.
        url: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The server's answer makes no sense.
    #[error("{url}: {problem}")]
    Protocol {
        /// What was asked for.
        url: String,
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

impl HttpError {
    /// Tells a failed request by its cause.
    pub(crate) fn of_request(url: &str, error: &reqwest::Error, timeout: Duration) -> Self {
        let url = url.to_owned();
        if error.is_timeout() && !error.is_connect() {
            return Self::Stalled { url, timeout };
        }
        let reason = innermost(error);
        Self::Unreachable {
            hint: hint(&reason),
            may_pass: !lasts(&reason),
            url,
            reason,
        }
    }

    /// Whether the next attempt may fare better.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { may_pass, .. } => *may_pass,
            Self::Stalled { .. } => true,
            _ => false,
        }
    }
}

/// Whether nothing changes soon: the name server knows of no such host, or the certificate is not
/// trusted. A name server that does not answer says so in other words.
fn lasts(reason: &str) -> bool {
    const LASTING: [&str; 5] = [
        "name or service not known",
        "no address associated with hostname",
        "name does not resolve",
        "certificate",
        "unknownissuer",
    ];
    let reason = reason.to_ascii_lowercase();
    LASTING.iter().any(|lasting| reason.contains(lasting))
}

fn hint(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("causedasendentity") {
        "it shows a CA's certificate as its own; sign one for the server with it, with \
         basicConstraints=CA:FALSE"
    } else if reason.contains("refused") {
        "is it running, and is the port right?"
    } else if reason.contains("certificate") || reason.contains("unknownissuer") {
        "its certificate is not trusted here; install its CA's certificate, or configure it"
    } else if reason.contains("lookup") || reason.contains("resolve") || reason.contains("name") {
        "check the host's name and this machine's DNS"
    } else {
        "check the network, and the proxy if one is set"
    }
}

/// The message of the first cause; the outer ones only say that something was tried.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_from_what_may_pass() {
        let cases = [
            (
                "failed to lookup address information: Name or service not known",
                true,
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                false,
            ),
            ("invalid peer certificate: UnknownIssuer", true),
            ("Connection refused (os error 111)", false),
            ("Connection reset by peer (os error 104)", false),
            ("Network is unreachable (os error 101)", false),
        ];
        for (reason, expected) in cases {
            assert_eq!(lasts(reason), expected, "{reason}");
        }
    }
}
