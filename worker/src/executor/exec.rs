//! RUN: a command in the sandbox, and the layer of what it changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::op::{Exec, Network, Security};
use kiln_solver::progress::Fact;
use kiln_solver::{Exceeded, Exit, LogStream, Outcome, RelPath, Step, StepReporter};
use rustix::io::Errno;

use super::Worker;
use super::bounds::Watch;
use super::error::ExecutorError;
use super::layers;
use super::mounts::{Mounts, Trust};
use super::output::Output;
use crate::io_error::AtPath;
use crate::layer::{diff, pack};
use crate::sandbox::{self, Groups, Shortage};
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::store::Store;
use crate::tree::{Timestamp, View};

impl Worker {
    /// Runs a command on its root and returns the root with the layer of what changed.
    pub(super) async fn execute(
        &self,
        exec: &Exec,
        inputs: &[Output],
        step: &Step<Output>,
    ) -> Result<Outcome<Output>, ExecutorError> {
        let reporter = &step.reporter;
        self.fetch_inputs(inputs, reporter).await?;
        let root = match exec.root {
            Some(index) => Arc::clone(layers::snapshot(&inputs[index.0])?),
            None => Arc::default(),
        };
        let prepared = {
            let (root, exec, inputs) = (Arc::clone(&root), exec.clone(), inputs.to_vec());
            let reporter = reporter.clone();
            let (secrets, agents) = (self.secrets.clone(), self.agents.clone());
            self.blocking(move |store| {
                let trust = Trust {
                    secrets: &secrets,
                    agents: &agents,
                };
                Prepared::new(store, trust, &root, &exec, &inputs, &reporter)
            })
            .await?
        };
        let spec = prepared.spec(exec, &self.groups)?;
        let (watch, upper) = (Watch::new(self.bounds), prepared.upper());
        let log = |stream, bytes: &[u8]| {
            let stream = match stream {
                sandbox::Stream::Stdout => LogStream::Stdout,
                sandbox::Stream::Stderr => LogStream::Stderr,
            };
            reporter.log(stream, &bytes[..watch.log(bytes.len())]);
        };
        let notice = |way| {
            if exec.network == Network::Default {
                self.network_notice.give(way, reporter);
            }
        };
        notice(self.sandbox.way_out());
        let run = self.sandbox.run(&spec, log, watch.until_exceeded(&upper));
        let prepare = async {
            if self.foresight.is_before_a_command(step.vertex) {
                self.sandbox.prepare_another(&spec).await;
            }
        };
        let (outcome, ()) = tokio::join!(run, prepare);
        if let Some(exceeded) = watch.exceeded() {
            return Ok(Outcome::Exited(Exit::Exceeded(exceeded)));
        }
        let outcome = outcome.map_err(|error| prepared.explained(error))?;
        notice(outcome.way_out);
        let processor_time = outcome.user_time + outcome.system_time;
        reporter.learned(Fact::Used {
            peak_memory: outcome.peak_memory,
            processor_time: u64::try_from(processor_time.as_micros()).unwrap_or(u64::MAX),
        });
        if let Some(exit) = failure(&outcome, &spec.groups) {
            return Ok(Outcome::Exited(exit));
        }
        let layer = self.blocking(move |store| prepared.commit(store)).await?;
        if let Some(ahead) = self.foresight.ahead(step.vertex) {
            ahead.layer(layer.diff_id);
        }
        Ok(Outcome::Done(Output::Snapshot(Arc::new(root.with(layer)))))
    }
}

/// How a command ended, unless it did well.
fn failure(outcome: &sandbox::Outcome, groups: &Groups) -> Option<Exit> {
    match (outcome.exit, outcome.shortage) {
        (sandbox::Exit::Code(0), _) => None,
        (_, Some(Shortage::StepMemory)) => Some(Exit::OutOfMemory(groups.memory_limit())),
        (_, Some(Shortage::MachineMemory)) => Some(Exit::OutOfMemory(None)),
        (_, Some(Shortage::Processes)) => {
            let most = groups.process_limit().unwrap_or_default();
            Some(Exit::Exceeded(Exceeded::Processes(most)))
        }
        (sandbox::Exit::Code(code), None) => Some(Exit::Code(code.into())),
        (sandbox::Exit::Signal(signal), None) => Some(Exit::Signal(signal)),
    }
}

/// What the shell form of RUN most often runs.
const SHELLS: [&str; 4] = ["/bin/sh", "/bin/bash", "/bin/ash", "/usr/bin/bash"];

/// What a command needs on disk; removed when dropped, unless it was committed.
struct Prepared {
    directories: Vec<PathBuf>,
    below: View,
    workspace: PathBuf,
    mounts: Mounts,
}

