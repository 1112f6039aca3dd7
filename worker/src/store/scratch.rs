//! Work in progress: a directory of this process, which others remove once the process is gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use crate::io_error::{AtPath, IoError};

/// A directory for work in progress. It is removed when dropped, or by another process when the
/// kernel has let go of its lock because this process died.
pub struct Scratch {
    path: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Scratch {
    /// Makes one below `parent`, and removes those that dead processes left there.
    pub fn create(parent: &Path) -> Result<Self, IoError> {
        fs::create_dir_all(parent).at("create", parent)?;
        sweep(parent);
        loop {
            let path = parent.join(format!("{}-{:016x}", std::process::id(), random()));
            fs::create_dir(&path).at("create", &path)?;
            let lock_path = path.join("lock");
            // A sweep may see the directory before it is locked and remove it: then try again.
            let Ok(lock) = File::create(&lock_path) else {
                continue;
            };
            let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && lock_path.exists() {
                return Ok(Self {
                    path,
                    next: AtomicU64::new(0),
                    _lock: lock,
                });
            }
        }
    }

    /// Removes it at once, though others may still hold it: for a process that is about to end.
    pub fn discard(&self) {
        remove_tree(&self.path);
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new path in it that nothing is at.
    pub fn new_path(&self) -> PathBuf {
        self.path
            .join(format!("{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new empty directory in it.
    pub fn new_directory(&self) -> Result<PathBuf, IoError> {
        let path = self.new_path();
        fs::create_dir(&path).at("create", &path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

/// Removes a tree as far as possible; what remains is left to the next sweep.
pub(crate) fn remove_tree(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let abandoned = match File::open(path.join("lock")) {
            Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
            // Its process died, or is just making it: see `create`.
            Err(_) => is_older_than_a_minute(&path),
        };
        if abandoned {
            remove_tree(&path);
        }
    }
}

fn is_older_than_a_minute(path: &Path) -> bool {
    let age = fs::metadata(path)
        .and_then(|m| m.modified())
        .map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age.as_secs() > 60)
}

/// Random bits for names.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Names need not be unpredictable, and creation fails if one is taken.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}
