//! What a FROM names: manifest, config and layers of an image for a platform, without its bytes.

use std::sync::Arc;

use kiln_solver::{DiffId, Platform, Sha256Digest};

use super::descriptor::Descriptor;
use super::fetch::{Fetches, SizeError};
use super::layout::{Layout, LayoutError, LayoutReference};
use super::manifest::{Config, Document, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, ManifestError};
use super::origin::{DocumentKind, LayoutOrigin, Origin};
use super::platform;
use crate::registry::{ManifestHead, Registry, RegistryError, RegistrySettings};
use crate::store::{BlobError, IndexError, Store, sha256};
use kiln_solver::reference::{Reference, ReferenceError};

/// An index may name indexes; nobody nests them deeper.
const MAXIMUM_DEPTH: usize = 4;

/// Where to look for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A name as in FROM: an image of the store or of a registry.
    Name(String),
    /// An image of a layout on disk, `PATH[:TAG][@DIGEST]`.
    Layout(String),
}

/// A layer of an image, under both of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// Uncompressed.
    pub diff_id: DiffId,
    /// As it travels.
    pub descriptor: Descriptor,
}

/// An image that was found and whose documents were read. Its layers need not be in the store.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The name as typed, for people.
    pub reference: String,
    /// The name in full.
    pub name: String,
    /// What the name stands for: an index, or the manifest itself.
    pub digest: Sha256Digest,
    /// The manifest for the platform.
    pub manifest: Sha256Digest,
    /// The config's bytes as they were written.
    pub config: Vec<u8>,
    /// What the config says the image runs on.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// Where the layers' bytes are.
    pub origin: Origin,
}

/// Why an image could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Its name is malformed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The digest after a layout's path is malformed.
    #[error(transparent)]
    Digest(#[from] kiln_solver::digest::DigestError),
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The layout did not give it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A document of it makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A document of it is not what its digest says, or the store refused it.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A layer is longer or shorter than its manifest says.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// It is not made for the platform.
    #[error("{reference}: no image for {wanted}; there are images for {}", offered.join(", "))]
    Platform {
        /// The name as typed.
        reference: String,
        /// The platform that was asked for.
        wanted: Platform,
        /// The platforms that there are.
        offered: Vec<String>,
    },
    /// Its indexes name each other.
    #[error("{0}: indexes are nested too deeply")]
    Depth(String),
    /// The store has its name, but not what it names.
    #[error("{0} is not in the store any more; build or pull the image that has it again")]
    Gone(Sha256Digest),
}

/// Finds images, and brings their layers into the store.
pub struct Images {
    pub(super) store: Store,
    pub(super) registry: Registry,
    pub(super) fetches: Fetches,
}

impl Images {
    /// Finds images for a store.
    pub fn new(store: Store, registry: RegistrySettings) -> Self {
        Self {
            store,
            registry: Registry::new(registry),
            fetches: Fetches::default(),
        }
    }

    /// Finds an image. With `pull` (or a digest in the name) the store's own images do not count;
    /// without, one that a build put into the store goes before a registry's of the same name.
    pub async fn resolve(
        &self,
        location: &Location,
        platform: &Platform,
        pull: bool,
    ) -> Result<ResolvedImage, ResolveError> {
        match location {
            Location::Name(typed) => self.resolve_named(typed, platform, pull).await,
            Location::Layout(typed) => {
                let reference = LayoutReference::parse(typed)?;
                self.resolve_layout(&reference, platform).await
            }
        }
    }

    async fn resolve_named(
        &self,
        typed: &str,
        platform: &Platform,
        pull: bool,
    ) -> Result<ResolvedImage, ResolveError> {
        let reference: Reference = typed.parse()?;
        let full = reference.with_default_tag();
        let top = |digest| Top {
            reference: typed.to_owned(),
            name: full.to_string(),
            digest,
            media_type: None,
        };
        let is_store_asked = !pull && reference.digest.is_none();
        if is_store_asked && let Some(image) = self.store.index().image(&full.to_string())? {
            let found = self
                .complete(top(image.manifest), Origin::Store, platform)
                .await;
            match found {
                // A registry may have an image of that name that is whole, or for this platform.
                Err(ResolveError::Gone(_)) => {}
                Ok(image) if !platform::runs(platform, &image.platform) => {}
                other => return other,
            }
        }
        let (digest, media_type) = match reference.digest {
            Some(digest) => (digest, None),
            None => self.ask_registry(&full).await?,
        };
        let top = Top {
            media_type,
            ..top(digest)
        };
        self.complete(top, Origin::Registry(full), platform).await
    }

