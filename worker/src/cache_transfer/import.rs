//! A build's cache that somebody else made: looked at beside the store's own.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use kiln_solver::{DiffId, Earlier, Key, StepError, StepKeys, StepReporter};

use super::document::{CONFIG, MAXIMUM_CONFIG, StepCache};
use super::error::TransferError;
use crate::executor::{LayerSource, is_present};
use crate::image::{ArtifactKind, Descriptor, ImageLayer, Images, ResolvedImage, StoredArtifact};
use crate::layer::look_into;
use crate::snapshot::Snapshot;
use crate::store::{KnownStep, Store};

/// What a cache is called in its layout, unless something else is asked for.
pub const DEFAULT_TAG: &str = "latest";

/// A cache in a layout on disk.
pub struct StepImport {
    path: PathBuf,
    store: Store,
    images: Arc<Images>,
    steps: Vec<(StepKeys, Snapshot)>,
    /// Which of the steps has a key, of either kind.
    by_key: HashMap<Key, usize>,
    layers: HashSet<DiffId>,
    image: ResolvedImage,
}

impl StepImport {
    /// Reads what a layout says of steps. Layers stay where they are; steps whose layers are not there do
    /// not count.
    pub fn open(
        store: &Store,
        path: &Path,
        tag: &str,
        images: Arc<Images>,
    ) -> Result<Self, TransferError> {
        let kind = ArtifactKind {
            config_type: CONFIG,
            maximum_config: MAXIMUM_CONFIG,
            name: "caches",
        };
        let artifact = StoredArtifact::find(path, kind, tag)?;
        let decoded = StepCache::decode(&artifact.config, artifact.layers.len());
        let decoded = decoded.map_err(|problem| TransferError::Document {
            what: artifact.config_name.clone(),
            problem,
        })?;
        let carried = decoded.carried.into_iter().zip(artifact.layers.clone());
        let present = carried.filter(|(_, descriptor)| artifact.has(descriptor));
        let layers: Vec<ImageLayer> = present
            .map(|(diff_id, descriptor)| ImageLayer {
                diff_id,
                descriptor,
            })
            .collect();
        let mut by_key = HashMap::new();
        for (index, (keys, _)) in decoded.steps.iter().enumerate() {
            by_key.entry(keys.definition).or_insert(index);
            by_key.entry(keys.content).or_insert(index);
        }
        Ok(Self {
            path: path.to_owned(),
            store: store.clone(),
            images,
            by_key,
            steps: decoded.steps,
            layers: layers.iter().map(|layer| layer.diff_id).collect(),
            image: artifact.into_image(layers),
        })
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
        self.steps.is_empty()
    }

    /// How a layer travels that it has.
    pub fn descriptor(&self, diff_id: &DiffId) -> Option<&Descriptor> {
        let mut layers = self.image.layers.iter();
        let layer = layers.find(|layer| layer.diff_id == *diff_id)?;
        Some(&layer.descriptor)
    }

    /// What a step yielded that has this key.
    pub(crate) fn find(&self, key: &Key) -> Option<&(StepKeys, Snapshot)> {
        Some(&self.steps[*self.by_key.get(key)?])
    }

    /// Steps that do the same or read the same.
    pub(crate) fn similar(&self, keys: &StepKeys) -> impl Iterator<Item = Earlier> {
        let (outline, inputs) = (keys.outline, keys.inputs);
        let steps = self.steps.iter();
        let similar = steps.filter(move |(k, _)| k.outline == outline || k.inputs == inputs);
        similar.map(|(keys, _)| Earlier {
            content: keys.content,
            explanation: keys.explanation.clone(),
        })
    }

    pub(crate) fn steps(&self) -> &[(StepKeys, Snapshot)] {
        &self.steps
    }
}

/// The steps of which a store has every layer: those that may be recorded there.
pub(crate) fn whole(
    store: &Store,
    steps: &[(StepKeys, Snapshot)],
) -> Result<Vec<KnownStep>, TransferError> {
    let mut here: HashMap<DiffId, bool> = HashMap::new();
    let mut whole = Vec::new();
    for (keys, snapshot) in steps {
        let mut is_whole = true;
        for diff_id in snapshot.diff_ids() {
            let is_here = match here.get(&diff_id) {
                Some(is_here) => *is_here,
                None => is_present(store, &diff_id)?,
            };
            here.insert(diff_id, is_here);
            is_whole &= is_here;
        }
        if is_whole {
            whole.push(KnownStep {
                keys: keys.clone(),
                result: snapshot.encode(),
            });
        }
    }
    Ok(whole)
}

#[async_trait]
impl LayerSource for StepImport {
    fn has(&self, diff_id: &DiffId) -> bool {
        self.layers.contains(diff_id)
    }

    async fn fetch(&self, layers: &[DiffId], reporter: &StepReporter) -> Result<(), StepError> {
        let fetched = self.images.fetch_layers(&self.image, layers, reporter);
        fetched.await?;
        // A record must not stand on a layer that is not what it is called.
        let (store, layers) = (self.store.clone(), layers.to_vec());
        let looking = tokio::task::spawn_blocking(move || {
            let mut unknown = layers
                .iter()
                .filter(|layer| !store.layers().contains(layer));
            unknown.try_for_each(|layer| look_into(&store, layer))
        });
        match looking.await {
            Ok(looked) => looked.map_err(|source| TransferError::Layer {
                path: self.path.clone(),
                source,
            })?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(TransferError::Canceled.into()),
        }
        Ok(())
    }
}
