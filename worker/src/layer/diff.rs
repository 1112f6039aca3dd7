//! What a step changed: from an overlay's upper directory to the entries of a layer.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kiln_solver::{ContentDigest, RelPath};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, statat};
use rustix::io::Errno;

use super::contents::Contents;
use super::overlay::{self, OPAQUE_ATTRIBUTES};
use super::pack::PackEntry;
use crate::io_error::{AtPath, IoError};
use crate::rooted::{described, open_beneath, open_file_beneath, through};
use crate::tree::{DirectoryKind, Entry, EntryKind, Timestamp, View, Xattrs, needed};

/// Why an upper directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DiffError(#[from] IoError);

/// The entries of the layer that turns `below` into what an overlay of it with `upper` shows, ready
/// to be packed. Nobody else may write to `upper`.
pub fn diff(
    upper: &Path,
    below: &View,
) -> Result<impl ExactSizeIterator<Item = PackEntry> + Send + use<>, DiffError> {
    let contents = Contents::open_directory(upper.to_owned())?;
    let Contents::Directory { directory, .. } = &contents else {
        unreachable!("it was opened as a directory")
    };
    let mut walk = Walk {
        upper: directory,
        upper_path: upper,
        below,
        found: Vec::new(),
        links: HashMap::new(),
    };
    walk.directory(&RelPath::root())?;
    let mut entries = walk.found;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    point_links_at_first_names(&mut entries);
    let changed = without_unchanged(entries, below, &contents)?;
    Ok(changed.into_iter().map(move |entry| PackEntry {
        bytes: contents.bytes(&entry),
        digest_is_known: false,
        entry,
    }))
}

struct Walk<'w> {
    upper: &'w OwnedFd,
    /// Where it is, for error messages.
    upper_path: &'w Path,
    below: &'w View,
    found: Vec<Entry>,
    /// The first name met of each file that has several, by device and inode.
    links: HashMap<(u64, u64), RelPath>,
}

impl Walk<'_> {
    fn directory(&mut self, path: &RelPath) -> Result<(), IoError> {
        let absolute = self.absolute(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = open_beneath(self.upper, path, flags).at("open", &absolute)?;
        let mut directories = Vec::new();
        for entry in Dir::read_from(&opened).at("read", &absolute)? {
            let entry = entry.at("read", &absolute)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                let path = path.join_name(name);
                if self.entry(&opened, name, &path)? {
                    directories.push(path);
                }
            }
        }
        // However deep they are, one is open at a time.
        drop(opened);
        directories.iter().try_for_each(|path| self.directory(path))
    }

    /// Takes down what is at a name of a directory; whether it is a directory.
    fn entry(&mut self, parent: &OwnedFd, name: &[u8], path: &RelPath) -> Result<bool, IoError> {
        let absolute = self.absolute(path);
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).at("stat", &absolute)?;
        let place = through(parent, name);
        let Some(kind) = self.kind(path, &place, &stat).map_err(|error| IoError {
            path: absolute.clone(),
            ..error
        })?
        else {
            return Ok(false);
        };
        let is_directory = matches!(kind, EntryKind::Directory(_));
        // When something was deleted is not part of what a layer is.
        let (mtime, xattrs) = match kind {
            EntryKind::Whiteout => (Timestamp::default(), Xattrs::new()),
            _ => {
                let xattrs = read_xattrs(&place).map_err(|error| IoError {
                    path: absolute,
                    ..error
                })?;
                (mtime(&stat), xattrs)
            }
        };
        self.found.push(Entry {
            path: path.clone(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime,
            xattrs,
        });
        Ok(is_directory)
    }

    /// `None` for what a layer cannot hold (sockets) or need not (a deletion of nothing). `place` is where it can
    /// be looked at, and follows no link before its last name.
    fn kind(
        &mut self,
        path: &RelPath,
        place: &Path,
        stat: &Stat,
    ) -> Result<Option<EntryKind>, IoError> {
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(path, stat),
            FileType::Directory => EntryKind::Directory(self.directory_kind(path, place)?),
            FileType::Symlink => {
                let target = rustix::fs::readlink(place, Vec::new()).at("read", place)?;
                EntryKind::Symlink {
                    target: target.as_bytes().into(),
                }
            }
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                if self.below.get(path).is_none() {
                    return Ok(None);
                }
                EntryKind::Whiteout
            }
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Socket | FileType::Unknown => return Ok(None),
        }))
    }

    fn file(&mut self, path: &RelPath, stat: &Stat) -> EntryKind {
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                return EntryKind::HardLink {
                    target: first.clone(),
                };
            }
            self.links.insert(inode, path.clone());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        EntryKind::File {
            size,
            digest: ContentDigest::new([0; 32]),
            offset: 0,
        }
    }

    /// Overlayfs marks new directories opaque for speed, so the mark counts only where it hides
    /// something. Else it is taken away: on other layers it might.
    fn directory_kind(&self, path: &RelPath, place: &Path) -> Result<DirectoryKind, IoError> {
        let hides_something = self
            .below
            .get(path)
            .is_some_and(|found| found.entry.is_directory());
        let mut kind = DirectoryKind::Merged;
        for attribute in OPAQUE_ATTRIBUTES {
            let mut value = [0; 1];
            let is_marked = match rustix::fs::lgetxattr(place, attribute, &mut value) {
                Ok(length) => length == 1 && value == *b"y",
                Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
                // Its value is longer than that of a mark.
                Err(Errno::RANGE) => false,
                Err(errno) => return Err(io::Error::from(errno)).at("read the mark of", place),
            };
            if attribute == overlay::opaque_attribute() && is_marked && hides_something {
                kind = DirectoryKind::Opaque;
            } else {
                rustix::fs::lremovexattr(place, attribute).at("unmark", place)?;
            }
        }
        Ok(kind)
    }

    fn absolute(&self, path: &RelPath) -> PathBuf {
        described(self.upper_path, path)
    }
}

