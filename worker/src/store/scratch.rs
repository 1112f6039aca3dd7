//! Work in progress: a directory of this process, which others remove once the process is gone.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::disk::{Disk, DiskFile};
use crate::io_error::{AtPath, IoError};

/// A directory for work in progress. It is removed when dropped, or by another process when the
/// kernel has let go of its lock because this process died.
pub struct Scratch {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    next: AtomicU64,
    lock: File,
    has_put: AtomicBool,
}

impl Scratch {
    /// Makes one below `parent`, and removes those that dead processes left there.
    pub(super) fn create(parent: &Path, disk: Arc<dyn Disk>) -> Result<Self, IoError> {
        fs::create_dir_all(parent).at("create", parent)?;
        sweep(parent);
        // No sweep looks on until this one has its lock.
        let birth = File::open(parent).at("open", parent)?;
        rustix::fs::flock(&birth, FlockOperation::LockShared).at("lock", parent)?;
        let path = parent.join(new_name());
        fs::create_dir(&path).at("create", &path)?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).at("create", &lock_path)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_path)?;
        Ok(Self {
            path,
            disk,
            next: AtomicU64::new(0),
            lock,
            has_put: AtomicBool::new(false),
        })
    }

    /// The file whose lock tells that this process lives.
    pub(super) fn lock(&self) -> Result<File, IoError> {
        self.lock.try_clone().at("open", &self.path)
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

    /// A new file in it, to be read and written.
    pub fn new_file(&self) -> Result<(PathBuf, DiskFile), IoError> {
        let path = self.new_path();
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path);
        let file = DiskFile::new(Arc::clone(&self.disk), file.at("create", &path)?);
        Ok((path, file))
    }

    /// A new file without a name: it is gone when it is closed.
    pub fn new_unnamed_file(&self) -> Result<DiskFile, IoError> {
        let (path, file) = self.new_file()?;
        fs::remove_file(&path).at("remove", &path)?;
        Ok(file)
    }

    /// Moves what is finished to its place.
    pub(crate) fn put(&self, finished: &Path, place: &Path) -> std::io::Result<()> {
        self.has_put.store(true, Ordering::Relaxed);
        self.disk.rename(finished, place)
    }

    /// Writes a small file whole or not at all; several processes may do so at once.
    pub(crate) fn put_bytes(&self, bytes: &[u8], place: &Path) -> Result<(), IoError> {
        let (path, mut file) = self.new_file()?;
        let written = file.write_all(bytes).and_then(|()| self.put(&path, place));
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&path);
        }
        written.at("write", place)
    }

    /// Whether anything was moved from here to its place.
    pub fn has_put(&self) -> bool {
        self.has_put.load(Ordering::Relaxed)
    }

    /// What writes go to.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
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
    let entries = entries.flatten();
    let own = entries.filter(|entry| maker(&entry.file_name()).is_some());
    let paths = own.map(|entry| entry.path());
    let abandoned: Vec<PathBuf> = paths.filter(is_abandoned).collect();
    // Nobody has to wait until they are removed.
    drop(births);
    abandoned.iter().for_each(|path| remove_tree(path));
}

fn new_name() -> String {
    format!("{}-{:016x}", std::process::id(), random())
}

/// The number of the process that made the scratch directory of that name; nothing for other names.
pub(super) fn maker(name: &OsStr) -> Option<u32> {
    let (process, random) = name.to_str()?.split_once('-')?;
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    process.parse().ok().filter(|_| is_random)
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
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn what_a_process_left_that_died_before_it_had_a_lock_is_removed() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let left = parent.path().join("1-0000000000000000");
        let foreign = parent.path().join("1-0");
        for path in [&left, &foreign] {
            fs::create_dir(path).expect("a directory");
        }
        let first = Scratch::create(parent.path(), Arc::new(RealDisk)).expect("writable");
        assert!(!left.exists() && foreign.exists());
        let second = Scratch::create(parent.path(), Arc::new(RealDisk)).expect("writable");
        assert!(first.path().exists() && second.path().exists());
    }
}
