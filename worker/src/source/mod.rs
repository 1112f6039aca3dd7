//! What comes from other machines besides images: files behind addresses, and git repositories.
//!
//! Both are pinned before a graph is made, to a digest or a commit, and brought in as one layer. What
//! was learned is kept in the store, so that the next build asks only what has changed:
//!
//! ```text
//! ROOT/addresses/HEX    what a server said of a file, and the file's digest
//! ROOT/git/HEX/         a mirror of a repository (see [`git`])
//! ROOT/known_hosts      the keys that ssh servers showed when they were first asked
//! ```
//!
//! HEX is the BLAKE3 of the address, 32 digits of it.

mod error;
pub mod git;
pub mod http;

use std::path::PathBuf;

use kiln_solver::key::definition_key;
use kiln_solver::{Op, Sha256Digest, StepKeys, StepReporter, op};

pub use error::SourceError;

use crate::http::Http;
use crate::layer::{PackEntry, commit_layer};
use crate::registry::RegistrySettings;
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::ssh::Agents;
use crate::store::Store;

/// What sources may be told by configuration. Only the command line reads the environment.
#[derive(Debug, Clone, Default)]
pub struct SourceSettings {
    /// How addresses are asked.
    pub http: RegistrySettings,
    /// Where programs are looked for: git and ssh.
    pub program_path: String,
    /// Proxies, by the names of their variables: git reads them itself.
    pub proxies: Vec<(String, String)>,
    /// The user's own list of ssh servers' keys, if there is one.
    pub known_hosts: Option<PathBuf>,
}

/// Fetches what comes from other machines.
pub struct Sources {
    store: Store,
    http: Http,
    settings: SourceSettings,
    secrets: Secrets,
    agents: Agents,
}

impl Sources {
    /// Nothing is read or connected yet.
    pub fn new(store: Store, settings: SourceSettings, secrets: Secrets, agents: Agents) -> Self {
        Self {
            store,
            http: Http::new(settings.http.clone()),
            settings,
            secrets,
            agents,
        }
    }

    /// Brings in what a pinned source names, unless the store has it already.
    pub async fn open(
        &self,
        source: &op::Source,
        reporter: &StepReporter,
    ) -> Result<Option<Snapshot>, SourceError> {
        let op = Op::Source(source.clone());
        if let Some(known) = recorded(&self.store, &op)? {
            return Ok(Some(known));
        }
        Ok(match source {
            op::Source::Git(git) => Some(self.open_git(git, reporter).await?),
            op::Source::Http(http) => Some(self.open_http(http, reporter).await?),
            op::Source::Image(_) | op::Source::Local(_) => None,
        })
    }

    /// Runs work that blocks on disks away from the threads that wait for the network.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(SourceError::Canceled),
        }
    }
}

/// The name under which the store keeps what it knows of an address.
fn address_name(address: &str) -> String {
    blake3::hash(address.as_bytes()).to_hex()[..32].to_owned()
}

/// What the store has of a pinned source.
fn recorded(store: &Store, op: &Op) -> Result<Option<Snapshot>, SourceError> {
    let Some(bytes) = store.index().record(&definition_key(op, &[]))? else {
        return Ok(None);
    };
    // A record of another version of Kiln is no record.
    let Ok(snapshot) = Snapshot::decode(&bytes) else {
        return Ok(None);
    };
    let layers = store.layers();
    let is_whole = |diff_id| layers.contains(&diff_id);
    let is_there = snapshot.diff_ids().into_iter().all(is_whole);
    Ok(is_there.then_some(snapshot))
}

/// Makes a layer of a source and notes it where the solver looks for it.
fn record(
    store: &Store,
    op: &Op,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
) -> Result<Snapshot, SourceError> {
    let snapshot = Snapshot {
        layers: vec![commit_layer(store, entries)?],
    };
    store
        .index()
        .put_step(&StepKeys::of_source(op), &snapshot.encode())?;
    Ok(snapshot)
}

/// Whether a digest is the expected one, if one is expected.
fn verify(
    url: &str,
    expected: Option<Sha256Digest>,
    found: Sha256Digest,
) -> Result<(), SourceError> {
    match expected {
        Some(expected) if expected != found => Err(SourceError::Digest {
            url: url.to_owned(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}
