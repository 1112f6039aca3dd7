//! Blobs: bytes named by their SHA-256.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kiln_solver::Sha256Digest;
use sha2::{Digest, Sha256};

use super::{DiskFile, Store};
use crate::io_error::{AtPath, IoError};

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Its bytes are not what their name says.
    #[error("{what}: expected digest {expected}, but the content has {found}")]
    Digest {
        /// What was read: a path or a URL.
        what: String,
        /// The name.
        expected: Sha256Digest,
        /// What the bytes hash to.
        found: Sha256Digest,
    },
    /// It is longer than anything of its kind should be.
    #[error("{}: longer than the {limit} bytes that are allowed here", path.display())]
    TooLong {
        /// The blob's file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl Store {
    /// Where the blob of that name is, or would be.
    pub fn blob_path(&self, digest: &Sha256Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is there. If so, it stays; what cannot be leased is not there.
    pub fn has_blob(&self, digest: &Sha256Digest) -> bool {
        self.blob_size(digest).is_some()
    }

    /// The blob's size in bytes, if it is there.
    pub fn blob_size(&self, digest: &Sha256Digest) -> Option<u64> {
        let path = self.lease_blob(digest).ok()?;
        fs::metadata(path).ok().map(|metadata| metadata.len())
    }

    fn lease_blob(&self, digest: &Sha256Digest) -> Result<PathBuf, IoError> {
        self.lease("blobs/sha256", &digest.hex())
    }

    /// Opens a blob to stream it. The store's blobs were verified when they were written.
    pub fn open_blob(&self, digest: &Sha256Digest) -> Result<File, BlobError> {
        let path = self.lease_blob(digest)?;
        Ok(File::open(&path).at("open blob", &path)?)
    }

    /// Reads a small blob whole, and verifies it.
    pub fn read_blob(&self, digest: &Sha256Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.lease_blob(digest)?;
        self.read_passing_blob(digest, limit)
    }

    /// The same of a blob that may go as soon as it was read: for those who decide what goes.
    pub(crate) fn read_passing_blob(
        &self,
        digest: &Sha256Digest,
        limit: u64,
    ) -> Result<Vec<u8>, BlobError> {
        let path = self.blob_path(digest);
        let file = File::open(&path).at("open blob", &path)?;
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .at("read blob", &path)?;
        if bytes.len() as u64 > limit {
            return Err(BlobError::TooLong { path, limit });
        }
        let found = sha256(&bytes);
        if found != *digest {
            let what = path.display().to_string();
            return Err(BlobError::Digest {
                what,
                expected: *digest,
                found,
            });
        }
        Ok(bytes)
    }

    /// Removes a blob if its bytes are not what its name says, so that it can be had anew.
    pub(crate) fn remove_damaged_blob(&self, digest: &Sha256Digest) {
        let path = self.blob_path(digest);
        let found = File::open(&path).and_then(sha256_of);
        if found.is_ok_and(|(found, _)| found != *digest) {
            // Whoever reads it next finds the same.
            let _ = fs::remove_file(&path);
        }
    }

    /// Stores a small blob.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Sha256Digest, BlobError> {
        let digest = sha256(bytes);
        if self.blob_size(&digest) != Some(bytes.len() as u64) {
            let place = self.lease_blob(&digest)?;
            self.scratch().put_bytes(bytes, &place)?;
        }
        Ok(digest)
    }

    /// Takes over a file on the store's file system that is a blob of that name already.
    pub fn adopt_blob(&self, path: &Path, digest: &Sha256Digest) -> Result<(), BlobError> {
        let place = self.lease_blob(digest)?;
        Ok(self.scratch().put(path, &place).at("write blob", &place)?)
    }

    /// Begins a blob whose bytes come in pieces.
    pub fn new_blob(&self) -> Result<BlobWriter, BlobError> {
        let (path, file) = self.scratch().new_file()?;
        Ok(BlobWriter {
            store: self.clone(),
            path,
            file: Some(file),
            hasher: Sha256::new(),
            size: 0,
        })
    }
}

/// A blob that is being written; dropped before [`BlobWriter::finish`], it leaves nothing.
pub struct BlobWriter {
    store: Store,
    path: PathBuf,
    file: Option<DiskFile>,
    hasher: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Puts the blob in its place and returns its name and size. With `expected`, a blob of
    /// another name is an error; `what` names its origin in that error.
    pub fn finish(
        mut self,
        expected: Option<Sha256Digest>,
        what: &str,
    ) -> Result<(Sha256Digest, u64), BlobError> {
        let found = Sha256Digest::new(std::mem::take(&mut self.hasher).finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(BlobError::Digest {
                what: what.to_owned(),
                expected,
                found,
            });
        }
        self.file = None;
        self.store.adopt_blob(&self.path, &found)?;
        Ok((found, self.size))
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self
            .file
            .as_mut()
            .expect("a blob is open until it is finished");
        let written = file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // After `finish`, nothing is at that path.
        let _ = fs::remove_file(&self.path);
    }
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::new(Sha256::digest(bytes).into())
}

/// The SHA-256 and the number of all bytes that a reader has.
pub fn sha256_of(mut reader: impl Read) -> io::Result<(Sha256Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let length = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return Ok((Sha256Digest::new(hasher.finalize().into()), size));
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
    }
}
