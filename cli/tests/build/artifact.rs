//! Artifacts of Kiln's in image layouts, taken apart and put together again with something else in them, as
//! somebody would who means harm.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_worker::store::sha256;
use serde_json::{Value, json};

/// A layout with one artifact in it.
pub(crate) struct Artifact {
    layout: PathBuf,
}

impl Artifact {
    pub(crate) fn of(layout: &Path) -> Self {
        Self {
            layout: layout.to_owned(),
        }
    }

    fn json(&self, path: &Path) -> Value {
        let bytes = fs::read(path).expect("a document");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    pub(crate) fn blob(&self, digest: &Value) -> PathBuf {
        let digest = digest.as_str().expect("a digest");
        let hex = digest.strip_prefix("sha256:").expect("SHA-256");
        self.layout.join("blobs/sha256").join(hex)
    }

    fn index(&self) -> Value {
        self.json(&self.layout.join("index.json"))
    }

    pub(crate) fn manifest(&self) -> Value {
        self.json(&self.blob(&self.index()["manifests"][0]["digest"]))
    }

    pub(crate) fn config(&self) -> Value {
        self.json(&self.blob(&self.manifest()["config"]["digest"]))
    }

    fn put(&self, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let place = self.layout.join("blobs/sha256").join(digest.hex());
        fs::write(place, bytes).expect("writable");
        json!(digest.to_string())
    }

    /// Changes manifest and config; all digests are right again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value, &mut Value)) {
        let (mut index, mut manifest, mut config) = (self.index(), self.manifest(), self.config());
        change(&mut manifest, &mut config);
        let config = config.to_string();
        manifest["config"]["digest"] = self.put(config.as_bytes());
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string();
        index["manifests"][0]["digest"] = self.put(manifest.as_bytes());
        index["manifests"][0]["size"] = json!(manifest.len());
        let place = self.layout.join("index.json");
        fs::write(place, index.to_string()).expect("writable");
    }

    /// Puts an uncompressed tar in the place of the first layer, with its digests.
    pub(crate) fn replace_layer(&self, tar: &[u8]) {
        let digest = self.put(tar);
        self.change(|manifest, config| {
            manifest["layers"][0]["digest"] = digest.clone();
            manifest["layers"][0]["size"] = json!(tar.len());
            manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
            for list in ["caches", "layers"] {
                if let Some(first) = config[list].get_mut(0) {
                    first["diffId"] = digest.clone();
                    if list == "caches" {
                        first["size"] = json!(tar.len());
                    }
                }
            }
        });
    }

    /// Flips a bit in the middle of the first layer's blob.
    pub(crate) fn damage_layer(&self) {
        let place = self.blob(&self.manifest()["layers"][0]["digest"]);
        let mut bytes = fs::read(&place).expect("a blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(place, bytes).expect("writable");
    }
}
