//! Single files of a snapshot, for those who must look into what a step yielded.

use std::io::Read;

use kiln_solver::RelPath;

use super::error::ExecutorError;
use super::layers;
use super::output::open_layers;
use crate::io_error::AtPath;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::EntryKind;

/// The first bytes of a file, at most `limit`; links are followed inside the snapshot. `None` if no
/// file is there. The snapshot's layers must be in the store.
pub fn read_file(
    store: &Store,
    snapshot: &Snapshot,
    path: &RelPath,
    limit: u64,
) -> Result<Option<Vec<u8>>, ExecutorError> {
    let files = open_layers(store, snapshot, layers::view(store, snapshot)?)?;
    let resolved = files.view.resolve(path);
    let Some(mut found) = resolved.and_then(|path| files.view.get(&path)) else {
        return Ok(None);
    };
    if let EntryKind::HardLink { target } = &found.entry.kind {
        let file = files.view.in_layer(found.layer, target);
        found = file.ok_or_else(|| ExecutorError::NotFound(target.clone()))?;
    }
    let EntryKind::File { size, .. } = found.entry.kind else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let reader = files.bytes(found).open(size)?;
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .at("read", found.entry.path.to_string())?;
    Ok(Some(bytes))
}
