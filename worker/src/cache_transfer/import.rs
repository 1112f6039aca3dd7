//! A build's cache that somebody else made: looked at beside the store's own.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kiln_solver::{DiffId, Earlier, Key, LogStream, Reporter, StepError, StepKeys, StepReporter};

use super::document::{CONFIG, Decoded, MAXIMUM_CONFIG, StepCache};
use super::error::TransferError;
use super::proof::{Proofs, claimed};
use crate::executor::{LayerSource, missing_layers};
use crate::image::{
    ArtifactKind, Descriptor, ImageLayer, Images, LayoutHold, Origin, ResolvedImage, StoredArtifact,
};
use crate::layer::{IngestError, look_into};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// What a cache is called in its layout, unless something else is asked for.
pub const DEFAULT_TAG: &str = "latest";

/// A cache in a layout on disk.
pub struct StepImport {
    path: PathBuf,
    store: Store,
    images: Arc<Images>,
    reporter: Reporter,
    steps: Decoded,
    layers: HashSet<DiffId>,
    image: ResolvedImage,
    proofs: Proofs,
    ignores_errors: bool,
    /// Layers that could not be had from here, which was told.
    lost: Mutex<HashMap<DiffId, String>>,
}

impl StepImport {
    /// Reads what a layout says of steps. Layers stay where they are; steps whose layers are not there do
    /// not count. `reporter` is told what is brought later, and what is not believed.
    pub fn open(
        store: &Store,
        path: &Path,
        tag: &str,
        images: Arc<Images>,
        reporter: &Reporter,
    ) -> Result<Self, TransferError> {
        let kind = ArtifactKind {
            config_type: CONFIG,
            maximum_config: MAXIMUM_CONFIG,
            name: "caches",
        };
        let artifact = StoredArtifact::find(path, kind, tag)?;
        let steps = StepCache::decode(&artifact.config, artifact.layers.len());
        let steps = steps.map_err(|problem| TransferError::Document {
            what: artifact.config_name.clone(),
            problem,
        })?;
        let carried = steps.carried().zip(artifact.layers.clone());
        let present = carried.filter(|(_, descriptor)| artifact.has(descriptor));
        let layers: Vec<ImageLayer> = present
            .map(|(diff_id, descriptor)| ImageLayer {
                diff_id,
                descriptor,
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            store: store.clone(),
            images,
            reporter: reporter.clone(),
            steps,
            layers: layers.iter().map(|layer| layer.diff_id).collect(),
            image: artifact.into_image(layers),
            proofs: Proofs::default(),
            ignores_errors: false,
            lost: Mutex::default(),
        })
    }

    /// The same, whose layers are done without if they cannot be had and `ignores_errors` says so.
    pub fn ignoring_errors(self, ignores_errors: bool) -> Self {
        Self {
            ignores_errors,
            ..self
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many steps it knows.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.steps.len() == 0
    }

    /// How a layer travels that it has.
    pub fn descriptor(&self, diff_id: &DiffId) -> Option<&Descriptor> {
        let mut layers = self.image.layers.iter();
        let layer = layers.find(|layer| layer.diff_id == *diff_id)?;
        Some(&layer.descriptor)
    }

    /// What a step yielded that has this key.
    /// It is what the cache says: see [`StepImport::proves`].
    pub(crate) fn find(&self, key: &Key) -> Option<(StepKeys, Snapshot)> {
        self.steps.find(key)
    }

    /// Steps that do the same or read the same.
    pub(crate) fn similar(&self, keys: &StepKeys) -> impl Iterator<Item = Earlier> {
        self.steps.similar(keys)
    }

    /// Whether what one of the steps yielded is what is said of it. Layers are brought that must be looked
    /// into for that.
    pub(crate) async fn proves(
        self: &Arc<Self>,
        (keys, snapshot): &(StepKeys, Snapshot),
        layer_source: &dyn LayerSource,
    ) -> Result<bool, TransferError> {
        let claimed: Vec<DiffId> = claimed(snapshot).map(|layer| layer.diff_id).collect();
        let missing = missing_layers(&self.store, layer_source, &claimed)?;
        let title = || format!("importing cache from {}", self.path.display());
        if !missing.is_empty() {
            let step = self.reporter.start(title());
            if let Err(error) = layer_source.fetch(&missing, &step).await {
                if self.ignores_errors && self.loses(&missing, &step).await {
                    step.finished();
                    return Ok(false);
                }
                step.failed(error.to_string());
                return Err(TransferError::Fetch(error));
            }
            step.finished();
        }
        let (import, keys, snapshot) = (Arc::clone(self), keys.clone(), snapshot.clone());
        let examined = blocking(move || {
            let examined = import.proofs.examine(&import.store, &keys, &snapshot);
            examined.map_err(|source| import.of_a_layer(source))
        });
        match examined.await? {
            Ok(()) => Ok(true),
            Err(told) => {
                if let Some(told) = told {
                    let step = self.reporter.start(title());
                    let line = format!("{told}\n");
                    step.log(LogStream::Stderr, line.as_bytes());
                    step.finished();
                }
                Ok(false)
            }
        }
    }

    /// What keeps its blobs where they are, if they are in that directory.
    pub(super) fn hold_in(&self, directory: &Path) -> Option<&LayoutHold> {
        let is_there = self.path.canonicalize().ok()? == directory.canonicalize().ok()?;
        match &self.image.origin {
            Origin::Layout(origin) if is_there => origin.hold(),
            _ => None,
        }
    }

    /// Which of some layers cannot be had from here is noted and told; whether there are any.
    async fn loses(&self, layers: &[DiffId], step: &StepReporter) -> bool {
        let mut loses_some = false;
        for layer in layers.iter().filter(|layer| self.has(layer)) {
            if let Err(error) = self.fetch(std::slice::from_ref(layer), step).await {
                let told = format!("cannot fetch layers of a cache: {error}");
                step.log(LogStream::Stderr, format!("{told}\n").as_bytes());
                self.lost().insert(*layer, told);
                loses_some = true;
            }
        }
        loses_some
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<DiffId, String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was told of records that are not believed, and of layers that are done without.
    pub fn doubts(&self) -> Vec<String> {
        let mut lost: Vec<String> = self.lost().values().cloned().collect();
        lost.sort_unstable();
        lost.extend(self.proofs.told(&self.path));
        lost
    }

    fn of_a_layer(&self, source: IngestError) -> TransferError {
        let path = self.path.clone();
        TransferError::Layer { path, source }
    }
}

/// Runs work that blocks on disks away from the threads that wait for others.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(TransferError::Canceled),
    }
}

#[async_trait]
impl LayerSource for StepImport {
    fn has(&self, diff_id: &DiffId) -> bool {
        self.layers.contains(diff_id) && !self.lost().contains_key(diff_id)
    }

    async fn fetch(&self, layers: &[DiffId], reporter: &StepReporter) -> Result<(), StepError> {
        let fetched = self.images.fetch_layers(&self.image, layers, reporter);
        fetched.await?;
        // A record must not stand on a layer that is not what it is called.
        let (store, layers) = (self.store.clone(), layers.to_vec());
        let path = self.path.clone();
        let looking = blocking(move || {
            let unknown = layers
                .iter()
                .filter(|layer| !store.layers().contains(layer));
            // All of them: what is said of one that is not looked into would be left behind.
            let looked: Vec<_> = unknown.map(|layer| look_into(&store, layer)).collect();
            let looked: Result<(), _> = looked.into_iter().collect();
            looked.map_err(|source| TransferError::Layer { path, source })
        });
        Ok(looking.await?)
    }
}