    /// What a tag stands for now.
    async fn ask_registry(
        &self,
        reference: &Reference,
    ) -> Result<(Sha256Digest, Option<String>), ResolveError> {
        match self.registry.head_manifest(reference).await {
            Ok(ManifestHead {
                digest: Some(digest),
                media_type,
            }) => return Ok((digest, media_type)),
            // Not every server tells the digest, and some do not know the method.
            Ok(_) => {}
            Err(RegistryError::Status {
                status: 405 | 501, ..
            }) => {}
            Err(error) => return Err(error.into()),
        }
        let (bytes, media_type) = self.registry.manifest(reference, MAXIMUM_MANIFEST).await?;
        Ok((self.store.put_blob(&bytes)?, media_type))
    }

    async fn resolve_layout(
        &self,
        reference: &LayoutReference,
        platform: &Platform,
    ) -> Result<ResolvedImage, ResolveError> {
        let layout = Arc::new(Layout::open(&reference.path)?);
        let typed = describe_layout(reference);
        let origin = LayoutOrigin {
            layout: Arc::clone(&layout),
            saved_layers: None,
        };
        if layout.is_docker_archive() {
            return self.resolve_saved(&layout, reference, typed);
        }
        let found = layout.find(reference)?;
        let top = Top {
            name: typed.clone(),
            reference: typed,
            digest: found.digest,
            media_type: Some(found.media_type).filter(|text| !text.is_empty()),
        };
        self.complete(top, Origin::Layout(origin), platform).await
    }

    /// From a manifest or index to the image for a platform.
    async fn complete(
        &self,
        top: Top,
        origin: Origin,
        platform: &Platform,
    ) -> Result<ResolvedImage, ResolveError> {
        let mut digest = top.digest;
        let mut media_type = top.media_type.clone();
        for _ in 0..MAXIMUM_DEPTH {
            let kind = DocumentKind::Manifest;
            let bytes = self
                .document(&origin, kind, &digest, MAXIMUM_MANIFEST)
                .await?;
            let what = origin.describe(&self.registry, kind, &digest);
            match Document::parse(&bytes, media_type.as_deref(), &what)? {
                Document::Manifest(manifest) => {
                    return self.read_image(&top, digest, &manifest, origin).await;
                }
                Document::Index(index) => {
                    let candidates = platform::candidates(&index, platform);
                    let chosen = candidates.first().ok_or_else(|| ResolveError::Platform {
                        reference: top.reference.clone(),
                        wanted: platform.clone(),
                        offered: platform::offered(&index),
                    })?;
                    digest = chosen.digest;
                    media_type = Some(chosen.media_type.clone());
                }
            }
        }
        Err(ResolveError::Depth(top.reference))
    }

    async fn read_image(
        &self,
        top: &Top,
        digest: Sha256Digest,
        manifest: &super::Manifest,
        origin: Origin,
    ) -> Result<ResolvedImage, ResolveError> {
        let kind = DocumentKind::Config;
        let config_digest = manifest.config.digest;
        let config = self
            .document(&origin, kind, &config_digest, MAXIMUM_CONFIG)
            .await?;
        let what = origin.describe(&self.registry, kind, &config_digest);
        let parsed = Config::parse(&config, &what)?;
        parsed.check_layers(manifest, &what)?;
        origin.check_sizes(&manifest.layers)?;
        let pairs = parsed.diff_ids.iter().zip(&manifest.layers);
        let layers = pairs.map(|(diff_id, descriptor)| ImageLayer {
            diff_id: *diff_id,
            descriptor: descriptor.clone(),
        });
        Ok(ResolvedImage {
            reference: top.reference.clone(),
            name: top.name.clone(),
            digest: top.digest,
            manifest: digest,
            layers: layers.collect(),
            config,
            platform: parsed.platform,
            origin,
        })
    }

    /// Reads a document from the store, or from its origin into the store.
    async fn document(
        &self,
        origin: &Origin,
        kind: DocumentKind,
        digest: &Sha256Digest,
        limit: u64,
    ) -> Result<Vec<u8>, ResolveError> {
        if self.store.has_blob(digest) {
            match self.store.read_blob(digest, limit) {
                // A damaged copy is no reason to fail while there is an origin.
                Err(BlobError::Digest { .. }) if !matches!(origin, Origin::Store) => {
                    let _ = std::fs::remove_file(self.store.blob_path(digest));
                }
                other => return Ok(other?),
            }
        }
        let bytes = origin.document(&self.registry, kind, digest, limit).await?;
        let found = sha256(&bytes);
        if found != *digest {
            let what = origin.describe(&self.registry, kind, digest);
            let expected = *digest;
            return Err(BlobError::Digest {
                what,
                expected,
                found,
            }
            .into());
        }
        self.store.put_blob(&bytes)?;
        Ok(bytes)
    }
}

/// Where reading an image begins.
struct Top {
    reference: String,
    name: String,
    digest: Sha256Digest,
    media_type: Option<String>,
}

fn describe_layout(reference: &LayoutReference) -> String {
    let mut text = format!("oci-layout://{}", reference.path.display());
    if let Some(tag) = &reference.tag {
        text.push(':');
        text.push_str(tag);
    }
    if let Some(digest) = &reference.digest {
        text.push('@');
        text.push_str(&digest.to_string());
    }
    text
}
