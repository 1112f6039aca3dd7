//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};

use super::ExportError;
use crate::io_error::AtPath;
use crate::store::random;

/// A file that is being written and has no name yet, so that nothing remains of it should this
/// process die.
pub struct AtomicFile {
    file: File,
    place: PathBuf,
    /// Its name for the time being, where the file system cannot do without.
    beside: Option<PathBuf>,
    /// The place is a device or pipe, which is written to as it is.
    is_direct: bool,
}

impl AtomicFile {
    /// Begins a file that is to be at `place`.
    pub fn create(place: &Path) -> Result<Self, ExportError> {
        if let Ok(metadata) = fs::metadata(place) {
            if metadata.is_dir() {
                let problem = "it is a directory; give the path of a file";
                return Err(ExportError::Destination {
                    path: place.to_owned(),
                    problem,
                });
            }
            if !metadata.is_file() {
                return Self::direct(place);
            }
        }
        // A symbolic link stays what it is: the file that it leads to is replaced.
        let place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        let directory = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        if let Ok(file) = rustix::fs::open(directory, flags, mode) {
            let file = File::from(file);
            return Ok(Self {
                file,
                place,
                beside: None,
                is_direct: false,
            });
        }
        let beside = name_beside(&place);
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&beside);
        Ok(Self {
            file: file.at("create", &place)?,
            place,
            beside: Some(beside),
            is_direct: false,
        })
    }

    fn direct(place: &Path) -> Result<Self, ExportError> {
        Ok(Self {
            file: File::options().write(true).open(place).at("open", place)?,
            place: place.to_owned(),
            beside: None,
            is_direct: true,
        })
    }

    /// The file, to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it will be.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Puts the file in its place, instead of what is there.
    pub fn finish(mut self) -> Result<(), ExportError> {
        if self.is_direct {
            return Ok(());
        }
        if self.beside.is_none() {
            let name = name_beside(&self.place);
            let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let follow = AtFlags::SYMLINK_FOLLOW;
            linkat(CWD, &*descriptor, CWD, &name, follow).at("create", &self.place)?;
            self.beside = Some(name);
        }
        let beside = self.beside.as_ref().expect("it has a name now");
        fs::rename(beside, &self.place).at("write", &self.place)?;
        self.beside = None;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        }
    }
}

fn name_beside(place: &Path) -> PathBuf {
    place.with_file_name(format!(".kiln-{}-{:016x}", std::process::id(), random()))
}
