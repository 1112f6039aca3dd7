//! A layer as a lower directory for overlayfs, made when a step must see it.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_solver::DiffId;

use super::contents::Contents;
use super::extract::{ExtractError, extract_beside};
use super::ingest::{IngestError, ingest};
use super::twins::Twins;
use crate::store::{LayerError, Store, StoreError};
use crate::tree::{LayerTree, View};

/// Why a layer cannot be had as a directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its blob is not what it should be.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Its files could not be made.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

impl From<LayerError> for DirectoryError {
    fn from(error: LayerError) -> Self {
        Self::Store(error.into())
    }
}

/// The directory with a layer's files as they appear on top of `below`; made if it is not there.
pub fn directory(store: &Store, below: &View, diff_id: &DiffId) -> Result<PathBuf, DirectoryError> {
    let (tree, contents) = if store.layers().contains(diff_id) {
        (store.layers().tree(diff_id)?, None)
    } else {
        let (tree, contents) = ingest(store, diff_id)?;
        (tree, Some(contents))
    };
    let settled = below.settle(Arc::clone(&tree));
    let variant = variant(&tree, &settled);
    if let Some(path) = store.layers().directory(diff_id, &variant) {
        return Ok(path);
    }
    let contents = match contents {
        Some(contents) => contents,
        None => match Contents::open(store, diff_id)? {
            Some(contents) => contents,
            None => ingest(store, diff_id)?.1,
        },
    };
    let unfinished = store.scratch().new_directory().map_err(StoreError::from)?;
    let twins = Twins::find(store, diff_id, &settled);
    let disk = store.scratch().disk();
    extract_beside(&settled, &contents, &twins, &unfinished, disk)?;
    Ok(store
        .layers()
        .put_directory(diff_id, &variant, &unfinished)?)
}

fn variant(tree: &Arc<LayerTree>, settled: &Arc<LayerTree>) -> String {
    if Arc::ptr_eq(tree, settled) {
        return String::new();
    }
    format!("-{}", &settled.content().hex()[..16])
}