impl Prepared {
    fn new(
        store: &Store,
        trust: Trust<'_>,
        root: &Snapshot,
        exec: &Exec,
        inputs: &[Output],
        reporter: &StepReporter,
    ) -> Result<Self, ExecutorError> {
        let (directories, below) = layers::directories(store, root)?;
        let workspace = store.scratch().new_directory()?;
        let mut prepared = Self {
            directories,
            below,
            workspace,
            mounts: Mounts::default(),
        };
        for name in ["upper", "work"] {
            let path = prepared.workspace.join(name);
            std::fs::create_dir(&path).at("create", &path)?;
        }
        prepared.mounts =
            Mounts::prepare(store, trust, exec, inputs, &prepared.workspace, reporter)?;
        prepared.give_root_directory_its_metadata()?;
        Ok(prepared)
    }

    /// The upper directory's own mode and owner are those of the root that the command sees.
    fn give_root_directory_its_metadata(&self) -> Result<(), ExecutorError> {
        use std::os::unix::fs::{PermissionsExt, chown};
        let upper = self.upper();
        let entry = self
            .below
            .get(&kiln_solver::RelPath::root())
            .map(|found| found.entry);
        let (mode, uid, gid) = entry.map_or((0o755, 0, 0), |e| (e.mode, e.uid, e.gid));
        chown(&upper, Some(uid), Some(gid)).at("change owner of", &upper)?;
        let permissions = std::fs::Permissions::from_mode(mode);
        Ok(std::fs::set_permissions(&upper, permissions).at("set permissions of", &upper)?)
    }

    fn upper(&self) -> PathBuf {
        self.workspace.join("upper")
    }

    fn spec(&self, exec: &Exec, groups: &Groups) -> Result<sandbox::Spec, ExecutorError> {
        let root = sandbox::Overlay {
            layers: self.directories.clone(),
            writable: Some(sandbox::Writable {
                upper: self.upper(),
                work: self.workspace.join("work"),
            }),
        };
        let mut spec = sandbox::Spec::new(root, exec.args.iter().cloned());
        let variables = exec.env.iter();
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        spec.command.env = variables.collect();
        spec.command.env.extend(exec.unhashed_env.iter().cloned());
        spec.command.secret_env = self.mounts.secret_env.clone();
        spec.command.cwd = exec.cwd.clone();
        spec.command.user = exec.user.clone();
        spec.mounts = self.mounts.mounts.clone();
        spec.network = match exec.network {
            Network::Default => sandbox::Network::Private,
            Network::Host => sandbox::Network::Host,
            Network::None => sandbox::Network::None,
        };
        spec.privileged = exec.security == Security::Insecure;
        spec.command.limits.clone_from(&exec.limits);
        spec.groups = groups.clone();
        if let Some(size) = exec.shm_size {
            spec.shm_size = size;
        }
        if let Some(hostname) = &exec.hostname {
            spec.hostname = hostname.clone();
        }
        for (name, address) in &exec.extra_hosts {
            let address = address
                .parse()
                .map_err(|_| ExecutorError::Address(format!("{name}:{address}")))?;
            spec.hosts.push(sandbox::Host {
                name: name.clone(),
                address,
            });
        }
        Ok(spec)
    }

    /// Says of a shell that could not be run whether the image has one.
    fn explained(&self, error: sandbox::Error) -> ExecutorError {
        let sandbox::Error::Step(sandbox::Failure::Exec { program, errno }) = &error else {
            return error.into();
        };
        let is_missing = errno.0 == Errno::NOENT.raw_os_error() && program.starts_with('/');
        let path = RelPath::resolve(&RelPath::root(), program);
        let path = self.below.resolve(&path).unwrap_or(path);
        match is_missing {
            false => error.into(),
            true if self.below.get(&path).is_some() => {
                ExecutorError::NoInterpreter(program.clone())
            }
            true if SHELLS.contains(&&**program) => ExecutorError::NoShell(program.clone()),
            true => ExecutorError::NoProgram(program.clone()),
        }
    }

    /// Makes a layer of what the command changed.
    fn commit(self, store: &Store) -> Result<SnapshotLayer, ExecutorError> {
        let entries = diff(&self.upper(), &self.below)?;
        let packed = pack(entries, &mut std::io::sink())?;
        store
            .layers()
            .put_directory(&packed.diff_id, "", &self.upper())?;
        store.layers().put_tree(&packed.diff_id, &packed.tree)?;
        Ok(SnapshotLayer {
            diff_id: packed.diff_id,
            content: packed.tree.content,
            created: Some(Timestamp::now()),
        })
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        remove(&self.workspace);
    }
}

/// Removes a workspace; what a killed step left in the way goes with the store's next sweep.
fn remove(workspace: &Path) {
    let _ = std::fs::remove_dir_all(workspace);
}
