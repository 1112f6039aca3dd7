//! Layers as they travel: compressed once, then found again by diff id, codec, level and version of
//! the compressor, since all of these decide the bytes.

use std::io::{self, Read, Write};
use std::sync::mpsc;

use kiln_solver::{DiffId, Sha256Digest, StepReporter};

use super::growing::GrowingReader;
use super::size::{SizeError, tar_size};
use super::tar_stream::{OpenTarError, open_tar};
use super::{gzip, zstd};
use crate::image::media_type;
use crate::io_error::{AtPath, IoError, what_to_do};
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::{BlobError, BlobWriter, IndexError, LayerBlob, Store};

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Uncompressed,
    /// gzip, which every tool reads.
    Gzip {
        /// From 0 (stored) to 9 (smallest).
        level: u8,
    },
    /// Zstandard.
    Zstd {
        /// From 1 (fastest) to 22 (smallest).
        level: u8,
    },
}

/// Why there is no such compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the compression level {level} does not exist for {codec}: choose one from {lowest} to {highest}"
)]
pub struct LevelError {
    level: i32,
    codec: &'static str,
    lowest: i32,
    highest: i32,
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

impl Compression {
    /// gzip of a level; the default is 6.
    pub fn gzip(level: Option<i32>) -> Result<Self, LevelError> {
        let level = check_level("gzip", level.unwrap_or(6), 0, 9)?;
        Ok(Self::Gzip { level })
    }

    /// Zstandard of a level; the default is 3.
    pub fn zstd(level: Option<i32>) -> Result<Self, LevelError> {
        let level = check_level("zstd", level.unwrap_or(3), 1, 22)?;
        Ok(Self::Zstd { level })
    }

    /// The media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Uncompressed => media_type::OCI_LAYER,
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
        }
    }

    /// Compresses all that `reader` has, on some threads.
    pub(crate) fn compress(
        self,
        reader: &mut (dyn Read + Send),
        writer: &mut dyn Write,
        threads: usize,
    ) -> io::Result<()> {
        match self {
            Self::Zstd { level } => zstd::compress(reader, writer, level, threads),
            Self::Gzip { level } => gzip::compress(reader, writer, level, threads),
            Self::Uncompressed => io::copy(reader, writer).map(drop),
        }
    }

    /// What the index calls a blob of this compression.
    fn label(self) -> String {
        match self {
            Self::Uncompressed => "none".to_owned(),
            Self::Gzip { level } => format!("gzip-{level}-{}", gzip::VERSION),
            Self::Zstd { level } => format!("zstd-{level}-{}", zstd::VERSION),
        }
    }
}

fn check_level(
    codec: &'static str,
    level: i32,
    lowest: i32,
    highest: i32,
) -> Result<u8, LevelError> {
    match u8::try_from(level) {
        Ok(small) if (lowest..=highest).contains(&level) => Ok(small),
        _ => Err(LevelError {
            level,
            codec,
            lowest,
            highest,
        }),
    }
}

