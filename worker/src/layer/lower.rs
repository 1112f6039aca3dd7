//! A lower directory for overlayfs in the making: the entries of a layer, one by one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use kiln_solver::RelPath;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchown,
    fsetxattr, futimens, linkat, lsetxattr, mkdirat, mknodat, openat, symlinkat, utimensat,
};

use super::extract::ExtractError;
use super::overlay;
use crate::rooted::{Parents, through};
use crate::store::{Disk, DiskFile};
use crate::tree::{DirectoryKind, Entry, EntryKind, Timestamp};

/// Zeros of this length become holes.
const HOLE: usize = 64 * 1024;

/// A directory that nobody else writes to. Parents must be made before what is in them. Each entry is made in its
/// parent by descriptor: what stands below a link in a tree, since nobody knows where the link leads, is an error
/// and not made where it leads on this machine.
pub(super) struct Lower {
    root: OwnedFd,
    disk: Arc<dyn Disk>,
}

impl Lower {
    /// Begins with an empty directory.
    pub(super) fn new(directory: &Path, disk: &Arc<dyn Disk>) -> Result<Self, ExtractError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|source| fail(&RelPath::root(), source))?;
        Ok(Self {
            root,
            disk: Arc::clone(disk),
        })
    }

    /// The directories of entries that come one after another.
    pub(super) fn parents(&self) -> Parents<'_> {
        Parents::below(&self.root)
    }

    pub(super) fn make_directory(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
    ) -> Result<(), ExtractError> {
        if entry.path.is_root() {
            return Ok(());
        }
        let (parent, name) = place(entry, parents)?;
        mkdirat(&parent, name, Mode::from_raw_mode(0o700))
            .map_err(|source| fail(&entry.path, source))
    }

    /// Makes what has no bytes and is neither a directory nor a link to a file.
    pub(super) fn make_special(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
    ) -> Result<(), ExtractError> {
        let (parent, name) = place(entry, parents)?;
        let node = |kind, device| make_node(entry, &parent, name, kind, device);
        let makedev = rustix::fs::makedev;
        match &entry.kind {
            EntryKind::Symlink { target } => {
                symlinkat(&**target, &parent, name).map_err(|source| fail(&entry.path, source))?;
                set_metadata(entry, &parent, name)
            }
            EntryKind::Fifo => node(FileType::Fifo, 0),
            EntryKind::CharDevice { major, minor } => {
                node(FileType::CharacterDevice, makedev(*major, *minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                node(FileType::BlockDevice, makedev(*major, *minor))
            }
            EntryKind::Whiteout => {
                let mode = Mode::from_raw_mode(0);
                mknodat(&parent, name, FileType::CharacterDevice, mode, 0)
                    .map_err(|source| fail(&entry.path, source))
            }
            EntryKind::File { .. } | EntryKind::Directory(_) | EntryKind::HardLink { .. } => Ok(()),
        }
    }

    /// Makes a file; `write` gives it its bytes.
    pub(super) fn make_file(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
        write: impl FnOnce(&mut DiskFile) -> io::Result<()>,
    ) -> Result<(), ExtractError> {
        let (parent, name) = place(entry, parents)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file =
            openat(&parent, name, flags, mode).map_err(|source| fail(&entry.path, source))?;
        let mut file = DiskFile::new(Arc::clone(&self.disk), File::from(file));
        write(&mut file)
            .and_then(|()| set_file_metadata(file.file(), entry))
            .map_err(|source| fail(&entry.path, source))
    }

    /// Makes a second name of a file that is there, if the entry is one.
    pub(super) fn make_link(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
    ) -> Result<(), ExtractError> {
        let EntryKind::HardLink { target } = &entry.kind else {
            return Ok(());
        };
        let fail = |source| fail(&entry.path, source);
        let (from, target) = self.parents().of(target).map_err(fail)?;
        let (to, name) = parents.of(&entry.path).map_err(fail)?;
        linkat(&from, target, &to, name, AtFlags::empty()).map_err(fail)
    }

    /// Gives a directory its owner, mode, attributes and time.
    pub(super) fn set_metadata(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
    ) -> Result<(), ExtractError> {
        let (parent, name) = place(entry, parents)?;
        set_metadata(entry, &parent, name)
    }
}

/// The directory that an entry is in, and its name there.
fn place<'e>(
    entry: &'e Entry,
    parents: &mut Parents<'_>,
) -> Result<(Arc<OwnedFd>, &'e [u8]), ExtractError> {
    let place = parents.of(&entry.path);
    place.map_err(|source| fail(&entry.path, source))
}

fn make_node(
    entry: &Entry,
    parent: &OwnedFd,
    name: &[u8],
    kind: FileType,
    device: u64,
) -> Result<(), ExtractError> {
    let mode = Mode::from_raw_mode(entry.mode);
    match mknodat(parent, name, kind, mode, device) {
        Ok(()) => set_metadata(entry, parent, name),
        // Devices cannot be made in a user namespace, and a step could not open them anyway.
        Err(rustix::io::Errno::PERM) if overlay::uses_user_attributes() => Ok(()),
        Err(source) => Err(fail(&entry.path, source)),
    }
}

/// Owner first, since a change of owner clears setuid bits and capabilities.
fn set_metadata(entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<(), ExtractError> {
    let is_link = matches!(entry.kind, EntryKind::Symlink { .. });
    let set = || -> rustix::io::Result<()> {
        let (uid, gid) = owner(entry);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(parent, name, Some(uid), Some(gid), flags)?;
        if !is_link {
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        let set = |attribute: &[u8], value: &[u8]| {
            let path = through(parent, name);
            lsetxattr(path, attribute, value, XattrFlags::empty())
        };
        for (attribute, value) in &entry.xattrs {
            ignore_unsupported(set(attribute, value))?;
        }
        if let EntryKind::Directory(DirectoryKind::Opaque) = entry.kind {
            set(overlay::opaque_attribute().as_bytes(), b"y")?;
        }
        utimensat(parent, name, &timestamps(entry.mtime), flags)
    };
    set().map_err(|source| fail(&entry.path, source))
}

fn set_file_metadata(file: &File, entry: &Entry) -> io::Result<()> {
    let (uid, gid) = owner(entry);
    if entry.uid != 0 || entry.gid != 0 {
        fchown(file, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        ignore_unsupported(fsetxattr(file, &**name, value, XattrFlags::empty()))?;
    }
    futimens(file, &timestamps(entry.mtime))?;
    Ok(())
}

pub(crate) fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

pub(crate) fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: i64::from(mtime.nanoseconds) as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Attributes of namespaces that this file system or user cannot have are left out, as by other
/// unpackers: an image made with SELinux must be usable without.
fn ignore_unsupported(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Copies exactly `size` bytes; long runs of zeros become holes.
pub(super) fn copy_with_holes(
    mut reader: impl Read,
    file: &mut DiskFile,
    size: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; HOLE.min(usize::try_from(size).unwrap_or(HOLE))];
    let mut left = size;
    let mut has_hole = false;
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(HOLE));
        reader.read_exact(&mut buffer[..wanted])?;
        left -= wanted as u64;
        if wanted == HOLE && buffer.iter().all(|byte| *byte == 0) {
            file.file().seek(SeekFrom::Current(HOLE as i64))?;
            has_hole = true;
        } else {
            file.write_all(&buffer[..wanted])?;
        }
    }
    if has_hole {
        file.file().set_len(size)
    } else {
        Ok(())
    }
}

pub(super) fn fail(path: &RelPath, source: impl Into<io::Error>) -> ExtractError {
    ExtractError::Entry {
        path: path.clone(),
        source: source.into(),
    }
}
