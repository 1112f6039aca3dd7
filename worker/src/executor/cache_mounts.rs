//! The directories of cache mounts: found by name, locked against other steps and other builds, and
//! filled when they are new.
//!
//! `cache-mounts/HEX/` of the store has a file `lock`, which those hold who use the cache, a file `id`,
//! and the directory `files`, which steps see.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_solver::StepReporter;
use kiln_solver::op::{CacheMount, Exec, InputIndex, MountKind, Sharing};
use kiln_solver::{LogStream, RelPath};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::error::ExecutorError;
use super::file::{copied_directory, give};
use super::output::Output;
use crate::io_error::AtPath;
use crate::layer::{Contents, extract};
use crate::store::Store;

/// The caches that one command uses, by name.
#[derive(Default)]
pub(super) struct Caches(BTreeMap<String, Held>);

/// A cache that is ours to use.
struct Held {
    files: PathBuf,
    _lock: File,
}

impl Caches {
    /// Takes all caches of a command, in the order of their names: so that no two commands wait for each
    /// other. Of two mounts of one cache the first says how it is shared.
    pub(super) fn take(
        store: &Store,
        exec: &Exec,
        inputs: &[Output],
        reporter: &StepReporter,
    ) -> Result<Self, ExecutorError> {
        let mut wanted: BTreeMap<String, &CacheMount> = BTreeMap::new();
        for mount in &exec.mounts {
            if let MountKind::Cache(cache) = &mount.kind {
                wanted.entry(name(cache, inputs)).or_insert(cache);
            }
        }
        let taking = Taking {
            store,
            inputs,
            reporter,
        };
        let mut held = BTreeMap::new();
        for (name, cache) in wanted {
            let cache = taking.take(&name, cache)?;
            held.insert(name, cache);
        }
        Ok(Self(held))
    }

    /// The files of a cache that was taken.
    pub(super) fn files(&self, cache: &CacheMount, inputs: &[Output]) -> &Path {
        &self.0[&name(cache, inputs)].files
    }
}

/// A cache has another directory for each owner and mode that it may begin with, and for each content.
fn name(cache: &CacheMount, inputs: &[Output]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(cache.id.as_bytes());
    if (cache.mode, cache.uid, cache.gid) != (0o755, 0, 0) {
        let owner = format!("\0{:o} {} {}", cache.mode, cache.uid, cache.gid);
        hasher.update(owner.as_bytes());
    }
    if let Some(InputIndex(from)) = cache.from {
        hasher.update(b"\0from");
        if let Output::Snapshot(snapshot) = &inputs[from] {
            hasher.update(snapshot.content().as_bytes());
        }
        hasher.update(cache.source.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

struct Taking<'t> {
    store: &'t Store,
    inputs: &'t [Output],
    reporter: &'t StepReporter,
}

impl Taking<'_> {
    fn take(&self, name: &str, cache: &CacheMount) -> Result<Held, ExecutorError> {
        self.store.directory("cache-mounts")?;
        // A private cache that is in use is left to whoever uses it: there is always one more.
        for number in 0_u64.. {
            let name = match number {
                0 => name.to_owned(),
                _ => format!("{name}-{number}"),
            };
            // From now on no prune takes it away.
            let home = self.store.lease("cache-mounts", &name)?;
            if let Some(lock) = self.lock(&home, cache)? {
                let files = self.prepare(&home, cache)?;
                return Ok(Held { files, _lock: lock });
            }
        }
        unreachable!("nobody has that many caches")
    }

    /// Locks a cache as its sharing mode says; `None` if it is private and in use.
    fn lock(&self, home: &Path, cache: &CacheMount) -> Result<Option<File>, ExecutorError> {
        loop {
            fs::create_dir_all(home).at("create", home)?;
            let path = home.join("lock");
            let file = open_lock(&path)?;
            let (at_once, waiting) = match cache.sharing {
                Sharing::Shared => (
                    FlockOperation::NonBlockingLockShared,
                    FlockOperation::LockShared,
                ),
                Sharing::Locked | Sharing::Private => (
                    FlockOperation::NonBlockingLockExclusive,
                    FlockOperation::LockExclusive,
                ),
            };
            match rustix::fs::flock(&file, at_once) {
                Err(Errno::WOULDBLOCK) if cache.sharing == Sharing::Private => return Ok(None),
                Err(Errno::WOULDBLOCK) => {
                    let id = cache.id.trim_start_matches('/');
                    let line = format!("waiting for the cache {id}, which another step holds\n");
                    self.reporter.log(LogStream::Stderr, line.as_bytes());
                    rustix::fs::flock(&file, waiting).at("lock", &path)?;
                }
                result => result.at("lock", &path)?,
            }
            if is_still_there(&file, &path) {
                note_use(&file).at("write the time of", &path)?;
                return Ok(Some(file));
            }
        }
    }

    /// The directory that steps see, made and filled if it is new. Of several that find it new at once, the
    /// first to rename wins.
    fn prepare(&self, home: &Path, cache: &CacheMount) -> Result<PathBuf, ExecutorError> {
        let files = home.join("files");
        if files.exists() {
            return Ok(files);
        }
        let id = home.join("id");
        fs::write(&id, &cache.id).at("write", &id)?;
        let new = self.store.scratch().new_directory()?;
        match cache.from {
            None => give(&new, cache.uid, cache.gid, cache.mode)?,
            Some(from) => self.fill(&new, from, &cache.source)?,
        }
        // An empty directory would be replaced, though a step may see it already.
        match rustix::fs::renameat_with(CWD, &new, CWD, &files, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => fs::remove_dir_all(&new).at("remove", &new)?,
            result => result.at("move into place", &files)?,
        }
        Ok(files)
    }

    fn fill(&self, new: &Path, from: InputIndex, source: &RelPath) -> Result<(), ExecutorError> {
        let (layer, root) = copied_directory(self.store, self.inputs, from, source)?;
        let tree = self.store.layers().tree(&layer.diff_id)?;
        if let Some(contents) = Contents::open(self.store, &layer.diff_id)? {
            extract(&tree, &contents, new, self.store.scratch().disk())?;
        }
        give(new, root.uid, root.gid, root.mode)
    }
}

fn open_lock(path: &Path) -> Result<File, ExecutorError> {
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    Ok(options.open(path).at("open", path)?)
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

/// Whoever removed the cache while we waited has left us the lock of nothing.
fn is_still_there(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
