//! What is said of a build's steps: the config of an artifact that has their layers.

use std::collections::HashMap;

use kiln_solver::key::KeyPart;
use kiln_solver::{ContentDigest, DiffId, Earlier, Key, StepKeys};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::image::parse_config;
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::tree::Timestamp;

/// The artifact's type.
pub(super) const ARTIFACT: &str = "application/vnd.kiln.cache.v1";
/// The media type of its config: what tells the artifact, for not every tool keeps its type.
pub(super) const CONFIG: &str = "application/vnd.kiln.cache.config.v1+json";
/// No config may be longer.
pub(super) const MAXIMUM_CONFIG: u64 = 64 << 20;
/// The version of the config.
const VERSION: u32 = 1;
/// Overlayfs takes no more layers.
const MAXIMUM_CHAIN: usize = 500;

/// The config.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepCache {
    version: u32,
    /// All layers that the steps' results consist of.
    layers: Vec<LayerRecord>,
    steps: Vec<StepRecord>,
}

/// A layer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerRecord {
    diff_id: DiffId,
    /// What it holds, modification times left out.
    content: ContentDigest,
    /// When the step that made it ended; nothing is said of a base image's layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// Whether the artifact has it. Its layers are those that it has, in this order.
    carried: bool,
}

/// A step and what it yielded. There may be very many of which nobody asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepRecord {
    definition: Key,
    content: Key,
    outline: Key,
    inputs: Key,
    /// Key parts, as they stand in the document.
    explanation: Box<RawValue>,
    /// Positions in the list of layers, lowest first.
    result: Box<[u32]>,
}

/// What a document says. A step is put together when it is asked for.
pub(super) struct Decoded {
    cache: StepCache,
    /// Which of the steps has a key, of either kind.
    by_key: HashMap<Key, u32>,
}

impl StepCache {
    /// Says what steps yielded, and that the artifact has the layers for which `is_carried` says so; these
    /// layers, in the artifact's order, come with it.
    pub(super) fn new(
        steps: &[(StepKeys, Snapshot)],
        is_carried: &dyn Fn(&SnapshotLayer) -> bool,
    ) -> (Self, Vec<DiffId>) {
        let mut cache = Self {
            version: VERSION,
            layers: Vec::new(),
            steps: Vec::new(),
        };
        let mut places: HashMap<SnapshotLayer, u32> = HashMap::new();
        let mut carried: Vec<DiffId> = Vec::new();
        for (keys, snapshot) in steps {
            let mut place = |layer: &SnapshotLayer| {
                *places.entry(layer.clone()).or_insert_with(|| {
                    // Two steps may make one layer at different times; it travels once.
                    let is_new = is_carried(layer) && !carried.contains(&layer.diff_id);
                    if is_new {
                        carried.push(layer.diff_id);
                    }
                    cache.layers.push(LayerRecord {
                        diff_id: layer.diff_id,
                        content: layer.content,
                        created: layer.created,
                        carried: is_new,
                    });
                    u32::try_from(cache.layers.len() - 1).expect("a build has not so many layers")
                })
            };
            let result = snapshot.layers.iter().map(&mut place).collect();
            cache.steps.push(StepRecord {
                definition: keys.definition,
                content: keys.content,
                outline: keys.outline,
                inputs: keys.inputs,
                explanation: to_raw_value(&keys.explanation).expect("it is made of strings"),
                result,
            });
        }
        (cache, carried)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("documents have string keys only")
    }

    /// Reads a config of an artifact that has so many layers; an error says what is wrong.
    pub(super) fn decode(bytes: &[u8], layers: usize) -> Result<Decoded, String> {
        let cache: Self = parse_config(bytes, VERSION)?;
        let carried = cache.layers.iter().filter(|layer| layer.carried);
        let named = carried.count();
        if named != layers {
            return Err(format!("it has {layers} layers, but names {named}"));
        }
        let mut by_key = HashMap::with_capacity(2 * cache.steps.len());
        for (place, step) in (0..).zip(&cache.steps) {
            cache.check(step)?;
            by_key.entry(step.definition).or_insert(place);
            by_key.entry(step.content).or_insert(place);
        }
        Ok(Decoded { cache, by_key })
    }

    fn check(&self, step: &StepRecord) -> Result<(), String> {
        if step.result.len() > MAXIMUM_CHAIN {
            let (length, key) = (step.result.len(), step.definition);
            return Err(format!(
                "the step {key} has {length} layers; at most {MAXIMUM_CHAIN} can be used"
            ));
        }
        step.result.iter().try_for_each(|place| {
            let layer = self.layers.get(*place as usize);
            let layer = layer.ok_or_else(|| format!("there is no layer {place}"))?;
            match layer.created {
                Some(created) if !is_in_range(created) => {
                    Err(format!("the time of layer {place} is out of range"))
                }
                _ => Ok(()),
            }
        })
    }

    fn step(&self, step: &StepRecord) -> (StepKeys, Snapshot) {
        let layers = step.result.iter().map(|place| {
            let layer = &self.layers[*place as usize];
            SnapshotLayer {
                diff_id: layer.diff_id,
                content: layer.content,
                created: layer.created,
            }
        });
        let layers = layers.collect();
        let keys = StepKeys {
            definition: step.definition,
            content: step.content,
            outline: step.outline,
            inputs: step.inputs,
            explanation: step.explanation(),
        };
        (keys, Snapshot { layers })
    }
}

impl StepRecord {
    /// What is no explanation explains nothing.
    fn explanation(&self) -> Vec<KeyPart> {
        serde_json::from_str(self.explanation.get()).unwrap_or_default()
    }
}

impl Decoded {
    /// How many steps it has.
    pub(super) fn len(&self) -> usize {
        self.cache.steps.len()
    }

    /// The layers that the artifact has, in its order.
    pub(super) fn carried(&self) -> impl Iterator<Item = DiffId> {
        let layers = self.cache.layers.iter();
        let carried = layers.filter(|layer| layer.carried);
        carried.map(|layer| layer.diff_id)
    }

    /// The step that has this key, and what it yielded.
    pub(super) fn find(&self, key: &Key) -> Option<(StepKeys, Snapshot)> {
        let step = &self.cache.steps[*self.by_key.get(key)? as usize];
        Some(self.cache.step(step))
    }

    /// Steps that do the same or read the same.
    pub(super) fn similar(&self, keys: &StepKeys) -> impl Iterator<Item = Earlier> {
        let (outline, inputs) = (keys.outline, keys.inputs);
        let steps = self.cache.steps.iter();
        let similar = steps.filter(move |step| step.outline == outline || step.inputs == inputs);
        similar.map(|step| Earlier {
            content: step.content,
            explanation: step.explanation(),
        })
    }
}

/// Whether a time is one of the years 1 to 9999, which all who write times can write.
fn is_in_range(time: Timestamp) -> bool {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    time.nanoseconds < 1_000_000_000 && SECONDS.contains(&time.seconds)
}
