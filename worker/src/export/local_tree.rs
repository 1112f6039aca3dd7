//! A root file system that is being written into a directory of somebody's.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use kiln_solver::{LogStream, RelPath, StepReporter};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::ExportError;
use super::flat::FlatEntry;
use super::local::LocalOptions;
use crate::layer::{owner, timestamps};
use crate::meter::Meter;
use crate::rooted::{open_beneath, through};
use crate::stop::Stop;
use crate::store::random;
use crate::tree::{Entry, EntryKind};

/// How many bytes a file has.
pub(super) fn size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}

/// A tree that is being written, in path order.
pub(super) struct Tree<'t> {
    pub(super) options: &'t LocalOptions,
    pub(super) root: OwnedFd,
    /// The directories from the root to where the last entry was made, and what they should become
    /// once everything in them is made: writing changes their times, and their mode may forbid it.
    pub(super) open: Vec<(Entry, OwnedFd)>,
    pub(super) stop: &'t Stop,
    pub(super) reporter: &'t StepReporter,
    pub(super) meter: Meter,
}

impl Tree<'_> {
    pub(super) fn fail(&self, path: &RelPath, source: io::Error) -> ExportError {
        ExportError::Entry {
            directory: self.options.directory.clone(),
            path: path.clone(),
            source,
        }
    }

    pub(super) fn make(&mut self, flat: &FlatEntry) -> io::Result<()> {
        self.stop.check()?;
        let entry = &flat.entry;
        self.close_until(&entry.path)?;
        let name = entry.path.file_name().unwrap_or_default();
        if entry.is_directory() {
            let directory = make_directory(self.parent(), name)?;
            self.open.push((entry.clone(), directory));
            return Ok(());
        }
        let beside = format!(".kiln-{:016x}", random());
        let made = self.make_beside(flat, &beside);
        let parent = self.parent();
        let placed = match made {
            Ok(true) => replace(parent, &beside, name),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        // Gone if all went well, unless it was one more name of what is there.
        let _ = rustix::fs::unlinkat(parent, &beside, AtFlags::empty());
        placed
    }

    /// Makes an entry under another name; false if it cannot be made and need not.
    fn make_beside(&mut self, flat: &FlatEntry, name: &str) -> io::Result<bool> {
        let entry = &flat.entry;
        match &entry.kind {
            EntryKind::File { .. } => self.make_file(flat, name)?,
            EntryKind::Symlink { target } => {
                rustix::fs::symlinkat(&**target, self.parent(), name)?;
                self.set_times_and_owner(entry, name)?;
            }
            EntryKind::HardLink { target } => self.make_link(target, name)?,
            EntryKind::Fifo => return self.make_node(entry, FileType::Fifo, (0, 0), name),
            EntryKind::CharDevice { major, minor } => {
                return self.make_node(entry, FileType::CharacterDevice, (*major, *minor), name);
            }
            EntryKind::BlockDevice { major, minor } => {
                return self.make_node(entry, FileType::BlockDevice, (*major, *minor), name);
            }
            EntryKind::Directory(_) | EntryKind::Whiteout => return Ok(false),
        }
        Ok(true)
    }

    fn make_file(&mut self, flat: &FlatEntry, name: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let mut file = File::from(rustix::fs::openat(self.parent(), name, flags, mode)?);
        let size = size(&flat.entry);
        let mut reader = flat.bytes.open(size).map_err(io::Error::other)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut written = 0;
        loop {
            self.stop.check()?;
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            file.write_all(&buffer[..length])?;
            written += length as u64;
            self.meter.add(length as u64);
        }
        if written != size {
            return Err(io::Error::other(
                "the store's copy is damaged: its length is wrong",
            ));
        }
        self.set_metadata(&file, &flat.entry)
    }

    fn make_link(&self, target: &RelPath, name: &str) -> io::Result<()> {
        let directory = target.parent().unwrap_or_default();
        let directory = open_beneath(&self.root, &directory, OFlags::PATH | OFlags::DIRECTORY)?;
        let file_name = target.file_name().unwrap_or_default();
        rustix::fs::linkat(directory, file_name, self.parent(), name, AtFlags::empty())?;
        Ok(())
    }

    /// Devices are root's to make; for others an image's are left out.
    fn make_node(
        &self,
        entry: &Entry,
        kind: FileType,
        (major, minor): (u32, u32),
        name: &str,
    ) -> io::Result<bool> {
        let mode = Mode::from_raw_mode(entry.mode);
        let device = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(self.parent(), name, kind, mode, device) {
            Ok(()) => {}
            Err(Errno::PERM) if kind != FileType::Fifo => {
                let line = format!("left out {}: only root can make devices\n", entry.path);
                self.reporter.log(LogStream::Stderr, line.as_bytes());
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        self.set_times_and_owner(entry, name)?;
        rustix::fs::chmodat(self.parent(), name, mode, AtFlags::empty())?;
        Ok(true)
    }

    fn set_times_and_owner(&self, entry: &Entry, name: &str) -> io::Result<()> {
        if self.options.keep_owners {
            let (uid, gid) = owner(entry);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(self.parent(), name, Some(uid), Some(gid), flags)?;
        }
        let times = timestamps(entry.mtime);
        rustix::fs::utimensat(self.parent(), name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Owner first, since a change of owner clears setuid bits and capabilities.
    fn set_metadata(&self, file: impl std::os::fd::AsFd, entry: &Entry) -> io::Result<()> {
        if self.options.keep_owners {
            let (uid, gid) = owner(entry);
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        for (name, value) in &entry.xattrs {
            match rustix::fs::fsetxattr(&file, &**name, value, XattrFlags::empty()) {
                // Not every file system and user can have every attribute.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        rustix::fs::futimens(&file, &timestamps(entry.mtime))?;
        Ok(())
    }

    fn parent(&self) -> &OwnedFd {
        self.open
            .last()
            .map_or(&self.root, |(_, directory)| directory)
    }

    /// Leaves the directories that the next entry is not in.
    fn close_until(&mut self, path: &RelPath) -> io::Result<()> {
        while self
            .open
            .last()
            .is_some_and(|(entry, _)| !path.starts_with(&entry.path))
        {
            self.close_last()?;
        }
        Ok(())
    }

    fn close_last(&mut self) -> io::Result<()> {
        match self.open.pop() {
            Some((entry, directory)) => self.set_metadata(directory, &entry),
            None => Ok(()),
        }
    }

    pub(super) fn close_all(&mut self) -> Result<(), ExportError> {
        while let Some((entry, _)) = self.open.last() {
            let path = entry.path.clone();
            self.close_last()
                .map_err(|source| self.fail(&path, source))?;
        }
        Ok(())
    }
}

/// Opens a directory, made if need be, instead of anything else of that name.
fn make_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        // A symbolic link (LOOP), or something else that is no directory.
        Err(Errno::NOTDIR | Errno::LOOP) => rustix::fs::unlinkat(parent, name, AtFlags::empty())?,
        other => return Ok(other?),
    }
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    Ok(open()?)
}

/// Gives what was made its own name, instead of what has that name.
fn replace(parent: &OwnedFd, beside: &str, name: &[u8]) -> io::Result<()> {
    match rustix::fs::renameat(parent, beside, parent, name) {
        Err(Errno::ISDIR) => {
            // The standard library follows no links below this path, whose first part is open.
            fs::remove_dir_all(through(parent, name))?;
            Ok(rustix::fs::renameat(parent, beside, parent, name)?)
        }
        other => Ok(other?),
    }
}
