//! What is said of a build's steps: the config of an artifact that has their layers.

use std::collections::HashMap;

use kiln_solver::key::KeyPart;
use kiln_solver::{ContentDigest, DiffId, Key, StepKeys};
use serde::{Deserialize, Serialize};

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

/// A step and what it yielded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepRecord {
    definition: Key,
    content: Key,
    outline: Key,
    inputs: Key,
    explanation: Vec<KeyPart>,
    /// Positions in the list of layers, lowest first.
    result: Vec<usize>,
}

/// What a document says.
pub(super) struct Decoded {
    pub(super) steps: Vec<(StepKeys, Snapshot)>,
    /// The layers that the artifact has, in its order.
    pub(super) carried: Vec<DiffId>,
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
        let mut places: HashMap<SnapshotLayer, usize> = HashMap::new();
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
                    cache.layers.len() - 1
                })
            };
            let result = snapshot.layers.iter().map(&mut place).collect();
            cache.steps.push(StepRecord {
                definition: keys.definition,
                content: keys.content,
                outline: keys.outline,
                inputs: keys.inputs,
                explanation: keys.explanation.clone(),
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
        let carried: Vec<DiffId> = carried.map(|layer| layer.diff_id).collect();
        if carried.len() != layers {
            let named = carried.len();
            return Err(format!("it has {layers} layers, but names {named}"));
        }
        let steps = cache.steps.iter().map(|step| cache.step(step));
        Ok(Decoded {
            steps: steps.collect::<Result<_, _>>()?,
            carried,
        })
    }

    fn step(&self, step: &StepRecord) -> Result<(StepKeys, Snapshot), String> {
        if step.result.len() > MAXIMUM_CHAIN {
            let (length, key) = (step.result.len(), step.definition);
            return Err(format!(
                "the step {key} has {length} layers; at most {MAXIMUM_CHAIN} can be used"
            ));
        }
        let layer = |place: &usize| {
            let layer = self.layers.get(*place);
            let layer = layer.ok_or_else(|| format!("there is no layer {place}"))?;
            if layer.created.is_some_and(|created| !is_in_range(created)) {
                return Err(format!("the time of layer {place} is out of range"));
            }
            Ok(SnapshotLayer {
                diff_id: layer.diff_id,
                content: layer.content,
                created: layer.created,
            })
        };
        let layers = step
            .result
            .iter()
            .map(layer)
            .collect::<Result<_, String>>()?;
        let keys = StepKeys {
            definition: step.definition,
            content: step.content,
            outline: step.outline,
            inputs: step.inputs,
            explanation: step.explanation.clone(),
        };
        Ok((keys, Snapshot { layers }))
    }
}
/// Whether a time is one of the years 1 to 9999, which all who write times can write.
fn is_in_range(time: Timestamp) -> bool {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    time.nanoseconds < 1_000_000_000 && SECONDS.contains(&time.seconds)
}
