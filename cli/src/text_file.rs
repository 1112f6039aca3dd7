//! Reads files that people write, Dockerfiles and their ignore rules, wherever they come from: no more than
//! such a file may have, and without waiting for somebody who never comes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use kiln_frontend::limits;
use rustix::fs::{Mode, OFlags};

/// The longest file that is read, in bytes.
pub const MAXIMUM_SIZE: u64 = limits::FILE_SIZE as u64;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum TextFileError {
    /// It is longer than any Dockerfile.
    #[error("longer than {MAXIMUM_SIZE} bytes")]
    TooLong,
    /// It is a pipe that nobody has open to write, and nothing is in it.
    #[error("it is a pipe that nobody writes to")]
    NoWriter,
    /// The system refused it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a file, or a pipe to its end, as for `-f <(command)`.
pub fn read(path: &Path) -> Result<Vec<u8>, TextFileError> {
    // To open a named pipe waits for who writes, unless it is told not to; to read it should wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let flags = rustix::fs::fcntl_getfl(&file).map_err(io::Error::from)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(io::Error::from)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > MAXIMUM_SIZE {
        return Err(TextFileError::TooLong);
    }
    let bytes = read_from(file)?;
    if bytes.is_empty() && metadata.file_type().is_fifo() {
        return Err(TextFileError::NoWriter);
    }
    Ok(bytes)
}

/// Reads all that a stream has.
pub fn read_from(reader: impl Read) -> Result<Vec<u8>, TextFileError> {
    let mut bytes = Vec::new();
    reader.take(MAXIMUM_SIZE + 1).read_to_end(&mut bytes)?;
    check_length(bytes)
}

/// Refuses what is too long; whoever reads need read no more than a byte beyond the limit.
pub fn check_length(bytes: Vec<u8>) -> Result<Vec<u8>, TextFileError> {
    match bytes.len() as u64 > MAXIMUM_SIZE {
        true => Err(TextFileError::TooLong),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use rustix::fs::{CWD, FileType};

    use super::*;

    #[test]
    fn a_named_pipe_without_a_writer_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).expect("a pipe");
        assert!(matches!(read(&path), Err(TextFileError::NoWriter)));
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let writing = std::thread::spawn(move || {
            for _ in 0..10_000 {
                writer.write_all(b"# a line\n").expect("somebody reads");
            }
        });
        let bytes = read(Path::new(&path)).expect("somebody writes");
        writing.join().expect("it ended");
        assert_eq!(bytes.len(), 90_000);
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let endless = read(Path::new("/dev/zero"));
        assert!(matches!(endless, Err(TextFileError::TooLong)));
    }
}