/// Why a layer could not be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenTarError),
    /// Its size is not known.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The blob could not be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Reading or writing failed on the way.
    #[error("cannot compress layer {layer} into {}: {}{}", error.path.display(), error.source, what_to_do(&error.source))]
    Stream {
        /// The layer.
        layer: DiffId,
        /// What failed.
        error: IoError,
    },
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The blob that holds a layer in some compression; made if the store does not have it. An
/// uncompressed layer need not be there as a blob: see [`super::open_tar`].
pub fn layer_blob(
    store: &Store,
    diff_id: &DiffId,
    compression: Compression,
    threads: usize,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<LayerBlob, CompressError> {
    let label = compression.label();
    let known = store.index().layer_blobs(diff_id)?;
    let is_there = |blob: &LayerBlob| {
        blob.compression == label
            && (compression == Compression::Uncompressed || store.has_blob(&blob.digest))
    };
    if let Some(blob) = known.into_iter().find(is_there) {
        return Ok(blob);
    }
    let (digest, size) = match compression {
        Compression::Uncompressed => ((*diff_id).into(), tar_size(store, diff_id)?),
        _ => {
            let mut tar = Tar {
                inner: open_tar(store, diff_id)?,
                stop,
                meter: Meter::new(reporter, format!("compressing {diff_id}"), None),
            };
            let blob = compress(store, &mut tar, compression, threads)
                .map_err(|error| stream_error(*diff_id, error))?;
            tar.meter.finish();
            blob.finish(None, "a compressed layer")?
        }
    };
    put(store, diff_id, compression, digest, size)
}

/// Compresses a layer's tar while it is being written. The name comes once it is whole, or never.
pub(super) fn compress_growing(
    store: &Store,
    tar: GrowingReader,
    name: &mpsc::Receiver<DiffId>,
    compression: Compression,
    threads: usize,
    stop: &Stop,
) -> Result<(), CompressError> {
    let mut tar = Stoppable { inner: tar, stop };
    let compressed = compress(store, &mut tar, compression, threads);
    // Without a name there is no layer, and nothing to report.
    let Ok(diff_id) = name.recv() else {
        return Ok(());
    };
    let blob = compressed.map_err(|error| stream_error(diff_id, error))?;
    let (digest, size) = blob.finish(None, "a compressed layer")?;
    put(store, &diff_id, compression, digest, size).map(drop)
}

/// Notes which blob holds a layer.
fn put(
    store: &Store,
    diff_id: &DiffId,
    compression: Compression,
    digest: Sha256Digest,
    size: u64,
) -> Result<LayerBlob, CompressError> {
    let blob = LayerBlob {
        compression: compression.label(),
        digest,
        size,
        media_type: compression.media_type().to_owned(),
        is_proven: true,
    };
    store.index().put_layer_blob(diff_id, &blob)?;
    Ok(blob)
}

fn compress(
    store: &Store,
    tar: &mut (dyn Read + Send),
    compression: Compression,
    threads: usize,
) -> Result<BlobWriter, StreamError> {
    let mut blob = store.new_blob()?;
    let done = compression.compress(tar, &mut blob, threads);
    done.at("write", store.root())?;
    Ok(blob)
}

/// Why a stream of bytes could not be compressed.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Io(#[from] IoError),
}

fn stream_error(layer: DiffId, error: StreamError) -> CompressError {
    match error {
        StreamError::Blob(error) => error.into(),
        StreamError::Io(error) => CompressError::Stream { layer, error },
    }
}

/// Bytes that end with an error once nobody wants them any more.
struct Stoppable<'s, R> {
    inner: R,
    stop: &'s Stop,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.read(buffer)
    }
}

/// A layer's tar on its way into a compressor. It fails before its end if it is not the layer's.
struct Tar<'s> {
    inner: Box<dyn Read + Send>,
    stop: &'s Stop,
    meter: Meter,
}

impl Read for Tar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let length = self.inner.read(buffer)?;
        self.meter.add(length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        assert_eq!(Compression::gzip(None), Ok(Compression::default()));
        assert_eq!(Compression::zstd(None), Ok(Compression::Zstd { level: 3 }));
        assert!(Compression::gzip(Some(10)).is_err());
        assert!(Compression::zstd(Some(0)).is_err());
        assert!(Compression::zstd(Some(-300)).is_err());
    }

    /// Another version of a compressor makes other bytes: its blobs need another name.
    #[test]
    fn the_versions_are_those_that_are_linked() {
        let lock = include_str!("../../../Cargo.lock");
        for (name, version) in [("libdeflater", gzip::CRATE), ("zstd-sys", zstd::CRATE)] {
            let line = format!("name = \"{name}\"\nversion = \"{version}\"");
            assert!(
                lock.contains(&line),
                "{name} is not {version} any more: change VERSION, too"
            );
        }
    }
}
