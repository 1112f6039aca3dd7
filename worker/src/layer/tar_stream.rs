//! A layer as a stream of its uncompressed tar, whatever form it has.

use std::io::{self, BufReader, Read};

use kiln_solver::DiffId;
use sha2::{Digest, Sha256};

use super::contents::Contents;
use super::pack::{PackEntry, PackError, pack};
use crate::io_error::{AtPath, IoError};
use crate::store::{BlobError, IndexError, LayerBlob, LayerError, Store, sha256_of};
use crate::tree::{DirectoryKind, EntryKind};

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The end of the magic numbers of frames to be skipped, which are 16.
const SKIPPABLE_MAGIC: &[u8; 3] = &[0x2a, 0x4d, 0x18];
const BZIP2_MAGIC: &[u8] = b"BZh";
const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Why a layer cannot be streamed.
#[derive(Debug, thiserror::Error)]
pub enum OpenTarError {
    /// Something of it could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Its blob could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store does not know it well enough.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Opens the uncompressed tar of a layer. A layer that is only a directory is packed again while it
/// is read; an error on the way ends the stream with that error, and so does what is not the layer.
pub fn open_tar(store: &Store, diff_id: &DiffId) -> Result<Box<dyn Read + Send>, OpenTarError> {
    match Contents::open(store, diff_id)? {
        Some(Contents::Tar(_)) => {
            let tar = store.open_blob(&(*diff_id).into())?;
            Ok(Box::new(Checked::new(tar, *diff_id)))
        }
        Some(contents @ Contents::Directory { .. }) => match open_compressed(store, diff_id) {
            // What others packed cannot be packed again to the same bytes.
            Err(OpenTarError::Layer(LayerError::Missing(_))) => repack(store, diff_id, &contents),
            other => other,
        },
        None => open_compressed(store, diff_id),
    }
}

/// Opens the uncompressed tar of a layer that the store has as a compressed blob. What only an image or a cache
/// says of a blob is proved before, and forgotten if it is not true.
pub(super) fn open_compressed(
    store: &Store,
    diff_id: &DiffId,
) -> Result<Box<dyn Read + Send>, OpenTarError> {
    for blob in store.index().layer_blobs(diff_id)? {
        if store.has_blob(&blob.digest) && (blob.is_proven || is_true(store, diff_id, &blob)?) {
            let tar = open_blob(store, &blob)?;
            return Ok(Box::new(Checked::new(tar, *diff_id)));
        }
    }
    Err(LayerError::Missing(*diff_id).into())
}

/// Whether a blob holds the layer that it is said to hold, which is noted.
fn is_true(store: &Store, diff_id: &DiffId, blob: &LayerBlob) -> Result<bool, OpenTarError> {
    // What cannot be read or decompressed is no layer either.
    let read = open_blob(store, blob).map(sha256_of);
    let is_true = matches!(read, Ok(Ok((found, _))) if found == (*diff_id).into());
    let (index, label) = (store.index(), &blob.compression);
    match is_true {
        true => index.prove_layer_blob(diff_id, label)?,
        false => index.remove_layer_blob(diff_id, label)?,
    }
    Ok(is_true)
}

/// Opens the uncompressed bytes of a blob that is said to hold a layer.
pub(super) fn open_blob(
    store: &Store,
    blob: &LayerBlob,
) -> Result<Box<dyn Read + Send>, OpenTarError> {
    let file = store.open_blob(&blob.digest)?;
    Ok(decompress(file).at("read", store.blob_path(&blob.digest))?)
}

/// Undoes gzip (any number of members), zstd, bzip2 or xz, told by the first bytes; anything else
/// is passed through.
pub fn decompress(source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::with_capacity(256 * 1024, source);
    let magic = io::BufRead::fill_buf(&mut reader)?;
    Ok(if magic.starts_with(GZIP_MAGIC) {
        Box::new(BufReader::with_capacity(
            256 * 1024,
            flate2::bufread::MultiGzDecoder::new(reader),
        ))
    } else if is_zstd(magic) {
        Box::new(::zstd::Decoder::with_buffer(reader)?)
    } else if magic.starts_with(BZIP2_MAGIC) {
        Box::new(bzip2::bufread::MultiBzDecoder::new(reader))
    } else if magic.starts_with(XZ_MAGIC) {
        Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader))
    } else {
        Box::new(reader)
    })
}

/// Whether something begins like what [`decompress`] undoes.
pub fn is_compressed(magic: &[u8]) -> bool {
    let magics = [GZIP_MAGIC, BZIP2_MAGIC, XZ_MAGIC];
    magics.iter().any(|it| magic.starts_with(it)) || is_zstd(magic)
}

/// Whether something begins with a frame of Zstandard, be it one to be skipped (RFC 8878, section 3.1).
fn is_zstd(magic: &[u8]) -> bool {
    let is_skippable = match magic.first_chunk::<4>() {
        Some([number, rest @ ..]) => number & 0xf0 == 0x50 && rest == SKIPPABLE_MAGIC,
        None => false,
    };
    magic.starts_with(ZSTD_MAGIC) || is_skippable
}

/// A layer's tar that fails before its end if it is not the layer's, so that a damaged store does not become a
/// published image.
struct Checked<R> {
    inner: R,
    hasher: Sha256,
    expected: DiffId,
    is_done: bool,
}

impl<R> Checked<R> {
    fn new(inner: R, expected: DiffId) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            expected,
            is_done: false,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        if length > 0 {
            return Ok(length);
        }
        let found = DiffId::new(std::mem::take(&mut self.hasher).finalize().into());
        let expected = self.expected;
        self.is_done = found == expected;
        match self.is_done {
            true => Ok(0),
            false => Err(io::Error::other(format!(
                "the store's copy is damaged: it hashes to {found} instead of {expected}; \
                 remove it with kiln prune --all and build again"
            ))),
        }
    }
}

fn repack(
    store: &Store,
    diff_id: &DiffId,
    contents: &Contents,
) -> Result<Box<dyn Read + Send>, OpenTarError> {
    let tree = store.layers().tree(diff_id)?;
    let entries: Vec<PackEntry> = tree
        .entries()
        .iter()
        .filter(|entry| !matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied)))
        .map(|entry| PackEntry {
            bytes: contents.bytes(entry),
            digest_is_known: true,
            entry: entry.clone(),
        })
        .collect();
    let (reader, mut writer) = io::pipe().at("make a pipe for", store.root())?;
    let expected = *diff_id;
    let packing = std::thread::spawn(move || {
        let packed = pack(entries.into_iter(), &mut writer)?;
        Ok(packed.diff_id == expected)
    });
    Ok(Box::new(Repacked {
        reader,
        packing: Some(packing),
    }))
}

/// A tar that is packed while it is read. It fails before its end if it is not the layer's.
struct Repacked {
    reader: io::PipeReader,
    packing: Option<std::thread::JoinHandle<Result<bool, PackError>>>,
}

impl Read for Repacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        match self.packing.take().map(std::thread::JoinHandle::join) {
            None | Some(Ok(Ok(true))) => Ok(0),
            Some(Ok(Ok(false))) => Err(io::Error::other("the layer's files in the store changed")),
            Some(Ok(Err(error))) => Err(io::Error::other(error)),
            Some(Err(_)) => Err(io::Error::other("packing the layer panicked")),
        }
    }
}
