//! The `git` command, told to trust nothing but its arguments: no configuration of the machine or the
//! user, no hooks, no credential helpers, no prompts, and only transports that lead to other machines.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use kiln_solver::{LogStream, StepReporter};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::super::{SourceError, Sources};
use super::Workspace;
use super::address::{Address, Proof};
use super::ssh::{Ssh, is_ssh};
use crate::secret::Secret;

/// The transports that may be used, for submodules too (git(1), `GIT_ALLOW_PROTOCOL`).
const TRANSPORTS: &str = "http:https:git:ssh";
/// The most that is read of what git says, in bytes: a server may list any number of references.
const MOST_OUTPUT: u64 = 256 << 20;
/// The most that is kept of what git complains, in bytes.
const MOST_COMPLAINT: u64 = 64 << 10;
/// How long is waited before what a connection broke is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// What git says of connections that broke.
const TRANSIENT: [&str; 3] = [
    "Connection reset by peer",
    "Connection timed out",
    "early EOF",
];
/// How long a server may send nothing, in seconds.
const PATIENCE: &str = "60";

/// Configuration that no repository may change.
const SETTINGS: [(&str, &str); 14] = [
    ("advice.detachedHead", "false"),
    ("core.autocrlf", "false"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.logAllRefUpdates", "false"),
    ("core.symlinks", "true"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", PATIENCE),
    ("init.defaultBranch", "master"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("submodule.recurse", "false"),
];

/// Git for one repository.
pub(super) struct Git {
    remote: String,
    environment: Vec<(String, String)>,
    reporter: StepReporter,
    /// What must not be shown.
    hidden: Option<String>,
    /// Whether servers are shown a token or a password.
    proves_itself: bool,
    /// The agent answers for as long as this is kept.
    _ssh: Ssh,
}

/// How one command differs from others.
#[derive(Default)]
pub(super) struct How<'l> {
    /// Arguments before the command: where the repository is.
    pub(super) place: Vec<String>,
    /// The file of the index, if not the repository's own.
    pub(super) index: Option<String>,
    /// A lock that is held for as long as git or a child of it runs, even if this process dies.
    pub(super) lock: Option<&'l File>,
    /// Whether this command reads a repository of this machine, which the store made.
    pub(super) is_local: bool,
}

impl Git {
    /// Git for a repository. What it needs beside is put into `workspace`.
    pub(super) fn new(
        sources: &Sources,
        remote: &str,
        workspace: &Workspace,
        reporter: &StepReporter,
    ) -> Result<Self, SourceError> {
        let ssh = Ssh::prepare(sources, workspace.path())?;
        let address = Address::of(remote);
        if is_ssh(remote) && ssh.agent.is_none() {
            return Err(SourceError::NoAgent {
                remote: address.shown,
            });
        }
        let mut proves_itself = false;
        let mut settings: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if let Some(Proof { scope, header }) = authorization(sources, &address)? {
            settings.push((format!("http.{scope}.extraHeader"), header));
            // Git would take the header to wherever the server sends it.
            settings.push(("http.followRedirects".to_owned(), "false".to_owned()));
            proves_itself = true;
        }
        if let Some(certificates) = sources.settings.http.certificates.first() {
            let path = certificates.display().to_string();
            settings.push(("http.sslCAInfo".to_owned(), path));
        }
        let fixed = [
            ("PATH", sources.settings.program_path.as_str()),
            ("HOME", "/dev/null"),
            ("LC_ALL", "C"),
            ("GIT_ALLOW_PROTOCOL", TRANSPORTS),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_SSH_COMMAND", &ssh.command),
            ("GIT_SSH_VARIANT", "ssh"),
            ("GIT_TEMPLATE_DIR", ""),
            ("GIT_TERMINAL_PROMPT", "0"),
        ];
        let mut environment: Vec<(String, String)> = fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        environment.extend(sources.settings.proxies.iter().cloned());
        if let Some(agent) = &ssh.agent {
            let path = agent.path().display().to_string();
            environment.push(("SSH_AUTH_SOCK".to_owned(), path));
        }
        // Not on the command line, which everybody on the machine can read.
        environment.push(("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string()));
        for (index, (name, value)) in settings.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{index}"), name));
            environment.push((format!("GIT_CONFIG_VALUE_{index}"), value));
        }
        Ok(Self {
            hidden: address.hidden().map(str::to_owned),
            proves_itself,
            remote: address.shown,
            environment,
            reporter: reporter.clone(),
            _ssh: ssh,
        })
    }

    /// What to call the repository before people and before git.
    pub(super) fn remote(&self) -> &str {
        &self.remote
    }

    pub(super) fn no_reference(&self, reference: &str) -> SourceError {
        SourceError::NoReference {
            remote: self.remote.clone(),
            reference: reference.to_owned(),
        }
    }

    /// Runs a command outside of any repository and returns what it says.
    pub(super) async fn run(
        &self,
        action: &'static str,
        arguments: &[&str],
    ) -> Result<Vec<u8>, SourceError> {
        self.run_with(action, arguments, &How::default()).await
    }

    /// Runs a command and returns what it says. What a busy server or a bad line broke is tried again.
    pub(super) async fn run_with(
        &self,
        action: &'static str,
        arguments: &[&str],
        how: &How<'_>,
    ) -> Result<Vec<u8>, SourceError> {
        for pause in PAUSES {
            match self.attempt(action, arguments, how).await {
                Err(SourceError::Git { reason, .. }) if is_transient(&reason) => {
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
        self.attempt(action, arguments, how).await
    }

    async fn attempt(
        &self,
        action: &'static str,
        arguments: &[&str],
        how: &How<'_>,
    ) -> Result<Vec<u8>, SourceError> {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(&how.place)
            .args(arguments)
            .stdin(self.lock(how)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(index) = &how.index {
            command.env("GIT_INDEX_FILE", index);
        }
        if how.is_local {
            command.env("GIT_ALLOW_PROTOCOL", "file");
        }
        let mut child = command.spawn().map_err(SourceError::NoGit)?;
        let group = Group::of(&child);
        let (output, complaint) = (child.stdout.take(), child.stderr.take());
        let (output, complaint, status) = tokio::join!(
            read_limited(output, MOST_OUTPUT),
            read_limited(complaint, MOST_COMPLAINT),
            child.wait(),
        );
        group.disarm();
        let status = status.map_err(SourceError::NoGit)?;
        let complaint = self.without_credentials(&complaint.unwrap_or_default());
        if !complaint.is_empty() {
            self.reporter.log(LogStream::Stderr, complaint.as_bytes());
        }
        match output {
            Ok(output) if status.success() => Ok(output),
            _ => Err(SourceError::Git {
                action,
                remote: self.remote.clone(),
                reason: self.explained(reason(&complaint, status)),
            }),
        }
    }

    /// A lock stands in for standard input, which git hands on to all that it starts.
    fn lock(&self, how: &How<'_>) -> Result<Stdio, SourceError> {
        Ok(match how.lock {
            Some(lock) => Stdio::from(OwnedFd::from(lock.try_clone().map_err(SourceError::NoGit)?)),
            None => Stdio::null(),
        })
    }

    fn explained(&self, reason: String) -> String {
        let is_redirect = self.proves_itself && reason.contains("returned error: 30");
        match is_redirect {
            true => format!(
                "{reason}: it redirects, and the token or password is not taken along; give the address that it redirects to"
            ),
            false => reason,
        }
    }

    fn without_credentials(&self, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        match &self.hidden {
            Some(hidden) => text.replace(hidden.as_str(), "***"),
            None => text.into_owned(),
        }
    }
}

/// The processes of a command, ended when this is dropped before they are.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Git removes its locks when it is asked to end; gone is gone.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

async fn read_limited(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut limited = stream.take(limit + 1);
        limited.read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other("it says too much"));
        }
    }
    Ok(bytes)
}

fn is_transient(reason: &str) -> bool {
    TRANSIENT.iter().any(|said| reason.contains(said))
}

/// The last thing that git complained of, without its own way of saying that something is fatal.
fn reason(complaint: &str, status: std::process::ExitStatus) -> String {
    let lines = complaint
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let telling = ["fatal: ", "error: ", "remote: ", "ERROR: "];
    let lines: Vec<&str> = lines.collect();
    let is_telling = |line: &str| telling.iter().any(|prefix| line.starts_with(prefix));
    let mut told: Vec<String> = Vec::new();
    for line in &lines {
        match told.last_mut() {
            _ if is_telling(line) => {
                told.push(line.strip_prefix("fatal: ").unwrap_or(line).to_owned());
            }
            // What it announces stands on the next lines: for each address, why it cannot connect.
            Some(last) if last.ends_with(':') => last.extend([" ", line]),
            Some(last) if line.contains("errno=") => last.extend([", ", line]),
            _ => {}
        }
    }
    match (told.is_empty(), lines.last()) {
        (false, _) => told.join("; "),
        (true, Some(line)) => (*line).to_owned(),
        (true, None) => format!("it ended with {status}"),
    }
}

/// What proves to an http server who asks: a secret that BuildKit looks for or, where there is none, what
/// stands in the address.
fn authorization(sources: &Sources, address: &Address) -> Result<Option<Proof>, SourceError> {
    let Some(host) = address.http_host() else {
        return Ok(None);
    };
    let names = [
        (format!("GIT_AUTH_HEADER.{host}"), false),
        (format!("GIT_AUTH_TOKEN.{host}"), true),
        ("GIT_AUTH_HEADER".to_owned(), false),
        ("GIT_AUTH_TOKEN".to_owned(), true),
    ];
    for (name, is_token) in names {
        let Some(Secret(secret)) = sources.secrets.get(&name) else {
            continue;
        };
        let secret = String::from_utf8(secret.trim_ascii_end().to_vec());
        let secret = secret.map_err(|_| SourceError::Secret(name.clone()))?;
        if secret.contains(char::is_control) {
            return Err(SourceError::Secret(name));
        }
        let value = match is_token {
            true => {
                let pair = format!("x-access-token:{secret}");
                let engine = base64::engine::general_purpose::STANDARD;
                format!("basic {}", engine.encode(pair))
            }
            false => secret,
        };
        return Ok(Some(Proof {
            scope: token_scope(&address.shown).to_owned(),
            header: format!("Authorization: {value}"),
        }));
    }
    Ok(address.proof())
}

/// Where a token may be shown: to the repository alone; on GitHub, to the submodules' too.
fn token_scope(remote: &str) -> &str {
    let github = ["https://github.com/", "https://www.github.com/"];
    let known = github.into_iter().find(|prefix| remote.starts_with(prefix));
    known.unwrap_or(remote)
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn all_that_git_says_of_the_reason_is_told() {
        let refused = "fatal: unable to connect to host:\nhost[0: ::1]: errno=Connection refused\n\
            host[1: 127.0.0.1]: errno=Connection refused\n\n";
        let cases = [
            (
                refused,
                "unable to connect to host: host[0: ::1]: errno=Connection refused, \
                    host[1: 127.0.0.1]: errno=Connection refused",
            ),
            (
                "remote: no\nfatal: it failed\nthe end\n",
                "remote: no; it failed",
            ),
            ("a\nb\n", "b"),
        ];
        for (complaint, expected) in cases {
            assert_eq!(reason(complaint, ExitStatus::default()), expected);
        }
    }
}
