//! The layers under a step: fetched, looked into, or laid out as directories.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_solver::{DiffId, StepReporter};

use super::error::ExecutorError;
use super::output::Output;
use super::{LayerSource, Worker};
use crate::layer::{directory, ingest};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::View;

impl Worker {
    /// Sees to it that the store has the layers of all of a step's inputs.
    pub(super) async fn fetch_inputs(
        &self,
        inputs: &[Output],
        reporter: &StepReporter,
    ) -> Result<(), ExecutorError> {
        for input in inputs {
            if let Output::Snapshot(snapshot) = input {
                self.fetch_layers(snapshot, Some(reporter)).await?;
            }
        }
        Ok(())
    }

    /// Sees to it that the store has every layer of a snapshot in some form.
    pub(super) async fn fetch_layers(
        &self,
        snapshot: &Snapshot,
        reporter: Option<&StepReporter>,
    ) -> Result<(), ExecutorError> {
        let missing = missing(&self.store, &*self.layer_source, &snapshot.diff_ids())?;
        if missing.is_empty() {
            return Ok(());
        }
        let silent = StepReporter::silent();
        let reporter = reporter.unwrap_or(&silent);
        self.layer_source
            .fetch(&missing, reporter)
            .await
            .map_err(ExecutorError::Fetch)
    }
}

/// Those of some layers that the store does not have in any form that can be trusted. A blob that
/// nobody has looked into holds a layer only if the image tells the truth that says so: while there
/// is a source that has the layer, it is asked, which costs nothing if it names the same blob.
pub fn missing(
    store: &Store,
    source: &dyn LayerSource,
    layers: &[DiffId],
) -> Result<Vec<DiffId>, ExecutorError> {
    let mut missing = Vec::new();
    for layer in layers {
        let is_here = match source.has(layer) {
            true => store.layers().contains(layer) && is_present(store, layer)?,
            false => is_present(store, layer)?,
        };
        if !is_here {
            missing.push(*layer);
        }
    }
    Ok(missing)
}

/// Whether the store has a layer's bytes: whole, or as a blob that it can take in. What the layer holds may be
/// known without: somebody removed them.
pub(crate) fn is_present(store: &Store, diff_id: &DiffId) -> Result<bool, ExecutorError> {
    if store.has_layer(diff_id) {
        return Ok(true);
    }
    let blobs = store.index().layer_blobs(diff_id)?;
    Ok(blobs.iter().any(|blob| store.has_blob(&blob.digest)))
}

/// Whether a layer is in the store or can be brought there. A blob of which only an image says what it holds
/// does not count: if the image is none of this build's, nothing else would be left if it lied.
pub(crate) fn is_within_reach(
    store: &Store,
    source: &dyn LayerSource,
    diff_id: &DiffId,
) -> Result<bool, ExecutorError> {
    if source.has(diff_id) || store.has_layer(diff_id) {
        return Ok(true);
    }
    let blobs = store.index().layer_blobs(diff_id)?;
    let mut proven = blobs.iter().filter(|blob| blob.is_proven);
    Ok(proven.any(|blob| store.has_blob(&blob.digest)))
}

/// What a snapshot shows. Its layers must have been fetched.
pub(crate) fn view(store: &Store, snapshot: &Snapshot) -> Result<View, ExecutorError> {
    let mut view = View::default();
    for layer in &snapshot.layers {
        let tree = if store.layers().contains(&layer.diff_id) {
            store.layers().tree(&layer.diff_id)?
        } else {
            ingest(store, &layer.diff_id)?.0
        };
        view.push(tree);
    }
    Ok(view)
}

/// A snapshot's layers as directories for overlayfs, lowest first, and what they show.
///
/// Overlayfs takes no directory twice, and two steps can make the same layer. Of equal layers the
/// topmost is enough: each entry of the lower one stands in it again and hides the same. Layers that
/// hold nothing are left out.
pub(super) fn directories(
    store: &Store,
    snapshot: &Snapshot,
) -> Result<(Vec<PathBuf>, View), ExecutorError> {
    let mut view = View::default();
    let mut paths: Vec<PathBuf> = Vec::with_capacity(snapshot.layers.len());
    for layer in &snapshot.layers {
        let path = directory(store, &view, &layer.diff_id)?;
        let tree = store.layers().tree(&layer.diff_id)?;
        paths.retain(|lower| *lower != path);
        if tree.entries().iter().any(|entry| !entry.path.is_root()) {
            paths.push(path);
        }
        view.push(tree);
    }
    Ok((paths, view))
}

/// An input that must be a snapshot.
pub(super) fn snapshot(output: &Output) -> Result<&Arc<Snapshot>, ExecutorError> {
    match output {
        Output::Snapshot(snapshot) => Ok(snapshot),
        Output::Context(_) => Err(ExecutorError::Unsupported("a build context as a root")),
    }
}
