//! The ssh agents that a build may use: those of the client's machine, of which a step may only use
//! the keys, and one of Kiln's own for keys in files.

mod keys;
mod listen;
mod protocol;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use keys::KeyError;
pub use listen::Listening;

use keys::Keyring;

/// The most bytes that are read of a key file, as in BuildKit.
const LARGEST_KEY: u64 = 100 * 1024;

/// An agent, or what one is made of.
#[derive(Debug)]
pub enum Agent {
    /// One that listens here.
    Socket(PathBuf),
    /// Keys that Kiln itself signs with.
    Keys(Keyring),
}

/// Agents by the names that mounts ask for.
#[derive(Debug, Clone, Default)]
pub struct Agents(BTreeMap<String, Arc<Agent>>);

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it is")]
pub enum AgentError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use the key {}: {source}", path.display())]
    Key { path: PathBuf, source: KeyError },
    #[error("an agent is either one socket or key files: {} is one socket too many", .0.display())]
    Mixed(PathBuf),
}

impl Agents {
    /// Adds an agent; it takes the place of an earlier one of that name.
    pub fn insert(&mut self, id: String, agent: Agent) {
        self.0.insert(id, Arc::new(agent));
    }

    /// The agent of that name, if the build was given one.
    pub fn get(&self, id: &str) -> Option<&Arc<Agent>> {
        self.0.get(id)
    }
}

impl Agent {
    /// The agent that one socket leads to, or that has the keys of these files.
    pub fn open(paths: &[PathBuf]) -> Result<Self, AgentError> {
        let mut keys = Keyring::default();
        for path in paths {
            let read = |source| AgentError::Read {
                path: path.clone(),
                source,
            };
            if fs::metadata(path).map_err(read)?.file_type().is_socket() {
                return match paths {
                    [only] => Ok(Self::Socket(only.clone())),
                    _ => Err(AgentError::Mixed(path.clone())),
                };
            }
            let text = read_key(path).map_err(read)?;
            keys.add(&text).map_err(|source| AgentError::Key {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self::Keys(keys))
    }
}

fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?
        .take(LARGEST_KEY)
        .read_to_end(&mut text)?;
    Ok(text)
}