/// The walk meets names in the order of the disk; in a layer the first name in path order is the
/// file, and the others are links to it.
pub(crate) fn point_links_at_first_names(entries: &mut [Entry]) {
    let mut first_names: HashMap<RelPath, RelPath> = HashMap::new();
    for index in 0..entries.len() {
        let EntryKind::HardLink { target } = &entries[index].kind else {
            continue;
        };
        let target = target.clone();
        let path = entries[index].path.clone();
        if let Some(first) = first_names.get(&target) {
            entries[index].kind = EntryKind::HardLink {
                target: first.clone(),
            };
        } else if path < target {
            let found = entries.binary_search_by(|entry| entry.path.cmp(&target));
            let file = found.expect("a link's target was met before it");
            entries[index].kind = entries[file].kind.clone();
            entries[file].kind = EntryKind::HardLink {
                target: path.clone(),
            };
            first_names.insert(target, path);
        }
    }
}

/// Leaves out what was copied up but is as before: directories on the way to nothing, and files
/// that were only opened for writing.
fn without_unchanged(
    entries: Vec<Entry>,
    below: &View,
    contents: &Contents,
) -> Result<Vec<Entry>, IoError> {
    let needed = needed(&entries, |entry| is_unchanged(entry, below, contents))?;
    let kept = entries
        .into_iter()
        .zip(needed)
        .filter(|(_, needed)| *needed);
    Ok(kept.map(|(entry, _)| entry).collect())
}

fn is_unchanged(entry: &Entry, below: &View, contents: &Contents) -> Result<bool, IoError> {
    let Some(before) = below.get(&entry.path).map(|found| found.entry) else {
        return Ok(false);
    };
    if (before.mode, before.uid, before.gid, &before.xattrs)
        != (entry.mode, entry.uid, entry.gid, &entry.xattrs)
    {
        return Ok(false);
    }
    match (&entry.kind, &before.kind) {
        (EntryKind::Directory(DirectoryKind::Merged), EntryKind::Directory(_)) => Ok(true),
        (
            EntryKind::File { size, .. },
            EntryKind::File {
                size: size_before,
                digest,
                ..
            },
        ) if size == size_before && is_same_time(entry.mtime, before.mtime) => {
            Ok(hash_file(contents, entry)? == *digest)
        }
        _ => Ok(false),
    }
}

/// Whether a file may have been copied up without being written to. What is written in the very second
/// in which the file below was is told by the nanoseconds: else it would depend on how fast the machine
/// is whether the layer has it. A time that came in a tar has none.
fn is_same_time(now: Timestamp, before: Timestamp) -> bool {
    now.seconds == before.seconds
        && (now.nanoseconds == before.nanoseconds
            || now.nanoseconds == 0
            || before.nanoseconds == 0)
}

fn hash_file(contents: &Contents, entry: &Entry) -> Result<ContentDigest, IoError> {
    let Contents::Directory { directory, path } = contents else {
        unreachable!("an upper directory is a directory")
    };
    let path = described(path, &entry.path);
    let mut file: File = open_file_beneath(directory, &entry.path).at("open", &path)?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut file, &mut hasher).at("read", &path)?;
    Ok(ContentDigest::new(*hasher.finalize().as_bytes()))
}

pub(crate) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp {
        seconds: stat.st_mtime,
        nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}

/// Room for the names of most files' attributes, in bytes.
const FEW_NAMES: usize = 1024;
/// Room for those of any file: `XATTR_LIST_MAX` of linux/limits.h.
const ALL_NAMES: usize = 64 * 1024;

/// Reads the extended attributes that belong to a layer.
pub(crate) fn read_xattrs(path: &Path) -> Result<Xattrs, IoError> {
    let mut names = vec![0; FEW_NAMES];
    let length = loop {
        // The length cannot be asked for with an empty buffer: of that, 0 bytes are filled.
        match rustix::fs::llistxattr(path, &mut names[..]) {
            Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
            Err(rustix::io::Errno::RANGE) if names.len() < ALL_NAMES => {
                names.resize(ALL_NAMES, 0);
            }
            result => break result.at("list extended attributes of", path)?,
        }
    };
    let mut xattrs = Xattrs::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| belongs_to_layers(name))
    {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .at("read extended attributes of", path)?;
        value.truncate(length);
        if name == b"security.capability" {
            without_namespace(&mut value);
        }
        xattrs.push((name.into(), value.into()));
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Labels of the machine's own security modules stay on the machine.
pub(crate) fn belongs_to_layers(name: &[u8]) -> bool {
    const MACHINE: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];
    !name.is_empty() && !overlay::is_overlay_attribute(name) && !MACHINE.contains(&name)
}

/// Turns file capabilities that are bound to a user namespace (revision 3, with its root's id) into
/// those of an image (revision 2); see `vfs_ns_cap_data` in linux/capability.h.
fn without_namespace(value: &mut Vec<u8>) {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    if value.len() == 24 && value[3] == REVISION_3 {
        value.truncate(20);
        value[3] = REVISION_2;
    }
}
