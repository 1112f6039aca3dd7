//! What images need.

use std::collections::{HashMap, HashSet};

use kiln_solver::{DiffId, Sha256Digest};

use super::GcError;
use crate::image::{Config, Document, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest};
use crate::store::Store;

/// The blobs and layers that images with a name need, with those names.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) blobs: HashMap<Sha256Digest, Vec<String>>,
    pub(super) layers: HashMap<DiffId, Vec<String>>,
}

impl Needed {
    pub(super) fn by_images(store: &Store) -> Result<Self, GcError> {
        let mut needed = Self::default();
        for image in store.index().images()? {
            let mut walk = Walk {
                store,
                name: &image.name,
                needed: &mut needed,
                seen: HashSet::new(),
            };
            walk.add_document(image.manifest)?;
        }
        Ok(needed)
    }
}

/// One image under way.
struct Walk<'w> {
    store: &'w Store,
    name: &'w str,
    needed: &'w mut Needed,
    seen: HashSet<Sha256Digest>,
}

impl Walk<'_> {
    fn add_document(&mut self, digest: Sha256Digest) -> Result<(), GcError> {
        self.add_blob(digest);
        // An index may list images of other platforms, which nobody has fetched.
        if !self.store.blob_path(&digest).exists() || !self.seen.insert(digest) {
            return Ok(());
        }
        let bytes = self.store.read_passing_blob(&digest, MAXIMUM_MANIFEST)?;
        match Document::parse(&bytes, None, self.name)? {
            Document::Manifest(manifest) => self.add_manifest(&manifest),
            Document::Index(index) => {
                let mut entries = index.manifests.iter();
                entries.try_for_each(|entry| self.add_document(entry.digest))
            }
        }
    }

    fn add_manifest(&mut self, manifest: &Manifest) -> Result<(), GcError> {
        for layer in &manifest.layers {
            self.add_blob(layer.digest);
        }
        let config = manifest.config.digest;
        self.add_blob(config);
        if !self.store.blob_path(&config).exists() || !self.seen.insert(config) {
            return Ok(());
        }
        let bytes = self.store.read_passing_blob(&config, MAXIMUM_CONFIG)?;
        for diff_id in Config::parse(&bytes, self.name)?.diff_ids {
            add(self.needed.layers.entry(diff_id).or_default(), self.name);
        }
        Ok(())
    }

    fn add_blob(&mut self, digest: Sha256Digest) {
        add(self.needed.blobs.entry(digest).or_default(), self.name);
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if names.last().is_none_or(|last| last != name) {
        names.push(name.to_owned());
    }
}
