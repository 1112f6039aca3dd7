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

use crate::tree::{Timestamp, Xattrs};

/// `kilnstat`, then the version.
const HEADER: &[u8] = b"kilnstat\x01";
/// How old a change must be before a file's times can be trusted, in nanoseconds: more than the tick
/// of any clock that file systems stamp with.
const SETTLED: i128 = 50_000_000;
/// The same where a time may have been cut to whole seconds, as by file systems that keep nothing else; of
/// FAT, every other second.
const SETTLED_SECONDS: i128 = 2_000_000_000;

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
        [self.modified, self.changed].iter().all(|(seconds, rest)| {
            let tick = if *rest == 0 { SETTLED_SECONDS } else { SETTLED };
            nanoseconds(*seconds, *rest) + tick < start
        })
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

/// What is known of files, by directory; each directory's files stay encoded until they are asked
/// for, since most are when nothing has changed, one after the other.
///
/// # Encoding
/// [`HEADER`], then for each directory, sorted, its path and its files in postcard's format, each
/// after its length as u32, little-endian.
#[derive(Debug, Default)]
pub(super) struct StatIndex {
    directories: HashMap<RelPath, Box<[u8]>>,
}

impl StatIndex {
    /// Loads what an earlier build saved; what cannot be read is not known.
    pub(super) fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let directories = bytes
            .strip_prefix(HEADER)
            .and_then(decode)
            .unwrap_or_default();
        Self { directories }
    }

    /// The files of a directory.
    pub(super) fn directory(&self, path: &RelPath) -> KnownDirectory {
        let encoded = self.directories.get(path);
        encoded
            .and_then(|bytes| postcard::from_bytes(bytes).ok())
            .unwrap_or_default()
    }

    /// Adds what is known of a directory, if that is news to `older`.
    pub(super) fn learn(&mut self, path: RelPath, files: &KnownDirectory, older: &StatIndex) {
        let encoded =
            postcard::to_stdvec(files).expect("the index holds nothing that postcard refuses");
        if older
            .directories
            .get(&path)
            .is_none_or(|known| **known != *encoded)
        {
            self.directories.insert(path, encoded.into());
        }
    }

    /// Adds all of another index.
    pub(super) fn merge(&mut self, other: StatIndex) {
        self.directories.extend(other.directories);
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// The bytes of this index together with what an older one knows of other directories.
    pub(super) fn encode_over(&self, older: &StatIndex) -> Vec<u8> {
        let kept = older
            .directories
            .iter()
            .filter(|(path, _)| !self.directories.contains_key(path));
        let mut all: Vec<(&RelPath, &Box<[u8]>)> = self.directories.iter().chain(kept).collect();
        all.sort_by_key(|(path, _)| *path);
        let mut bytes = HEADER.to_vec();
        for (path, files) in all {
            push(&mut bytes, path.as_bytes());
            push(&mut bytes, files);
        }
        bytes
    }
}

fn push(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("no directory's files take 4 GiB to tell");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part);
}

fn decode(mut bytes: &[u8]) -> Option<HashMap<RelPath, Box<[u8]>>> {
    let mut directories = HashMap::new();
    let mut take = || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(part)
    };
    while let Some(path) = take() {
        directories.insert(RelPath::parse(path).ok()?, take()?.into());
    }
    Some(directories)
}

/// The name of the file for a context at that path.
pub(super) fn file_name(root: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    blake3::hash(root.as_os_str().as_bytes()).to_hex()[..32].to_owned()
}
