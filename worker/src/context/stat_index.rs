//! What was known of a context's files when they were last read.
//!
//! A file whose device, inode, size, modification and change time are as they were has the same
//! bytes, unless it was written in the very moment in which it was read: a file whose change time is
//! that close to the scan is not recorded (git calls such entries racily clean).

use std::collections::HashMap;
use std::path::Path;

use kiln_solver::{ContentDigest, RelPath};
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::io_error::IoError;
use crate::tree::{Timestamp, Xattrs};

/// `kilnstat`, then the version.
const HEADER: &[u8] = b"kilnstat\x01";
/// How old a change must be before a file's times can be trusted, in nanoseconds: more than the tick
/// of any clock that file systems stamp with.
const SETTLED: i128 = 50_000_000;

/// What identifies the state of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanoseconds = |value| u32::try_from(value).unwrap_or(0);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }

    /// Whether the last change lies far enough before `scan_start` for the stamp to be trusted.
    pub(super) fn is_settled_at(&self, scan_start: Timestamp) -> bool {
        let nanoseconds =
            |seconds: i64, rest: u32| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        let start = nanoseconds(scan_start.seconds, scan_start.nanoseconds);
        [self.modified, self.changed]
            .iter()
            .all(|(seconds, rest)| nanoseconds(*seconds, *rest) + SETTLED < start)
    }
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) digest: ContentDigest,
    pub(super) xattrs: Xattrs,
}

/// The files of one directory, sorted by name.
pub(super) type KnownDirectory = Vec<(Box<[u8]>, Known)>;

/// What is known of files, by directory.
#[derive(Debug, Default)]
pub(super) struct StatIndex {
    directories: HashMap<RelPath, KnownDirectory>,
}

impl StatIndex {
    /// Loads what an earlier build saved; what cannot be read is not known.
    pub(super) fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let saved = bytes
            .strip_prefix(HEADER)
            .and_then(|body| postcard::from_bytes(body).ok());
        let saved: Vec<(RelPath, KnownDirectory)> = saved.unwrap_or_default();
        Self {
            directories: saved.into_iter().collect(),
        }
    }

    /// The files of a directory.
    pub(super) fn directory(&self, path: &RelPath) -> &[(Box<[u8]>, Known)] {
        self.directories.get(path).map_or(&[], Vec::as_slice)
    }

    /// Adds what is known of a directory, in place of what was.
    pub(super) fn insert(&mut self, path: RelPath, files: KnownDirectory) {
        self.directories.insert(path, files);
    }

    /// Adds all of another index.
    pub(super) fn merge(&mut self, other: StatIndex) {
        self.directories.extend(other.directories);
    }

    /// Saves this index together with what an older one knows of other directories; does nothing if
    /// there is nothing new.
    pub(super) fn save_over(&self, older: &StatIndex, path: &Path) -> Result<(), IoError> {
        if self
            .directories
            .iter()
            .all(|(path, files)| older.directory(path) == &files[..])
        {
            return Ok(());
        }
        let kept = older
            .directories
            .iter()
            .filter(|(path, _)| !self.directories.contains_key(path));
        let mut all: Vec<(&RelPath, &KnownDirectory)> =
            self.directories.iter().chain(kept).collect();
        all.sort_by_key(|(path, _)| *path);
        let bytes = postcard::to_extend(&all, HEADER.to_vec())
            .expect("the index holds nothing that postcard refuses");
        crate::store::write_new(path, &bytes)
    }
}

/// The name of the file for a context at that path.
pub(super) fn file_name(root: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    blake3::hash(root.as_os_str().as_bytes()).to_hex()[..32].to_owned()
}
