//! Layers whose files are no younger than a moment: what `rewrite-timestamp=true` exports.

use std::sync::Arc;

use super::error::ExecutorError;
use crate::layer::{Contents, PackEntry, commit_layer};
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::store::Store;
use crate::tree::{Entry, LayerTree, Timestamp};

/// The same files, but none of the layers that steps made has one that is younger than `seconds` since
/// 1970. Those of a base image stay what they are.
pub fn no_younger_than(
    store: &Store,
    snapshot: &Snapshot,
    seconds: i64,
) -> Result<Snapshot, ExecutorError> {
    let moment = Timestamp {
        seconds,
        nanoseconds: 0,
    };
    let layers = snapshot
        .layers
        .iter()
        .map(|layer| clamp(store, layer, moment));
    Ok(Snapshot {
        layers: layers.collect::<Result<_, _>>()?,
    })
}

fn clamp(
    store: &Store,
    layer: &SnapshotLayer,
    moment: Timestamp,
) -> Result<SnapshotLayer, ExecutorError> {
    // Of a base image's layers nobody knows when they were made.
    if layer.created.is_none() {
        return Ok(layer.clone());
    }
    let tree: Arc<LayerTree> = store.layers().tree(&layer.diff_id)?;
    let is_younger = |entry: &Entry| entry.mtime > moment;
    let contents = match Contents::open(store, &layer.diff_id)? {
        Some(contents) if tree.entries().iter().any(is_younger) => contents,
        _ => return Ok(layer.clone()),
    };
    let clamped = |entry: &Entry| PackEntry {
        bytes: contents.bytes(entry),
        digest_is_known: true,
        entry: Entry {
            mtime: entry.mtime.min(moment),
            ..entry.clone()
        },
    };
    let entries: Vec<PackEntry> = tree.entries().iter().map(clamped).collect();
    Ok(SnapshotLayer {
        created: layer.created,
        ..commit_layer(store, entries.into_iter())?
    })
}
