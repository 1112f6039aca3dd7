//! The disk under a store, as far as it is written to: the seam through which tests let it fail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// What a store does to a disk.
pub trait Disk: Send + Sync {
    /// Writes some of the bytes at the file's position, and says how many.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;

    /// Gives a file another name, in place of the file that has it, or a directory one that nothing has:
    /// an empty directory, which rename(2) would replace, may be in use.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Asked before the index is changed: SQLite writes its files by itself, but no change begins
    /// that this refuses.
    fn may_change_index(&self) -> io::Result<()>;
}

/// The machine's own.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !from.is_dir() {
            return fs::rename(from, to);
        }
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn may_change_index(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is written through a [`Disk`].
pub struct DiskFile {
    disk: Arc<dyn Disk>,
    file: File,
}

impl DiskFile {
    /// Writes to a file that was opened for it.
    pub(crate) fn new(disk: Arc<dyn Disk>, file: File) -> Self {
        Self { disk, file }
    }

    /// The file itself, for all but writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The same, once everything is written.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
