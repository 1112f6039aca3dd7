//! The mounts of a RUN beside its root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::RelPath;
use kiln_solver::op::{CacheMount, Exec, InputIndex, Mount, MountKind, Sharing};
use rustix::fs::FlockOperation;

use super::error::ExecutorError;
use super::file::context_layer;
use super::layers;
use super::output::Output;
use crate::io_error::AtPath;
use crate::sandbox;
use crate::snapshot::Snapshot;
use crate::store::Store;

/// What is mounted for one command, and what must stay open meanwhile.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<sandbox::Mount>,
    /// Variables that come with mounts.
    pub(super) env: Vec<(String, String)>,
    /// Locks of cache mounts.
    _locks: Vec<File>,
}

impl Mounts {
    /// Prepares all mounts of a command.
    pub(super) fn prepare(
        store: &Store,
        exec: &Exec,
        inputs: &[Output],
        workspace: &Path,
    ) -> Result<Self, ExecutorError> {
        let mut mounts = Self::default();
        let preparation = Preparation {
            store,
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
            MountKind::Cache(cache) => {
                let (path, lock) = self.cache(cache)?;
                mounts._locks.push(lock);
                sandbox::Source::Host(path)
            }
            MountKind::Tmpfs { size } => sandbox::Source::Tmpfs {
                size: Some(*size).filter(|size| *size > 0),
            },
            MountKind::File { data, mode } => sandbox::Source::File {
                content: sandbox::Secret(data.to_vec()),
                mode: *mode,
                uid: 0,
                gid: 0,
            },
            MountKind::Secret(secret) if secret.required => {
                return Err(ExecutorError::MissingSecret(secret.id.clone()));
            }
            MountKind::Secret(secret) => {
                if let Some(name) = &secret.env {
                    mounts.env.push((name.clone(), String::new()));
                }
                return Ok(None);
            }
            MountKind::Ssh(ssh) if ssh.required => {
                return Err(ExecutorError::MissingAgent(ssh.id.clone()));
            }
            MountKind::Ssh(_) => return Ok(None),
        }))
    }

    fn bind(
        &self,
        from: Option<InputIndex>,
        source: &RelPath,
        read_only: bool,
        index: usize,
    ) -> Result<sandbox::Source, ExecutorError> {
        let snapshot = match from.map(|from| &self.inputs[from.0]) {
            None => Arc::default(),
            Some(Output::Snapshot(snapshot)) => Arc::clone(snapshot),
            Some(Output::Context(context)) => {
                let layer = context_layer(self.store, context, source)?;
                Arc::new(Snapshot {
                    layers: vec![layer],
                })
            }
        };
        let (mut directories, _) = layers::directories(self.store, &snapshot)?;
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

    /// The directory of a cache mount, locked as its sharing mode says.
    fn cache(&self, cache: &CacheMount) -> Result<(PathBuf, File), ExecutorError> {
        if cache.from.is_some() {
            return Err(ExecutorError::Unsupported("from= of a cache mount"));
        }
        self.store.directory("cache-mounts")?;
        let name = &blake3::hash(cache.id.as_bytes()).to_hex()[..32];
        for attempt in 0.. {
            let name = if attempt == 0 {
                name.to_owned()
            } else {
                format!("{name}-{attempt}")
            };
            // No prune takes it away from now on.
            let home = self.store.lease("cache-mounts", &name)?;
            let lock = lock_file(&home)?;
            let operation = match cache.sharing {
                Sharing::Shared => FlockOperation::LockShared,
                Sharing::Locked => FlockOperation::LockExclusive,
                Sharing::Private => FlockOperation::NonBlockingLockExclusive,
            };
            match rustix::fs::flock(&lock, operation) {
                Ok(()) => {
                    note_use(&lock).at("write the time of", &home)?;
                    return Ok((prepare_cache(&home, cache)?, lock));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => {
                    return Err(Err::<(), _>(error)
                        .at("lock", &home)
                        .expect_err("it is")
                        .into());
                }
            }
        }
        unreachable!("the loop ends only with a cache")
    }
}

fn lock_file(home: &Path) -> Result<File, ExecutorError> {
    std::fs::create_dir_all(home).at("create", home)?;
    let path = home.join("lock");
    let mut options = File::options();
    Ok(options
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .at("open", &path)?)
}

/// Lets the lock's time say when the cache was last used: a prune goes by it.
fn note_use(lock: &File) -> rustix::io::Result<()> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::futimens(lock, &times)
}

/// Makes a cache's directory if it is new.
fn prepare_cache(home: &Path, cache: &CacheMount) -> Result<PathBuf, ExecutorError> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let files = home.join("files");
    match std::fs::create_dir(&files) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(files),
        result => result.at("create", &files)?,
    }
    std::fs::write(home.join("id"), &cache.id).at("write", home.join("id"))?;
    chown(&files, Some(cache.uid), Some(cache.gid)).at("change owner of", &files)?;
    let permissions = std::fs::Permissions::from_mode(cache.mode);
    std::fs::set_permissions(&files, permissions).at("set permissions of", &files)?;
    Ok(files)
}
