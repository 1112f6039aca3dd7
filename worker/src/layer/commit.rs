//! From entries to a layer of the store.

use std::sync::Arc;

use super::pack::{PackEntry, PackError, pack};
use crate::io_error::IoError;
use crate::snapshot::SnapshotLayer;
use crate::store::{BlobError, LayerError, Store};
use crate::tree::Timestamp;

/// Why a layer could not be put into the store.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A file of the store could not be made.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What it holds could not be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Its tar could not be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// What it holds could not be noted.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Packs entries, which are sorted by path with each path once, into a layer that the store keeps as
/// a tar.
pub fn commit_layer(
    store: &Store,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
) -> Result<SnapshotLayer, CommitError> {
    let (path, mut file) = store.scratch().new_file()?;
    let packed = pack(entries, &mut file).inspect_err(|_| {
        // The packing error is the one to report.
        let _ = std::fs::remove_file(&path);
    })?;
    store.adopt_blob(&path, &packed.diff_id.into())?;
    let content = packed.tree.content();
    store
        .layers()
        .put_tree(&packed.diff_id, Arc::new(packed.tree))?;
    Ok(SnapshotLayer {
        diff_id: packed.diff_id,
        content,
        created: Some(Timestamp::now()),
    })
}
