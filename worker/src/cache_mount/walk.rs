//! What a cache holds, while steps may be writing to it: from its directory to the entries of a tar.
//!
//! Every directory is opened below the cache's own and through no symbolic link, so that a step that
//! puts a link where a directory was shows nothing of the machine.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kiln_solver::{ContentDigest, RelPath};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;

use crate::io_error::{AtPath, IoError};
use crate::layer::{mtime, point_links_at_first_names, read_xattrs};
use crate::rooted::{described, open_beneath, through};
use crate::tree::{DirectoryKind, Entry, EntryKind};

/// What a cache holds.
pub(super) struct Found {
    /// In the order of their paths, the cache's own directory left out.
    pub(super) entries: Vec<Entry>,
    /// Devices and sockets.
    pub(super) left_out: Vec<RelPath>,
}

/// Lists a cache. What comes or goes meanwhile is there or not.
pub(super) fn walk(root: &OwnedFd, root_path: &Path) -> Result<Found, IoError> {
    let mut walk = Walk {
        root,
        root_path,
        found: Found {
            entries: Vec::new(),
            left_out: Vec::new(),
        },
        links: HashMap::new(),
        pending: vec![RelPath::root()],
    };
    while let Some(directory) = walk.pending.pop() {
        walk.list(&directory)?;
    }
    let mut found = walk.found;
    found.entries.sort_by(|a, b| a.path.cmp(&b.path));
    // A directory that changes while it is read may tell a name twice.
    found.entries.dedup_by(|b, a| a.path == b.path);
    point_links_at_first_names(&mut found.entries);
    found.left_out.sort();
    Ok(found)
}

struct Walk<'w> {
    root: &'w OwnedFd,
    root_path: &'w Path,
    found: Found,
    /// The first name met of each file that has several, by device and inode.
    links: HashMap<(u64, u64), RelPath>,
    /// Directories to be listed.
    pending: Vec<RelPath>,
}

impl Walk<'_> {
    fn list(&mut self, path: &RelPath) -> Result<(), IoError> {
        let absolute = self.absolute(path);
        let opened = open_beneath(self.root, path, OFlags::RDONLY | OFlags::DIRECTORY);
        let Some(directory) = unless_gone(opened).at("open", &absolute)? else {
            return Ok(());
        };
        for entry in Dir::read_from(&directory).at("read", &absolute)? {
            let entry = entry.at("read", &absolute)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.add(&directory, path.join_name(name))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, directory: &OwnedFd, path: RelPath) -> Result<(), IoError> {
        let absolute = self.absolute(&path);
        let name = path.file_name().unwrap_or_default();
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = unless_gone(stat).at("stat", &absolute)? else {
            return Ok(());
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(&stat),
            FileType::Directory => EntryKind::Directory(DirectoryKind::Merged),
            FileType::Symlink => {
                let target = readlinkat(directory, name, Vec::new());
                let Some(target) = unless_gone(target).at("read", &absolute)? else {
                    return Ok(());
                };
                EntryKind::Symlink {
                    target: target.as_bytes().into(),
                }
            }
            FileType::Fifo => EntryKind::Fifo,
            _ => {
                self.found.left_out.push(path);
                return Ok(());
            }
        };
        // Attributes of links can be had by path only; the directory's own is pinned by its descriptor.
        let xattrs = match read_xattrs(&through(directory, name)) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            xattrs => xattrs?,
        };
        match kind {
            EntryKind::Directory(_) => self.pending.push(path.clone()),
            EntryKind::File { .. } if stat.st_nlink > 1 => {
                self.links.insert((stat.st_dev, stat.st_ino), path.clone());
            }
            _ => {}
        }
        self.found.entries.push(Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: mtime(&stat),
            xattrs,
        });
        Ok(())
    }

    fn file(&self, stat: &Stat) -> EntryKind {
        if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
            return EntryKind::HardLink {
                target: first.clone(),
            };
        }
        EntryKind::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            digest: ContentDigest::new([0; 32]),
            offset: 0,
        }
    }

    fn absolute(&self, path: &RelPath) -> PathBuf {
        described(self.root_path, path)
    }
}

/// `None` for what went away, or became something else, since it was seen.
fn unless_gone<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => Ok(None),
        other => other.map(Some),
    }
}
