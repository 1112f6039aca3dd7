//! Whether layers hold what somebody else's records say of them. Keys of later steps are made of that: what
//! is believed and wrong is recorded under keys that other builds compute, too.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_solver::{ContentDigest, DiffId, StepKeys};

use crate::layer::{IngestError, look_into};
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::store::Store;

/// How much of a command names its step, in characters.
const SHOWN: usize = 60;

/// What was found out about layers, and which records it speaks against.
#[derive(Default)]
pub(super) struct Proofs {
    contents: Mutex<HashMap<DiffId, ContentDigest>>,
    doubts: Mutex<Vec<Doubt>>,
}

/// A record that is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Doubt {
    keys: StepKeys,
    layer: DiffId,
}

/// The layers of which a record says something that only looking into them can prove.
pub(super) fn claimed(snapshot: &Snapshot) -> impl Iterator<Item = &SnapshotLayer> {
    let layers = snapshot.layers.iter();
    layers.filter(|layer| !layer.is_named_by_its_bytes())
}

impl Proofs {
    /// Whether the layers of a record, which the store has, hold what it says. Of one for which that is not so,
    /// what to tell people is returned with the first refusal only.
    pub(super) fn examine(
        &self,
        store: &Store,
        keys: &StepKeys,
        snapshot: &Snapshot,
    ) -> Result<Result<(), Option<String>>, IngestError> {
        for layer in claimed(snapshot) {
            if self.content(store, &layer.diff_id)? != layer.content {
                return Ok(Err(self.doubt(keys, layer.diff_id)));
            }
        }
        Ok(Ok(()))
    }

    fn content(&self, store: &Store, layer: &DiffId) -> Result<ContentDigest, IngestError> {
        if let Some(content) = held(&self.contents).get(layer) {
            return Ok(*content);
        }
        if !store.layers().contains(layer) {
            look_into(store, layer)?;
        }
        let content = store.layers().content(layer)?;
        held(&self.contents).insert(*layer, content);
        Ok(content)
    }

    fn doubt(&self, keys: &StepKeys, layer: DiffId) -> Option<String> {
        let mut doubts = held(&self.doubts);
        if doubts.iter().any(|known| known.keys == *keys) {
            return None;
        }
        let doubt = Doubt {
            keys: keys.clone(),
            layer,
        };
        let told = doubt.to_string();
        doubts.push(doubt);
        Some(told)
    }

    /// What was told of all records that are not believed.
    pub(super) fn told(&self, path: &Path) -> Vec<String> {
        let doubts = held(&self.doubts);
        let told = doubts
            .iter()
            .map(|doubt| format!("the cache in {}: {doubt}", path.display()));
        told.collect()
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.keys.explanation.iter();
        let mut words = parts.filter(|part| part.path == "op.exec.args.-");
        let command = words.next_back().map(|part| {
            let shown: String = part.value.chars().take(SHOWN).collect();
            format!(" ({shown:?})")
        });
        write!(
            f,
            "its record of the step {}{} is not used, for the layer {} does not hold what the record says",
            self.keys.definition,
            command.unwrap_or_default(),
            self.layer
        )
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
