//! One blob on its way into the store: counted, hashed and kept only if it is what it should be.

use std::io::{self, Read, Write};

use bytes::Bytes;
use kiln_solver::{Sha256Digest, StepReporter};

use super::fetch::{FetchError, SizeError};
use super::resolve::ImageLayer;
use crate::io_error::AtPath;
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::{BlobWriter, Store};

/// A part of a blob on its way to the thread that writes.
pub(super) enum Piece {
    Bytes(Bytes),
    /// All bytes came; without this, whoever sent them was stopped.
    End,
}

/// A blob that is being received; dropped unfinished, it leaves nothing.
pub(super) struct Incoming {
    writer: BlobWriter,
    store: Store,
    digest: Sha256Digest,
    size: Option<u64>,
    meter: Meter,
    pub(super) stop: Stop,
}

impl Incoming {
    pub(super) fn new(
        store: &Store,
        layer: &ImageLayer,
        reporter: &StepReporter,
    ) -> Result<Self, FetchError> {
        let descriptor = &layer.descriptor;
        let item = descriptor.digest.to_string();
        Ok(Self {
            writer: store.new_blob()?,
            store: store.clone(),
            digest: descriptor.digest,
            size: Some(descriptor.size),
            meter: Meter::new(reporter, item, Some(descriptor.size)),
            stop: Stop::default(),
        })
    }

    /// A blob whose manifest says nothing of its size.
    pub(super) fn any_size(self) -> Self {
        Self { size: None, ..self }
    }

    /// Takes the pieces that come through a channel. Returns the blob's size.
    pub(super) fn take_all(
        mut self,
        mut pieces: tokio::sync::mpsc::Receiver<Piece>,
        what: &str,
    ) -> Result<u64, FetchError> {
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => self.write(&bytes, what)?,
                Piece::End => return self.finish(what),
            }
        }
        // Nobody waits for this any more.
        Err(self.wrong_size(what))
    }

    /// Takes all that a reader has. Returns the blob's size.
    pub(super) fn read_all(mut self, mut reader: impl Read, what: &str) -> Result<u64, FetchError> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            self.stop.check().at("read", what)?;
            let length = match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.at("read", what)?,
            };
            if length == 0 {
                return self.finish(what);
            }
            self.write(&buffer[..length], what)?;
        }
    }

    fn write(&mut self, bytes: &[u8], what: &str) -> Result<(), FetchError> {
        let place = || self.store.blob_path(&self.digest);
        self.writer.write_all(bytes).at("write", place())?;
        self.meter.add(bytes.len() as u64);
        match self.size {
            Some(size) if self.writer.size() > size => Err(self.wrong_size(what)),
            _ => Ok(()),
        }
    }

    fn finish(self, what: &str) -> Result<u64, FetchError> {
        if self.size.is_some_and(|size| size != self.writer.size()) {
            return Err(self.wrong_size(what));
        }
        let (_, size) = self.writer.finish(Some(self.digest), what)?;
        self.meter.finish();
        Ok(size)
    }

    fn wrong_size(&self, what: &str) -> FetchError {
        let what = what.to_owned();
        let (expected, found) = (self.size.unwrap_or_default(), self.writer.size());
        SizeError {
            what,
            expected,
            found,
        }
        .into()
    }
}
