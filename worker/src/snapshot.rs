//! A file system state of a build: a stack of layers.

use kiln_solver::{ContentDigest, DiffId};
use serde::{Deserialize, Serialize};

use crate::tree::Timestamp;

/// A stack of layers, lowest first. This is what a cache record holds, in postcard's format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The layers, lowest first.
    pub layers: Vec<SnapshotLayer>,
}

/// One layer of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotLayer {
    /// Its name.
    pub diff_id: DiffId,
    /// What it holds, modification times left out.
    pub content: ContentDigest,
    /// When the step that made it ended; of a base image's layers, nothing is said.
    pub created: Option<Timestamp>,
}

impl SnapshotLayer {
    /// A layer of an image that nobody has looked into.
    fn of_image(diff_id: &DiffId) -> Self {
        let hash = blake3::keyed_hash(b"kiln content of a foreign layer ", diff_id.as_bytes());
        Self {
            diff_id: *diff_id,
            content: ContentDigest::new(*hash.as_bytes()),
            created: None,
        }
    }

    /// Whether its content only says which layer it is, as a base image's does. No other layer can have the
    /// same.
    pub fn is_named_by_its_bytes(&self) -> bool {
        self.content == Self::of_image(&self.diff_id).content
    }
}

impl Snapshot {
    /// The snapshot of an image whose layers nobody has looked into: a diff id is content enough.
    pub fn of_image(diff_ids: &[DiffId]) -> Self {
        Self {
            layers: diff_ids.iter().map(SnapshotLayer::of_image).collect(),
        }
    }

    /// This snapshot with one more layer on top.
    pub fn with(&self, layer: SnapshotLayer) -> Self {
        let mut layers = self.layers.clone();
        layers.push(layer);
        Self { layers }
    }

    /// Names what the snapshot shows: the chain of its layers' contents.
    pub fn content(&self) -> ContentDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"kiln snapshot content 1");
        for layer in &self.layers {
            hasher.update(layer.content.as_bytes());
        }
        ContentDigest::new(*hasher.finalize().as_bytes())
    }

    /// The layers' names, lowest first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The bytes of a cache record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a snapshot holds nothing that postcard refuses")
    }

    /// The inverse of [`Snapshot::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}
