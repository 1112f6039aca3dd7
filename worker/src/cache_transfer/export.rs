//! A build's cache on its way out of a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::{DiffId, Key, StepKeys, StepReporter};

use super::document::{ARTIFACT, CONFIG, StepCache};
use super::error::TransferError;
use super::import::StepImport;
use crate::cache::StoreCache;
use crate::executor::{LayerSource, is_within_reach, missing_layers};
use crate::export::{
    Artifact, BuiltLayer, LayoutDestination, TravelingLayer, remove_unnamed, travel_all,
    write_artifact,
};
use crate::image::LayoutHold;
use crate::layer::Compression;
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::stop::{Stop, StopOnDrop};
use crate::store::Store;

/// What of a build is to leave a store.
pub struct StepExport {
    /// The definition keys of its steps.
    pub definitions: Vec<Key>,
    /// What it came to.
    pub result: Arc<Snapshot>,
    /// Which steps.
    pub mode: StepExportMode,
    /// How layers are compressed.
    pub compression: Compression,
    /// The directory that gets the layout, beside what is there already.
    pub directory: PathBuf,
    /// What the cache is called there; another of that name gives way.
    pub tag: String,
}

/// Which steps of a build leave a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StepExportMode {
    /// Those whose layers are the result's.
    #[default]
    Min,
    /// All of them.
    Max,
}

/// What left a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportedSteps {
    /// How many steps.
    pub steps: usize,
    /// How many layers.
    pub layers: usize,
    /// How many bytes the layers have as they travel.
    pub size: u64,
}

/// Writes what a cache knows of a build's steps, and the layers that they made. The layers of base images
/// stay: whoever builds has them from where FROM has them. Dropping the future ends the work.
pub async fn export_steps(
    store: &Store,
    cache: &StoreCache,
    layer_source: &dyn LayerSource,
    imports: &[Arc<StepImport>],
    export: StepExport,
    reporter: &StepReporter,
) -> Result<ExportedSteps, TransferError> {
    let steps = steps(store, cache, layer_source, &export).await?;
    let (document, carried) = StepCache::new(&steps, &is_made_by_a_step);
    let missing = missing_layers(store, layer_source, &carried)?;
    if !missing.is_empty() {
        let fetched = layer_source.fetch(&missing, reporter).await;
        fetched.map_err(TransferError::Fetch)?;
    }
    let layers = carried.iter().map(|diff_id| BuiltLayer {
        diff_id: *diff_id,
        original: as_it_came(store, imports, diff_id, export.compression),
    });
    let (layers, config): (Vec<BuiltLayer>, _) = (layers.collect(), document.encode());
    let (store, reporter, count) = (store.clone(), reporter.clone(), steps.len());
    let stop = Stop::default();
    let guard = StopOnDrop(stop.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let compression = export.compression;
        let layers = travel_all(&store, &layers, compression, false, &stop, &reporter)?;
        let exported = ExportedSteps {
            steps: count,
            layers: layers.len(),
            size: size(&layers),
        };
        let artifact = Artifact {
            artifact_type: ARTIFACT,
            config_type: CONFIG,
            config,
            layers,
            tag: export.tag,
        };
        let destination = LayoutDestination::Directory(export.directory);
        write_artifact(&store, artifact, destination, &stop, &reporter)?;
        Ok(exported)
    });
    let written = writing.await;
    drop(guard);
    match written {
        Ok(written) => written,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(TransferError::Canceled),
    }
}

/// Removes blobs from a directory of caches that none of them has any more, and that were not written of late;
/// nothing if another process reads it. `imports` are those of this one, which have read what they need.
pub fn remove_unnamed_blobs(
    directory: &Path,
    imports: &[Arc<StepImport>],
) -> Result<usize, TransferError> {
    let mut own = imports
        .iter()
        .filter_map(|import| import.hold_in(directory));
    if let Some(hold) = own.next() {
        let _others: Vec<_> = own.map(LayoutHold::rest).collect();
        return Ok(remove_unnamed(directory, hold)?);
    }
    match LayoutHold::new(directory) {
        Some(hold) => Ok(remove_unnamed(directory, &hold)?),
        None => Ok(0),
    }
}

/// A layer keeps the form in which another cache had it, if that is what is asked for, and if the blob is known
/// to hold the layer.
fn as_it_came(
    store: &Store,
    imports: &[Arc<StepImport>],
    diff_id: &DiffId,
    compression: Compression,
) -> Option<crate::image::Descriptor> {
    let known = store.index().layer_blobs(diff_id).ok()?;
    let is_proven = |descriptor: &crate::image::Descriptor| {
        let mut proven = known.iter().filter(|blob| blob.is_proven);
        proven.any(|blob| blob.digest == descriptor.digest)
    };
    let mut descriptors = imports
        .iter()
        .filter_map(|import| import.descriptor(diff_id));
    let fitting =
        descriptors.find(|found| found.media_type == compression.media_type() && is_proven(found));
    fitting.cloned()
}

fn size(layers: &[TravelingLayer]) -> u64 {
    layers.iter().map(|layer| layer.descriptor.size).sum()
}

fn is_made_by_a_step(layer: &SnapshotLayer) -> bool {
    layer.created.is_some()
}

/// The steps to take along: those that are recorded and whose layers can be had.
async fn steps(
    store: &Store,
    cache: &StoreCache,
    layer_source: &dyn LayerSource,
    export: &StepExport,
) -> Result<Vec<(StepKeys, Snapshot)>, TransferError> {
    let mut steps: Vec<(StepKeys, Snapshot)> = Vec::new();
    for definition in &export.definitions {
        let Some((step, import)) = cache.known_step(definition)? else {
            continue;
        };
        let (keys, snapshot) = &step;
        let is_of_result = export.result.layers.starts_with(&snapshot.layers);
        if export.mode == StepExportMode::Min && !is_of_result {
            continue;
        }
        let mut is_whole = true;
        for layer in &snapshot.layers {
            is_whole &= is_within_reach(store, layer_source, &layer.diff_id)?;
        }
        let mut known = steps.iter();
        if !is_whole || known.any(|(known, _)| known.definition == keys.definition) {
            continue;
        }
        // Nobody hands on what is not true.
        let is_true = match &import {
            None => true,
            Some(import) => import.proves(&step, layer_source).await?,
        };
        if is_true {
            steps.push(step);
        }
    }
    Ok(steps)
}
