//! Images of the store, found by what people call them and read with their documents.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kiln_frontend::image_config::ImageConfig;
use kiln_solver::{DiffId, Platform, Sha256Digest};
use kiln_worker::image::{Document, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest, Reference};
use kiln_worker::store::{ImageRecord, Store};

/// An image with what its documents say.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Its name in full.
    pub name: String,
    /// Its manifest's name, or that of the index that lists it.
    pub digest: Sha256Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
}

impl StoredImage {
    /// Reads the documents of a named image.
    pub fn read(store: &Store, record: &ImageRecord) -> Result<Self> {
        let name = record.name.clone();
        let what = || format!("cannot read the image {name}");
        let manifest = manifest(store, record.manifest, &name).with_context(what)?;
        let config = store
            .read_blob(&manifest.config.digest, MAXIMUM_CONFIG)
            .with_context(what)?;
        let config = serde_json::from_slice(&config).with_context(what)?;
        Ok(Self {
            name,
            digest: record.manifest,
            manifest,
            config,
        })
    }

    /// All images, the newest first.
    pub fn all(store: &Store) -> Result<Vec<Self>> {
        let records = store.index().images()?;
        let images = records.iter().map(|record| Self::read(store, record));
        let mut images = images.collect::<Result<Vec<_>>>()?;
        images.sort_by_key(|image| std::cmp::Reverse(image.created()));
        Ok(images)
    }

    /// The image that is called so: by name, or by the first digits of its ID or digest.
    pub fn find(store: &Store, called: &str) -> Result<Self> {
        if let Ok(reference) = called.parse::<Reference>()
            && let Some(record) = store
                .index()
                .image(&reference.with_default_tag().to_string())?
        {
            return Self::read(store, &record);
        }
        let images = Self::all(store)?;
        let mut found: Vec<&Self> = images.iter().filter(|image| image.has_id(called)).collect();
        found.dedup_by_key(|image| image.id());
        match found.as_slice() {
            [image] => Ok((*image).clone()),
            [] => bail!(
                "there is no image called {called}{}",
                suggestion(called, &images)
            ),
            several => bail!(
                "{} images have an ID that begins with {called}",
                several.len()
            ),
        }
    }

    /// What Docker calls the image's ID: its config's digest.
    pub fn id(&self) -> Sha256Digest {
        self.manifest.config.digest
    }

    /// When it was made, if it says so.
    pub fn created(&self) -> Option<Timestamp> {
        self.config.created.as_deref()?.parse().ok()
    }

    /// Its name taken apart.
    pub fn reference(&self) -> Option<Reference> {
        self.name.parse().ok()
    }

    /// The sizes of its layers in bytes, lowest first: of their files where that is known, else as
    /// they travel.
    pub fn layer_sizes(&self, store: &Store) -> Vec<u64> {
        let size = |(index, diff_id): (usize, &String)| {
            let tree = diff_id.parse::<DiffId>().ok();
            let tree = tree.and_then(|diff_id| store.layers().tree(&diff_id).ok());
            let travels = || {
                self.manifest
                    .layers
                    .get(index)
                    .map_or(0, |layer| layer.size)
            };
            tree.map_or_else(travels, |tree| tree.file_bytes())
        };
        self.config
            .rootfs
            .diff_ids
            .iter()
            .enumerate()
            .map(size)
            .collect()
    }

    fn has_id(&self, called: &str) -> bool {
        let begins = |digest: Sha256Digest| {
            let hex = called.strip_prefix("sha256:").unwrap_or(called);
            hex.len() >= 4 && digest.hex().starts_with(hex)
        };
        begins(self.id()) || begins(self.digest)
    }
}

/// The manifest of that name, or of an index's image for this machine.
fn manifest(store: &Store, digest: Sha256Digest, what: &str) -> Result<Manifest> {
    let read = |digest: &Sha256Digest| -> Result<Document> {
        let bytes = store.read_blob(digest, MAXIMUM_MANIFEST)?;
        Ok(Document::parse(&bytes, None, what)?)
    };
    let index = match read(&digest)? {
        Document::Manifest(manifest) => return Ok(manifest),
        Document::Index(index) => index,
    };
    let host = Platform::host();
    let is_here = |digest: &Sha256Digest| store.has_blob(digest);
    let mut entries: Vec<_> = index
        .manifests
        .iter()
        .filter(|e| is_here(&e.digest))
        .collect();
    entries.sort_by_key(|entry| entry.platform.as_ref() != Some(&host));
    let entry = entries
        .first()
        .context("none of its platforms is in the store")?;
    match read(&entry.digest)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => bail!("its index lists another index"),
    }
}

/// The nearest name, as advice.
fn suggestion(called: &str, images: &[StoredImage]) -> String {
    let mut names = Vec::new();
    for reference in images.iter().filter_map(StoredImage::reference) {
        let bare = Reference {
            tag: None,
            digest: None,
            ..reference.clone()
        };
        names.extend([reference.familiar(), bare.familiar()]);
    }
    let scored = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(called, &name), name));
    let nearest = scored
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.8);
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}
