//! A client of the OCI distribution specification: manifests and blobs over http and https.
//!
//! It knows no images and no store: it yields bytes, which the caller verifies.

mod auth;
mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
mod token;

use std::path::PathBuf;
use std::time::Duration;

pub use blob::BlobStream;
pub use client::{ManifestHead, Registry};
pub use error::RegistryError;

/// What the client may be told by configuration. Only the command line reads the environment.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Docker's `config.json`, with credentials; it need not exist.
    pub docker_config: Option<PathBuf>,
    /// Hosts (with their port, if any) to speak http to, besides the machine itself.
    pub insecure: Vec<String>,
    /// Files with certificates (PEM) to trust besides the system's.
    pub certificates: Vec<PathBuf>,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub read_timeout: Duration,
    /// How often a request is made again that failed for a reason that may pass.
    pub retries: u32,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            docker_config: None,
            insecure: Vec::new(),
            certificates: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            retries: 3,
        }
    }
}
