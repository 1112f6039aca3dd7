//! What images and cache records need.

use std::collections::HashSet;

use kiln_solver::{DiffId, Key, Sha256Digest};

use super::GcError;
use crate::image::{Config, Document, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// Blobs and layers that something needs.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) blobs: HashSet<Sha256Digest>,
    pub(super) layers: HashSet<DiffId>,
}

/// A cache record and the layers that it stands for.
#[derive(Debug)]
pub(super) struct CacheRecord {
    pub(super) key: Key,
    /// Its layers; `None` if another version of Kiln wrote it, so that it is of no use.
    pub(super) layers: Option<Vec<DiffId>>,
    /// When it was last used, in seconds since 1970.
    pub(super) used: i64,
}

impl Needed {
    /// What the images need that have a name.
    pub(super) fn by_images(store: &Store) -> Result<Self, GcError> {
        let mut needed = Self::default();
        for image in store.index().images()? {
            needed.add_document(store, image.manifest, &image.name)?;
        }
        Ok(needed)
    }

    /// Adds what cache records need.
    pub(super) fn add_records(
        &mut self,
        store: &Store,
        records: &[CacheRecord],
    ) -> Result<(), GcError> {
        for diff_id in records
            .iter()
            .filter_map(|record| record.layers.as_ref())
            .flatten()
        {
            self.add_layer(store, diff_id)?;
        }
        Ok(())
    }

    /// A layer, and every blob that holds it.
    fn add_layer(&mut self, store: &Store, diff_id: &DiffId) -> Result<(), GcError> {
        if self.layers.insert(*diff_id) {
            self.blobs.insert((*diff_id).into());
            let blobs = store.index().layer_blobs(diff_id)?;
            self.blobs.extend(blobs.into_iter().map(|blob| blob.digest));
        }
        Ok(())
    }

    fn add_document(
        &mut self,
        store: &Store,
        digest: Sha256Digest,
        what: &str,
    ) -> Result<(), GcError> {
        // An index may list images of other platforms, which nobody has fetched.
        if !store.has_blob(&digest) || !self.blobs.insert(digest) {
            return Ok(());
        }
        match Document::parse(&store.read_blob(&digest, MAXIMUM_MANIFEST)?, None, what)? {
            Document::Manifest(manifest) => self.add_manifest(store, &manifest, what),
            Document::Index(index) => {
                let mut entries = index.manifests.iter();
                entries.try_for_each(|entry| self.add_document(store, entry.digest, what))
            }
        }
    }

    fn add_manifest(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        what: &str,
    ) -> Result<(), GcError> {
        self.blobs
            .extend(manifest.layers.iter().map(|layer| layer.digest));
        let config = manifest.config.digest;
        if !store.has_blob(&config) || !self.blobs.insert(config) {
            return Ok(());
        }
        let config = Config::parse(&store.read_blob(&config, MAXIMUM_CONFIG)?, what)?;
        config
            .diff_ids
            .iter()
            .try_for_each(|diff_id| self.add_layer(store, diff_id))
    }
}

/// All cache records.
pub(super) fn records(store: &Store) -> Result<Vec<CacheRecord>, GcError> {
    let records = store
        .index()
        .records()?
        .into_iter()
        .map(|(key, result, used)| {
            let layers = Snapshot::decode(&result)
                .ok()
                .map(|snapshot| snapshot.diff_ids());
            CacheRecord { key, layers, used }
        });
    Ok(records.collect())
}
