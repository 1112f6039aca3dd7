//! One entry of a file tree.

use kiln_solver::{ContentDigest, RelPath};
use serde::{Deserialize, Serialize};

/// A point in time as file systems keep it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    pub fn of_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    /// The present, by the machine's clock.
    pub fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self {
            seconds: now.as_second(),
            nanoseconds: u32::try_from(now.subsec_nanosecond()).unwrap_or(0),
        }
    }
}

/// Extended attributes, sorted by name.
pub type Xattrs = Vec<(Box<[u8]>, Box<[u8]>)>;

/// A file, directory, link, device or deletion in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub path: RelPath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Owner, as inside the image.
    pub uid: u32,
    /// Group, as inside the image.
    pub gid: u32,
    /// When its content changed last.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// BLAKE3 of its bytes.
        digest: ContentDigest,
        /// Where its bytes begin in the layer's uncompressed tar.
        offset: u64,
    },
    /// A directory.
    Directory(DirectoryKind),
    /// A symbolic link.
    Symlink {
        /// What it says, unresolved.
        target: Box<[u8]>,
    },
    /// A further name of a file of the same layer.
    HardLink {
        /// The file, which comes earlier in the layer's order or is not a hard link itself.
        target: RelPath,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Nothing: what the layers below have here is gone.
    Whiteout,
}

/// How a directory relates to the layers below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryKind {
    /// Shows what they have, too.
    Merged,
    /// Hides what they have.
    Opaque,
    /// Does not stand in the layer itself, which only has something below it: its metadata are
    /// those of the layers below, if they have it.
    Implied,
}

impl Entry {
    /// Whether this is a directory of any kind.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, EntryKind::Directory(_))
    }

    /// A directory that stands in the layer, owned by root.
    pub fn directory(path: RelPath, mode: u32, mtime: Timestamp) -> Self {
        Self {
            path,
            kind: EntryKind::Directory(DirectoryKind::Merged),
            mode,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: Xattrs::new(),
        }
    }

    /// Feeds everything but the modification time (and where bytes lie) to a hash. Lengths go
    /// before what varies; all integers are little-endian.
    pub fn hash_content(&self, hasher: &mut blake3::Hasher) {
        let sized = |hasher: &mut blake3::Hasher, bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        sized(hasher, self.path.as_bytes());
        let mut numbers = [0; 12];
        numbers[..4].copy_from_slice(&self.mode.to_le_bytes());
        numbers[4..8].copy_from_slice(&self.uid.to_le_bytes());
        numbers[8..].copy_from_slice(&self.gid.to_le_bytes());
        hasher.update(&numbers);
        match &self.kind {
            EntryKind::File {
                size,
                digest,
                offset: _,
            } => {
                hasher
                    .update(b"f")
                    .update(&size.to_le_bytes())
                    .update(digest.as_bytes());
            }
            EntryKind::Directory(DirectoryKind::Merged) => {
                hasher.update(b"d");
            }
            EntryKind::Directory(DirectoryKind::Opaque) => {
                hasher.update(b"o");
            }
            EntryKind::Directory(DirectoryKind::Implied) => {
                hasher.update(b"i");
            }
            EntryKind::Symlink { target } => sized(hasher.update(b"l"), target),
            EntryKind::HardLink { target } => sized(hasher.update(b"h"), target.as_bytes()),
            EntryKind::Fifo => {
                hasher.update(b"p");
            }
            EntryKind::CharDevice { major, minor } => {
                hasher
                    .update(b"c")
                    .update(&major.to_le_bytes())
                    .update(&minor.to_le_bytes());
            }
            EntryKind::BlockDevice { major, minor } => {
                hasher
                    .update(b"b")
                    .update(&major.to_le_bytes())
                    .update(&minor.to_le_bytes());
            }
            EntryKind::Whiteout => {
                hasher.update(b"w");
            }
        }
        hasher.update(&(self.xattrs.len() as u64).to_le_bytes());
        for (name, value) in &self.xattrs {
            sized(hasher, name);
            sized(hasher, value);
        }
    }
}
