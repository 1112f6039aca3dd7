//! The mounts of a RUN beside its root.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::op::{Exec, InputIndex, Mount, MountKind, SecretMount, SshMount};
use kiln_solver::{RelPath, StepReporter};

use super::cache_mounts::Caches;
use super::error::ExecutorError;
use super::file::{context_layer, give};
use super::layers;
use super::missing_from;
use super::output::Output;
use crate::io_error::AtPath;
use crate::sandbox;
use crate::secret::{Secret, Secrets};
use crate::snapshot::Snapshot;
use crate::ssh::{Agents, Listening};
use crate::store::Store;

/// What is mounted for one command, and what must stay open meanwhile.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<sandbox::Mount>,
    /// Variables that hold secrets.
    pub(super) secret_env: Vec<(String, Secret)>,
    caches: Caches,
    /// Sockets of agents.
    _agents: Vec<Listening>,
}

/// What a build was entrusted with.
#[derive(Clone, Copy)]
pub(super) struct Trust<'t> {
    pub(super) secrets: &'t Secrets,
    pub(super) agents: &'t Agents,
}

impl Mounts {
    /// Prepares all mounts of a command. To be called where tokio runs.
    pub(super) fn prepare(
        store: &Store,
        trust: Trust<'_>,
        exec: &Exec,
        inputs: &[Output],
        workspace: &Path,
        reporter: &StepReporter,
    ) -> Result<Self, ExecutorError> {
        let mut mounts = Self {
            caches: Caches::take(store, exec, inputs, reporter)?,
            ..Self::default()
        };
        let preparation = Preparation {
            store,
            trust,
            inputs,
            workspace,
        };
        for (index, mount) in exec.mounts.iter().enumerate() {
            if let Some(source) = preparation.source(index, mount, &mut mounts)? {
                mounts.mounts.push(sandbox::Mount {
                    target: mount.target.clone(),
                    source,
                    readonly: mount.read_only,
                });
            }
        }
        Ok(mounts)
    }
}

struct Preparation<'p> {
    store: &'p Store,
    trust: Trust<'p>,
    inputs: &'p [Output],
    workspace: &'p Path,
}

impl Preparation<'_> {
    /// What a mount shows; `None` for a secret or an agent that the build was not given.
    fn source(
        &self,
        index: usize,
        mount: &Mount,
        mounts: &mut Mounts,
    ) -> Result<Option<sandbox::Source>, ExecutorError> {
        Ok(Some(match &mount.kind {
            MountKind::Bind { from, source } => self.bind(*from, source, mount.read_only, index)?,
            MountKind::Cache(cache) => mounts.caches.source(cache, self.inputs),
            MountKind::Tmpfs { size } => sandbox::Source::Tmpfs {
                size: Some(*size).filter(|size| *size > 0),
            },
            MountKind::File { data, mode } => sandbox::Source::File {
                content: Secret(data.to_vec()),
                mode: *mode,
                uid: 0,
                gid: 0,
            },
            MountKind::Secret(secret) => return self.secret(mount, secret, mounts),
            MountKind::Ssh(ssh) => return self.agent(index, ssh, mounts),
        }))
    }

    /// A secret that the build was not given is an empty variable and no file.
    fn secret(
        &self,
        mount: &Mount,
        secret: &SecretMount,
        mounts: &mut Mounts,
    ) -> Result<Option<sandbox::Source>, ExecutorError> {
        let value = self.trust.secrets.get(&secret.id);
        if value.is_none() && secret.required {
            return Err(ExecutorError::MissingSecret(secret.id.clone()));
        }
        if let Some(name) = &secret.env {
            let value = value.cloned().unwrap_or_default();
            mounts.secret_env.push((name.clone(), value));
        }
        let value = value.filter(|_| !mount.target.is_empty());
        Ok(value.map(|value| sandbox::Source::File {
            content: value.clone(),
            mode: secret.mode & 0o777,
            uid: secret.uid,
            gid: secret.gid,
        }))
    }

    /// A socket of the step's own, behind which the build's agent answers.
    fn agent(
        &self,
        index: usize,
        ssh: &SshMount,
        mounts: &mut Mounts,
    ) -> Result<Option<sandbox::Source>, ExecutorError> {
        let Some(agent) = self.trust.agents.get(&ssh.id) else {
            return match ssh.required {
                true => Err(ExecutorError::MissingAgent(ssh.id.clone())),
                false => Ok(None),
            };
        };
        let socket = agent.listen(self.workspace, &format!("agent-{index}"))?;
        let path = socket.path().to_owned();
        give(&path, ssh.uid, ssh.gid, ssh.mode & 0o777)?;
        mounts._agents.push(socket);
        Ok(Some(sandbox::Source::Host(path)))
    }

    fn bind(
        &self,
        from: Option<InputIndex>,
        source: &RelPath,
        read_only: bool,
        index: usize,
    ) -> Result<sandbox::Source, ExecutorError> {
        let input = from.map(|from| &self.inputs[from.0]);
        let snapshot = match input {
            None => Arc::default(),
            Some(Output::Snapshot(snapshot)) => Arc::clone(snapshot),
            Some(Output::Context(context)) => {
                let layer = context_layer(self.store, context, source)?;
                Arc::new(Snapshot {
                    layers: vec![layer],
                })
            }
        };
        let (mut directories, view) = layers::directories(self.store, &snapshot)?;
        let found = view.resolve(source);
        let is_there = found.is_some_and(|path| view.get(&path).is_some());
        if !source.is_root() && !is_there {
            let error = ExecutorError::NotFound(source.clone());
            return Err(match input {
                Some(Output::Context(context)) => missing_from(context, error),
                _ => error,
            });
        }
        if directories.is_empty() {
            directories.push(self.directory(&format!("empty-{index}"))?);
        }
        // Writes go to a place that is thrown away with the workspace.
        let writable = if read_only {
            None
        } else {
            Some(sandbox::Writable {
                upper: self.directory(&format!("upper-{index}"))?,
                work: self.directory(&format!("work-{index}"))?,
            })
        };
        let overlay = sandbox::Overlay {
            layers: directories,
            writable,
        };
        Ok(sandbox::Source::Overlay {
            overlay,
            path: source.to_string(),
        })
    }

    fn directory(&self, name: &str) -> Result<PathBuf, ExecutorError> {
        let path = self.workspace.join(name);
        std::fs::create_dir(&path).at("create", &path)?;
        Ok(path)
    }
}
