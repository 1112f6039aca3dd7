//! A file that is read while it is still being written: the reader waits for what is to come.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::io_error::{AtPath, IoError};
use crate::store::DiskFile;

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// So many bytes are there, and more may come.
    Growing(u64),
    /// So many bytes are all.
    Whole(u64),
    /// Nobody will write the rest.
    Abandoned,
}

struct Watched {
    growth: Mutex<Growth>,
    changed: Condvar,
}

impl Watched {
    fn set(&self, next: impl FnOnce(Growth) -> Growth) {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        *growth = next(*growth);
        self.changed.notify_all();
    }

    /// Waits until the file is longer than `read`, or will not be.
    fn beyond(&self, read: u64) -> Growth {
        let growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |growth: &mut Growth| *growth == Growth::Growing(read);
        let waited = self.changed.wait_while(growth, wait);
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that writes. Dropped before [`GrowingWriter::finish`], it lets the reader fail.
pub(super) struct GrowingWriter {
    file: DiskFile,
    watched: Arc<Watched>,
}

/// The end that reads: everything that is written, from the beginning.
pub(super) struct GrowingReader {
    file: File,
    read: u64,
    watched: Arc<Watched>,
}

/// Both ends of an empty file at a path.
pub(super) fn growing(
    file: DiskFile,
    path: &Path,
) -> Result<(GrowingWriter, GrowingReader), IoError> {
    let watched = Arc::new(Watched {
        growth: Mutex::new(Growth::Growing(0)),
        changed: Condvar::new(),
    });
    let reader = GrowingReader {
        file: File::open(path).at("open", path)?,
        read: 0,
        watched: Arc::clone(&watched),
    };
    Ok((GrowingWriter { file, watched }, reader))
}

impl GrowingWriter {
    /// Says that nothing more will come.
    pub(super) fn finish(self) {
        self.watched.set(|growth| match growth {
            Growth::Growing(length) => Growth::Whole(length),
            ended => ended,
        });
    }
}

impl Write for GrowingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.watched.set(|growth| match growth {
            Growth::Growing(length) => Growth::Growing(length + written as u64),
            ended => ended,
        });
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for GrowingWriter {
    fn drop(&mut self) {
        self.watched.set(|growth| match growth {
            Growth::Growing(_) => Growth::Abandoned,
            ended => ended,
        });
    }
}

impl Read for GrowingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Growth::Growing(length) | Growth::Whole(length)) = self.watched.beyond(self.read)
        else {
            return Err(io::Error::other("the layer is not being made any more"));
        };
        let there = usize::try_from(length - self.read).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(there);
        let read = self.file.read_at(&mut buffer[..wanted], self.read)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn ends() -> (tempfile::TempDir, GrowingWriter, GrowingReader) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        let (path, file) = store.scratch().new_file().expect("writable");
        let (writer, reader) = growing(file, &path).expect("readable");
        (directory, writer, reader)
    }

    #[test]
    fn all_that_is_written_is_read() {
        let (_directory, mut writer, mut reader) = ends();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 3) as u8).collect();
        let read = std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read)
            });
            for piece in bytes.chunks(70_001) {
                writer.write_all(piece).expect("writable");
            }
            writer.finish();
            reading.join().expect("no panic")
        });
        assert!(read.expect("whole") == bytes);
    }

    #[test]
    fn what_is_given_up_has_no_end() {
        let (_directory, mut writer, mut reader) = ends();
        writer.write_all(b"half").expect("writable");
        drop(writer);
        let mut read = Vec::new();
        assert!(reader.read_to_end(&mut read).is_err());
    }
}
