//! From entries to a layer of the store.

use super::ahead::Ahead;
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
    commit_layer_of_result(store, entries, None)
}

/// The same of a layer that, with `ahead`, is compressed while it is packed.
pub fn commit_layer_of_result(
    store: &Store,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
    ahead: Option<&Ahead>,
) -> Result<SnapshotLayer, CommitError> {
    let (path, mut file) = store.scratch().new_file()?;
    let packed = match ahead {
        None => pack(entries, &mut file),
        Some(ahead) => {
            let mut followed = ahead.follow(file, &path)?;
            let packed = pack(entries, &mut followed.writer);
            packed.inspect(|packed| followed.finish(packed.diff_id))
        }
    };
    let packed = packed.inspect_err(|_| {
        // The packing error is the one to report.
        let _ = std::fs::remove_file(&path);
    })?;
    store.adopt_blob(&path, &packed.diff_id.into())?;
    store.layers().put_tree(&packed.diff_id, &packed.tree)?;
    Ok(SnapshotLayer {
        diff_id: packed.diff_id,
        content: packed.tree.content,
        created: Some(Timestamp::now()),
    })
}
