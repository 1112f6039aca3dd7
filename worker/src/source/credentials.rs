//! What fetching may be entrusted with: secrets and agents that the build was given.

use std::io;
use std::path::{Path, PathBuf};

/// Secrets and agents by their names.
pub trait Credentials: Send + Sync {
    /// The value of a secret, if the build was given it.
    fn secret(&self, id: &str) -> Option<Vec<u8>>;

    /// A socket in `directory` behind which an agent answers, if the build was given one.
    fn agent(&self, id: &str, directory: &Path) -> io::Result<Option<AgentSocket>>;
}

/// A socket behind which an agent answers for as long as this is kept.
pub struct AgentSocket {
    /// Where it is.
    pub path: PathBuf,
    /// What keeps it open.
    pub keeper: Box<dyn Send + Sync>,
}

/// A build that was entrusted with nothing.
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn secret(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn agent(&self, _: &str, _: &Path) -> io::Result<Option<AgentSocket>> {
        Ok(None)
    }
}
