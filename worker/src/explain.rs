//! Which files made a copy run again: what two layers of the same instruction hold, compared.

use std::sync::Arc;

use kiln_solver::Key;

use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};
use crate::tree::{LayerTree, PathChange, changes};

/// Where the layers differ that two recorded steps made, if both copied files and their layers are
/// still known; `earlier` and `now` are content keys.
pub fn changed_files(
    store: &Store,
    earlier: &Key,
    now: &Key,
) -> Result<Option<Vec<PathChange>>, StoreError> {
    let (Some(before), Some(after)) = (copied(store, earlier)?, copied(store, now)?) else {
        return Ok(None);
    };
    Ok(Some(changes(&before, &after)))
}

/// The layer that a step made, if the step copied files.
fn copied(store: &Store, key: &Key) -> Result<Option<Arc<LayerTree>>, StoreError> {
    let Some(step) = store.index().step(key)? else {
        return Ok(None);
    };
    if !step
        .explanation
        .iter()
        .any(|part| part.path.starts_with("op.file."))
    {
        return Ok(None);
    }
    let record = store.index().record(key)?;
    let snapshot = record.and_then(|bytes| Snapshot::decode(&bytes).ok());
    let Some(layer) = snapshot.and_then(|snapshot| snapshot.layers.last().cloned()) else {
        return Ok(None);
    };
    match store.layers().contains(&layer.diff_id) {
        true => Ok(Some(store.layers().tree(&layer.diff_id)?)),
        false => Ok(None),
    }
}
