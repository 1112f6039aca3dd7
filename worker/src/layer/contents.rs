//! Where the bytes of a file are, whatever form its layer has.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_solver::{DiffId, RelPath};
use rustix::fs::{Mode, OFlags};

use super::diff::mtime;
use crate::io_error::{AtPath, IoError};
use crate::rooted::{described, open_file_beneath};
use crate::store::{LayerError, Store};
use crate::tree::{Entry, EntryKind};

/// Where the bytes of one file are.
#[derive(Clone)]
pub enum FileBytes {
    /// In a file below a directory; no symbolic link is followed on the way.
    Below {
        /// The directory.
        directory: Arc<OwnedFd>,
        /// Its path, for error messages.
        directory_path: Arc<PathBuf>,
        /// The file.
        path: RelPath,
    },
    /// In a part of a file.
    Range {
        /// The whole file.
        file: Arc<File>,
        /// Where the part begins.
        offset: u64,
    },
    /// In memory.
    Memory(Arc<[u8]>),
}

impl FileBytes {
    /// Opens the bytes; `size` ends a [`FileBytes::Range`].
    pub fn open(&self, size: u64) -> Result<Box<dyn Read + Send>, IoError> {
        match self {
            FileBytes::Below {
                directory,
                directory_path,
                path,
            } => {
                let file = open_file_beneath(directory, path)
                    .at("open", described(directory_path, path))?;
                Ok(Box::new(file))
            }
            FileBytes::Range { file, offset } => Ok(Box::new(RangeReader {
                file: Arc::clone(file),
                offset: *offset,
                left: size,
            })),
            FileBytes::Memory(bytes) => Ok(Box::new(io::Cursor::new(Arc::clone(bytes)))),
        }
    }

    /// Whether a file below a directory has the size and the time that its entry says; other bytes do not
    /// change.
    pub(super) fn is_still(&self, entry: &Entry) -> bool {
        let FileBytes::Below {
            directory, path, ..
        } = self
        else {
            return true;
        };
        let EntryKind::File { size, .. } = entry.kind else {
            return true;
        };
        let stat = open_file_beneath(directory, path).and_then(rustix::fs::fstat);
        stat.is_ok_and(|stat| {
            u64::try_from(stat.st_size) == Ok(size) && mtime(&stat) == entry.mtime
        })
    }

    /// What to call the bytes in an error message.
    pub fn describe(&self, fallback: &RelPath) -> PathBuf {
        match self {
            FileBytes::Below {
                directory_path,
                path,
                ..
            } => described(directory_path, path),
            _ => PathBuf::from(fallback.to_string()),
        }
    }
}

struct RangeReader {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let length = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

/// The files of one layer, from its tar or its directory.
#[derive(Clone)]
pub enum Contents {
    /// The uncompressed tar.
    Tar(Arc<File>),
    /// The directory.
    Directory {
        /// The open directory.
        directory: Arc<OwnedFd>,
        /// Its path.
        path: Arc<PathBuf>,
    },
}

impl Contents {
    /// Opens a layer that the store has as a tar or as a directory; `None` if it has only a
    /// compressed blob.
    pub fn open(store: &Store, diff_id: &DiffId) -> Result<Option<Self>, LayerError> {
        let digest = (*diff_id).into();
        if store.has_blob(&digest) {
            let tar = store.blob_path(&digest);
            let file = File::open(&tar).at("open", tar)?;
            return Ok(Some(Contents::Tar(Arc::new(file))));
        }
        match store.layers().directory(diff_id, "") {
            Some(path) => Ok(Some(Contents::open_directory(path)?)),
            None => Ok(None),
        }
    }

    /// Opens a directory whose files are a layer's.
    pub fn open_directory(path: PathBuf) -> Result<Self, IoError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty()).at("open", &path)?;
        Ok(Contents::Directory {
            directory: Arc::new(directory),
            path: Arc::new(path),
        })
    }

    /// Where the bytes of a file of this layer are; for what is no file, nothing.
    pub fn bytes(&self, entry: &Entry) -> FileBytes {
        let EntryKind::File { offset, .. } = entry.kind else {
            return FileBytes::Memory(Arc::from([]));
        };
        match self {
            Contents::Tar(file) => FileBytes::Range {
                file: Arc::clone(file),
                offset,
            },
            Contents::Directory { directory, path } => FileBytes::Below {
                directory: Arc::clone(directory),
                directory_path: Arc::clone(path),
                path: entry.path.clone(),
            },
        }
    }
}
