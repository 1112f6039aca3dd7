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
        // No sweep looks on until this one has its lock.
        let birth = File::open(parent).at("open", parent)?;
        rustix::fs::flock(&birth, FlockOperation::LockShared).at("lock", parent)?;
        let path = parent.join(format!("{}-{:016x}", std::process::id(), random()));
        fs::create_dir(&path).at("create", &path)?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).at("create", &lock_path)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_path)?;
        Ok(Self {
            path,
            next: AtomicU64::new(0),
            _lock: lock,
        })
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

    /// A file without a name, which is gone when it is closed.
    pub fn unnamed_file(&self) -> Result<File, IoError> {
        let path = self.new_path();
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .at("create", &path)?;
        fs::remove_file(&path).at("remove", &path)?;
        Ok(file)
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

/// Removes what has no lock. While others are being made it is left to a later sweep.
fn sweep(parent: &Path) {
    let (Ok(births), Ok(entries)) = (File::open(parent), fs::read_dir(parent)) else {
        return;
    };
    if rustix::fs::flock(&births, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let is_abandoned = |path: &PathBuf| match File::open(path.join("lock")) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        // Its process died before it came to the lock.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let abandoned: Vec<PathBuf> = paths.filter(is_abandoned).collect();
    // Nobody has to wait until they are removed.
    drop(births);
    abandoned.iter().for_each(|path| remove_tree(path));
}

/// Random bits for names.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Names need not be unpredictable, and creation fails if one is taken.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_left_that_died_before_it_had_a_lock_is_removed() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let left = parent.path().join("1-0");
        fs::create_dir(&left).expect("a directory");
        let first = Scratch::create(parent.path()).expect("writable");
        assert!(!left.exists());
        let second = Scratch::create(parent.path()).expect("writable");
        assert!(first.path().exists() && second.path().exists());
    }
}
