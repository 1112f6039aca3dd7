//! How long a layer's tar is, without writing it.

use std::io;

use kiln_solver::DiffId;

use super::header;
use super::tar_stream::{OpenTarError, open_compressed};
use crate::image::is_original;
use crate::store::{IndexError, LayerError, Store};
use crate::tree::{DirectoryKind, EntryKind, LayerTree};

/// Why a layer's size is not known.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// Its blob cannot be read.
    #[error(transparent)]
    Open(#[from] OpenTarError),
    /// Its blob is damaged.
    #[error("cannot read layer {layer}: {source}")]
    Read {
        /// The layer.
        layer: DiffId,
        /// What is wrong.
        source: io::Error,
    },
    /// The store does not have it.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The size of a layer's uncompressed tar.
pub fn tar_size(store: &Store, diff_id: &DiffId) -> Result<u64, SizeError> {
    if let Some(size) = store.blob_size(&(*diff_id).into()) {
        return Ok(size);
    }
    let blobs = store.index().layer_blobs(diff_id)?;
    let is_foreign =
        |blob: &crate::store::LayerBlob| is_original(blob) && store.has_blob(&blob.digest);
    if blobs.iter().any(is_foreign) {
        match open_compressed(store, diff_id) {
            Ok(mut tar) => {
                let size = io::copy(&mut tar, &mut io::sink());
                let layer = *diff_id;
                return size.map_err(|source| SizeError::Read { layer, source });
            }
            // It was said to be there, and what is there is another.
            Err(OpenTarError::Layer(LayerError::Missing(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(packed_size(&*store.layers().tree(diff_id)?))
}

/// The size of the tar that [`super::pack`] makes of a tree.
fn packed_size(tree: &LayerTree) -> u64 {
    let mut headers = Vec::new();
    let mut size = 2 * header::BLOCK as u64;
    for entry in tree.entries() {
        headers.clear();
        match entry.kind {
            EntryKind::Directory(DirectoryKind::Implied) => continue,
            EntryKind::Directory(DirectoryKind::Opaque) => {
                header::write_opaque_marker(entry, &mut headers);
            }
            EntryKind::File { size: length, .. } => {
                size += length.next_multiple_of(header::BLOCK as u64);
            }
            _ => {}
        }
        header::write_entry(entry, header::Times::WholeSeconds, &mut headers);
        size += headers.len() as u64;
    }
    size
}
