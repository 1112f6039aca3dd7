//! How git may use ssh: with the agent that the build was given and no other key, and only with
//! servers that show the key that they showed before.

use std::path::{Path, PathBuf};

use super::super::{SourceError, Sources};
use crate::io_error::AtPath;
use crate::ssh::Listening;

/// The agent that git uses.
const AGENT: &str = "default";

/// What git needs for ssh.
pub(super) struct Ssh {
    /// The command that git runs.
    pub(super) command: String,
    /// Where the agent answers.
    pub(super) agent: Option<Listening>,
}

impl Ssh {
    /// Writes ssh's configuration to a directory and has the agent answer there.
    pub(super) fn prepare(sources: &Sources, directory: &Path) -> Result<Self, SourceError> {
        let remembered = sources.store.root().join("known_hosts");
        let mut known: Vec<PathBuf> = vec![remembered];
        known.extend(sources.settings.known_hosts.clone());
        let known: Vec<String> = known.iter().map(|path| quoted(path)).collect();
        // The first list of known hosts is the one that new keys are added to.
        let lines = [
            "BatchMode yes".to_owned(),
            "ConnectTimeout 30".to_owned(),
            "ForwardAgent no".to_owned(),
            "IdentityFile none".to_owned(),
            "ServerAliveInterval 30".to_owned(),
            "StrictHostKeyChecking accept-new".to_owned(),
            format!("UserKnownHostsFile {}", known.join(" ")),
        ];
        let config = directory.join("ssh_config");
        std::fs::write(&config, lines.join("\n") + "\n").at("write", &config)?;
        Ok(Self {
            command: format!(
                "ssh -F '{}'",
                config.display().to_string().replace('\'', "'\\''")
            ),
            agent: match sources.agents.get(AGENT) {
                Some(agent) => Some(agent.listen(directory, "agent")?),
                None => None,
            },
        })
    }
}

/// A path as ssh's configuration takes it (ssh_config(5)).
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// Whether a repository is reached by ssh.
pub(super) fn is_ssh(remote: &str) -> bool {
    match remote.split_once("://") {
        Some((scheme, _)) => scheme == "ssh",
        // `user@host:path`
        None => true,
    }
}
