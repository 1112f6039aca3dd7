//! A directory of a context that is open: what is in it is looked at by its name alone, so that no
//! symbolic link is followed, not even one that was put there a moment ago.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kiln_solver::RelPath;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::io_error::{AtPath, IoError};
use crate::layer::read_xattrs;
use crate::rooted::{described, open_beneath, through};
use crate::tree::Xattrs;

/// An open directory.
pub(super) struct Directory {
    descriptor: OwnedFd,
    /// Where it was found, for error messages.
    path: PathBuf,
}

impl Directory {
    /// Opens a directory below `root`, which is at `root_path`, through no symbolic link. `None` if there
    /// is no directory.
    pub(super) fn open(
        root: &OwnedFd,
        root_path: &Path,
        path: &RelPath,
    ) -> Result<Option<Self>, IoError> {
        let absolute = described(root_path, path);
        match open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(descriptor) => Ok(Some(Self {
                descriptor,
                path: absolute,
            })),
            Err(error) if is_gone(error) => Ok(None),
            Err(error) => Err(explained(error)).at("open", absolute),
        }
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<Box<[u8]>>, IoError> {
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut listing = RawDir::new(&self.descriptor, &mut buffer);
        let mut names: Vec<Box<[u8]>> = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.at("read", &self.path)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What is at a name; `None` if nothing is.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Option<Stat>, IoError> {
        let stat = rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
        self.unless_gone(stat, "stat", name)
    }

    /// What a symbolic link says; `None` if there is none.
    pub(super) fn read_link(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, IoError> {
        match rustix::fs::readlinkat(&self.descriptor, name, Vec::new()) {
            Err(Errno::INVAL) => Ok(None),
            read => {
                let target = self.unless_gone(read, "read", name)?;
                Ok(target.map(|target| target.as_bytes().into()))
            }
        }
    }

    /// The extended attributes of what is at a name; `None` if nothing is.
    pub(super) fn xattrs(&self, name: &[u8]) -> Result<Option<Xattrs>, IoError> {
        // The calls that take a descriptor take none of what was opened without being read.
        match read_xattrs(&through(&self.descriptor, name)) {
            Ok(xattrs) => Ok(Some(xattrs)),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoError {
                path: self.absolute(name),
                ..error
            }),
        }
    }

    /// Opens a file to be read; `None` if there is none. A named pipe does not block.
    pub(super) fn open_file(&self, name: &[u8]) -> Result<Option<File>, IoError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty());
        Ok(self.unless_gone(opened, "open", name)?.map(File::from))
    }

    /// The path of a name, for error messages.
    pub(super) fn absolute(&self, name: &[u8]) -> PathBuf {
        described(&self.path, &RelPath::root().join_name(name))
    }

    fn unless_gone<T>(
        &self,
        result: rustix::io::Result<T>,
        action: &'static str,
        name: &[u8],
    ) -> Result<Option<T>, IoError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_gone(error) => Ok(None),
            Err(error) => Err(explained(error)).at(action, self.absolute(name)),
        }
    }
}

/// What is not for whoever builds to read is often not meant to be in an image.
fn explained(error: Errno) -> io::Error {
    let error = io::Error::from(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(
            error.kind(),
            format!("{error}; make it readable, or leave it out with .dockerignore"),
        ),
        _ => error,
    }
}

/// Whether an error says that what was there before is not there any more, or is something else: a link
/// in the way is `LOOP`, one that leads out of the root `XDEV`, and nobody is behind a socket (`NXIO`).
fn is_gone(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO
    )
}
