//! How much room things take up. What was measured is kept in the index with a stamp of its state,
//! so that a survey of a large store is quick.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::GcError;
use crate::io_error::{AtPath, IoError};
use crate::store::Store;

/// The file system that a store lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it, in bytes.
    pub total: u64,
    /// What is left for those without privileges, in bytes.
    pub free: u64,
}

impl DiskSpace {
    /// That of the file system that holds `path`.
    pub fn at(path: &Path) -> Result<Self, IoError> {
        let stat = rustix::fs::statvfs(path).at("measure the disk of", path)?;
        Ok(Self {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }
}

/// A directory that is measured as one.
pub(super) struct Measured {
    pub(super) bytes: u64,
    /// When its state changed last, in seconds since 1970.
    pub(super) changed: i64,
}

/// The directories directly below some of the store's.
pub(super) struct Measures(HashMap<PathBuf, Measured>);

/// Directories whose entries are measured as one. The state of a layer shows in its directory's
/// times, since forms of it come and go; that of the others in the lock or record beside the files.
const KINDS: [(&str, &str); 4] = [
    ("layers", ""),
    ("cache-mounts", "lock"),
    ("git", "lock"),
    ("builds", ""),
];

impl Measures {
    /// Measures what is new or changed since an earlier time; `busy` is what changes right now, as
    /// paths below the root.
    pub(super) fn take(store: &Store, busy: &HashSet<String>) -> Result<Self, GcError> {
        let mut known = store.index().measured()?;
        let mut measures = HashMap::new();
        let mut unknown = Vec::new();
        for (kind, witness) in KINDS {
            let directory = store.root().join(kind);
            for name in names(&directory)? {
                let path = directory.join(&name);
                let Some(changed) = stamp(&path, witness)? else {
                    continue;
                };
                let name = format!("{kind}/{}", name.to_string_lossy());
                match known.remove(&name) {
                    Some((stamp, bytes)) if stamp == changed && !busy.contains(&name) => {
                        let changed = changed / 1_000_000_000;
                        measures.insert(path, Measured { bytes, changed });
                    }
                    _ => unknown.push((path, name, changed)),
                }
            }
        }
        let walked = unknown.into_par_iter().map(|(path, name, changed)| {
            let bytes = Walk::default().measure(&path)?;
            Ok((path, name, changed, bytes))
        });
        let walked: Vec<_> = walked.collect::<Result<_, IoError>>()?;
        let mut news = Vec::new();
        for (path, name, changed, bytes) in walked {
            if !busy.contains(&name) {
                news.push((name, changed, bytes));
            }
            let changed = changed / 1_000_000_000;
            measures.insert(path, Measured { bytes, changed });
        }
        let mut gone: Vec<String> = known.into_keys().collect();
        gone.sort();
        if !news.is_empty() || !gone.is_empty() {
            // Whoever surveys next only takes longer.
            let _ = store.index().put_measured(&news, &gone);
        }
        Ok(Self(measures))
    }

    /// Takes the measure of a directory, if there was one.
    pub(super) fn remove(&mut self, path: &Path) -> Option<Measured> {
        self.0.remove(path)
    }
}

/// When what tells a directory's state changed last, in nanoseconds since 1970; `None` if it is gone.
fn stamp(path: &Path, witness: &str) -> Result<Option<i64>, IoError> {
    let beside = path.join(witness);
    let path = if witness.is_empty() || !beside.exists() {
        path
    } else {
        &beside
    };
    Ok(look_at(path)?.map(|metadata| metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()))
}

/// What is at a path; `None` for what goes away meanwhile, or lies so deep in a layer that no path
/// leads there.
pub(super) fn look_at(path: &Path) -> Result<Option<Metadata>, IoError> {
    match fs::symlink_metadata(path) {
        Err(error) if is_out_of_reach(&error) => Ok(None),
        metadata => metadata.at("look at", path).map(Some),
    }
}

/// What a file or tree takes up, in bytes; nothing if it is gone.
pub(crate) fn measure(path: &Path) -> Result<u64, IoError> {
    Walk::default().measure(path)
}

#[derive(Default)]
struct Walk {
    /// Devices and inodes of files with several links.
    seen: HashSet<(u64, u64)>,
}

impl Walk {
    fn measure(&mut self, path: &Path) -> Result<u64, IoError> {
        let Some(metadata) = look_at(path)? else {
            return Ok(0);
        };
        let mut bytes = self.blocks(&metadata);
        if metadata.is_dir() {
            for name in names(path)? {
                bytes += self.measure(&path.join(name))?;
            }
        }
        Ok(bytes)
    }

    fn blocks(&mut self, metadata: &Metadata) -> u64 {
        let shared = !metadata.is_dir() && metadata.nlink() > 1;
        if shared && !self.seen.insert((metadata.dev(), metadata.ino())) {
            return 0;
        }
        metadata.blocks() * 512
    }
}

/// What is directly in a directory, which need not exist.
pub(super) fn names(directory: &Path) -> Result<Vec<OsString>, IoError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_out_of_reach(&error) => return Ok(Vec::new()),
        entries => entries.at("list", directory)?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    names.collect::<Result<_, _>>().at("list", directory)
}

fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::InvalidFilename
    )
}
