//! The caches of a command: found by name, held against other steps and other builds, and filled when
//! they are new. What a cache is on disk, [`crate::cache_mount`] says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use kiln_solver::StepReporter;
use kiln_solver::op::{CacheMount, Exec, InputIndex, MountKind, Sharing};
use kiln_solver::{LogStream, RelPath};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::error::ExecutorError;
use super::file::{copied, entry_of, give};
use super::output::Output;
use crate::cache_mount::{CacheIdentity, CacheSeed, Hold, WhenHeld, hold, note_use};
use crate::io_error::AtPath;
use crate::layer::{Contents, extract};
use crate::sandbox;
use crate::store::Store;
use crate::tree::Entry;

/// The name of the file in a cache that began with a file: that is what steps see, not its directory.
const ONLY_FILE: &str = "file";

/// The caches that one command uses, by name.
#[derive(Default)]
pub(super) struct Caches(BTreeMap<String, Held>);

/// A cache that is ours to use.
struct Held {
    files: PathBuf,
    /// Whether it began with a file.
    is_file: bool,
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

    /// What a mount of a cache that was taken shows.
    pub(super) fn source(&self, cache: &CacheMount, inputs: &[Output]) -> sandbox::Source {
        let held = &self.0[&name(cache, inputs)];
        let directory = held.files.clone();
        let within = |path: String| sandbox::Source::Within {
            directory: directory.clone(),
            path,
        };
        match cache.from {
            None => within(cache.source.to_string()),
            Some(_) if held.is_file => within(ONLY_FILE.to_owned()),
            // It was filled with nothing else.
            Some(_) => sandbox::Source::Host(directory),
        }
    }
}

fn identity(cache: &CacheMount, inputs: &[Output]) -> CacheIdentity {
    let content = |from: InputIndex| match &inputs[from.0] {
        Output::Snapshot(snapshot) => Some(snapshot.content()),
        Output::Context(_) => None,
    };
    CacheIdentity {
        id: cache.id.clone(),
        mode: cache.mode,
        uid: cache.uid,
        gid: cache.gid,
        seed: cache.from.map(|from| CacheSeed {
            content: content(from),
            source: String::from_utf8_lossy(cache.source.as_bytes()).into_owned(),
        }),
    }
}

fn name(cache: &CacheMount, inputs: &[Output]) -> String {
    identity(cache, inputs).name()
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
                let (files, is_file) = self.prepare(&home, cache)?;
                return Ok(Held {
                    files,
                    is_file,
                    _lock: lock,
                });
            }
        }
        unreachable!("nobody has that many caches")
    }

    /// Locks a cache as its sharing mode says; `None` if it is private and in use.
    fn lock(&self, home: &Path, cache: &CacheMount) -> Result<Option<File>, ExecutorError> {
        let tell = || {
            let id = cache.id.trim_start_matches('/');
            let line = format!("waiting for the cache {id}, which another step holds\n");
            self.reporter.log(LogStream::Stderr, line.as_bytes());
        };
        loop {
            fs::create_dir_all(home).at("create", home)?;
            let (how, when) = match cache.sharing {
                Sharing::Shared => (Hold::Shared, WhenHeld::Wait(&tell)),
                Sharing::Locked => (Hold::Exclusive, WhenHeld::Wait(&tell)),
                Sharing::Private => (Hold::Exclusive, WhenHeld::GiveUp),
            };
            if let Some(lock) = hold(home, how, when)? {
                note_use(&lock).at("write the time of", home.join("lock"))?;
                return Ok(Some(lock));
            }
            // A directory that a prune took away is made again.
            if cache.sharing == Sharing::Private && home.exists() {
                return Ok(None);
            }
        }
    }

    /// The directory of what steps see, made and filled if it is new, and whether that is a file. Of several
    /// that find it new at once, the first to rename wins.
    fn prepare(&self, home: &Path, cache: &CacheMount) -> Result<(PathBuf, bool), ExecutorError> {
        identity(cache, self.inputs).write(self.store.scratch(), home)?;
        let begins_with = match cache.from {
            None => None,
            Some(from) => Some((from, self.entry(from, &cache.source)?)),
        };
        let is_file = matches!(&begins_with, Some((_, entry)) if !entry.is_directory());
        let files = home.join("files");
        if files.exists() {
            return Ok((files, is_file));
        }
        let new = self.store.scratch().new_directory()?;
        match begins_with {
            // As in BuildKit: special bits are not for a directory that steps share.
            None => give(&new, cache.uid, cache.gid, cache.mode & 0o777)?,
            Some((from, entry)) => self.fill(&new, from, &cache.source, &entry)?,
        }
        // An empty directory would be replaced, though a step may see it already.
        match rustix::fs::renameat_with(CWD, &new, CWD, &files, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => fs::remove_dir_all(&new).at("remove", &new)?,
            result => result.at("move into place", &files)?,
        }
        Ok((files, is_file))
    }

    /// What a cache begins with.
    fn entry(&self, from: InputIndex, source: &RelPath) -> Result<Entry, ExecutorError> {
        entry_of(self.store, self.inputs, from, source)
    }

    fn fill(
        &self,
        new: &Path,
        from: InputIndex,
        source: &RelPath,
        entry: &Entry,
    ) -> Result<(), ExecutorError> {
        let name = RelPath::root().join_name(ONLY_FILE.as_bytes());
        let file = (!entry.is_directory()).then_some(&name);
        let layer = copied(self.store, self.inputs, from, source, file)?;
        let tree = self.store.layers().tree(&layer.diff_id)?;
        if let Some(contents) = Contents::open(self.store, &layer.diff_id)? {
            extract(&tree, &contents, new, self.store.scratch().disk())?;
        }
        match file {
            None => give(new, entry.uid, entry.gid, entry.mode),
            Some(_) => Ok(()),
        }
    }
}
