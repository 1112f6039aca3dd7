//! From entries to a layer of the store.

use std::sync::Arc;

use super::ahead::Ahead;
use super::directory_ahead::DirectoryAhead;
use super::pack::{PackEntry, PackError, is_large, pack_beside};
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

/// What will be wanted of a layer, and is made while it is packed.
#[derive(Default, Clone)]
pub struct Wanted {
    /// The layer compressed, by this.
    pub compressed: Option<Arc<Ahead>>,
    /// Its directory, for a step to see.
    pub directory: bool,
}

/// Packs entries, which are sorted by path with each path once, into a layer that the store keeps as
/// a tar.
pub fn commit_layer(
    store: &Store,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
) -> Result<SnapshotLayer, CommitError> {
    commit_layer_ahead(store, entries, &Wanted::default())
}

/// The same of a layer of which more will be wanted.
pub fn commit_layer_ahead(
    store: &Store,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
    wanted: &Wanted,
) -> Result<SnapshotLayer, CommitError> {
    let (path, mut file) = store.scratch().new_file()?;
    let directory = wanted.directory.then(|| DirectoryAhead::new(store));
    let directory = directory.flatten();
    let packed = match &wanted.compressed {
        None => pack_beside(entries, &mut file, directory.as_ref()),
        Some(ahead) => {
            let mut followed = ahead.follow(file, &path)?;
            let packed = pack_beside(entries, &mut followed.writer, directory.as_ref());
            packed.inspect(|packed| followed.finish(packed.diff_id))
        }
    };
    let packed = packed.inspect_err(|_| {
        // The packing error is the one to report.
        let _ = std::fs::remove_file(&path);
    })?;
    // The tree of a layer that is there may tell other times, and so does its directory.
    if let Some(directory) = directory
        && !store.layers().contains(&packed.diff_id)
    {
        directory.finish(store, &packed.diff_id, &packed.tree, &path, is_large);
    }
    store.adopt_blob(&path, &packed.diff_id.into())?;
    store.layers().put_tree(&packed.diff_id, &packed.tree)?;
    Ok(SnapshotLayer {
        diff_id: packed.diff_id,
        content: packed.tree.content,
        created: Some(Timestamp::now()),
    })
}
