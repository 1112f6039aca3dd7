//! Artifacts of Kiln's own in image layouts: found by what their config is, since not every tool keeps
//! an artifact's type.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::Sha256Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::descriptor::{Descriptor, media_type};
use super::layout::{Layout, LayoutError, blob_name, has_name};
use super::manifest::{Document, MAXIMUM_MANIFEST, Manifest, ManifestError, parse_artifact};
use super::origin::LayoutOrigin;
use super::verified::Verified;
use super::{ImageLayer, Origin, ResolvedImage};
use crate::store::sha256;

/// A layout may list other things beside, but not very many of them.
const MAXIMUM_CANDIDATES: usize = 1000;

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The layout could not be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A document of it is damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A document of it is not what its digest says.
    #[error("{what}: expected digest {expected}, but the content has {found}")]
    Digest {
        /// The document.
        what: String,
        /// Its name.
        expected: Sha256Digest,
        /// What the bytes hash to.
        found: Sha256Digest,
    },
    /// It holds none of that kind.
    #[error("{}: there are no {kind} in this layout", path.display())]
    None {
        /// The layout.
        path: PathBuf,
        /// What is looked for.
        kind: &'static str,
    },
    /// It holds several, and none has the name that was asked for.
    #[error("{}: there are several {kind} in this layout, and none is tagged {tag:?}", path.display())]
    Several {
        /// The layout.
        path: PathBuf,
        /// What is looked for.
        kind: &'static str,
        /// The name.
        tag: String,
    },
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArtifactKind {
    /// The media type of its config.
    pub(crate) config_type: &'static str,
    /// No config may be longer, in bytes.
    pub(crate) maximum_config: u64,
    /// What people call several of it.
    pub(crate) name: &'static str,
}

/// An artifact whose documents were read and verified.
pub(crate) struct StoredArtifact {
    layout: Arc<Layout>,
    manifest: Sha256Digest,
    pub(crate) config: Vec<u8>,
    /// What to call the config in errors.
    pub(crate) config_name: String,
    pub(crate) layers: Vec<Descriptor>,
}

impl StoredArtifact {
    /// Finds the one of a kind in a layout: the only one, or that with the tag.
    pub(crate) fn find(path: &Path, kind: ArtifactKind, tag: &str) -> Result<Self, ArtifactError> {
        let layout = Layout::open(path)?;
        let mut found = Vec::new();
        for entry in layout.entries()?.into_iter().take(MAXIMUM_CANDIDATES) {
            if let Some(manifest) = candidate(&layout, &entry, kind)? {
                found.push((entry, manifest));
            }
        }
        let is_named = |(entry, _): &(Descriptor, Manifest)| has_name(entry, tag);
        let index = match (found.iter().position(is_named), found.len()) {
            (Some(index), _) => index,
            (None, 0) => {
                return Err(ArtifactError::None {
                    path: path.to_owned(),
                    kind: kind.name,
                });
            }
            (None, 1) => 0,
            (None, _) => {
                return Err(ArtifactError::Several {
                    path: path.to_owned(),
                    kind: kind.name,
                    tag: tag.to_owned(),
                });
            }
        };
        let (entry, manifest) = found.swap_remove(index);
        let config = manifest.config.digest;
        Ok(Self {
            config: document(&layout, &config, kind.maximum_config)?,
            config_name: describe(&layout, &config),
            layers: manifest.layers,
            manifest: entry.digest,
            layout: Arc::new(layout),
        })
    }

    /// Opens the blob of a layer. Reading fails before its end if it is not what its descriptor says.
    pub(crate) fn open(&self, layer: &Descriptor) -> Result<impl Read + Send + use<>, LayoutError> {
        let file = self.layout.file(&blob_name(&layer.digest))?;
        Ok(Verified::new(file.reader, layer.digest, layer.size))
    }

    /// Whether the blob of a layer is there and as long as it should be.
    pub(crate) fn has(&self, layer: &Descriptor) -> bool {
        self.layout.size(&blob_name(&layer.digest)) == Some(layer.size)
    }

    /// Its layers as those of an image, to be fetched like any other's.
    pub(crate) fn into_image(self, layers: Vec<ImageLayer>) -> ResolvedImage {
        let name = format!("the cache in {}", self.layout.path().display());
        ResolvedImage {
            reference: name.clone(),
            name,
            digest: self.manifest,
            manifest: self.manifest,
            config: Vec::new(),
            platform: kiln_solver::Platform::host(),
            layers,
            origin: Origin::Layout(LayoutOrigin {
                layout: self.layout,
                saved_layers: None,
            }),
        }
    }
}

/// Reads the config of an artifact of Kiln's, in the one version that is known; an error says what is wrong.
pub(crate) fn parse_config<T: DeserializeOwned>(bytes: &[u8], version: u32) -> Result<T, String> {
    /// What configs of all versions have.
    #[derive(Deserialize)]
    struct Probe {
        version: u32,
    }
    let probe: Probe = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if probe.version != version {
        let found = probe.version;
        return Err(format!(
            "it has version {found}, and only {version} is known"
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// The manifest of an entry, if it is of that kind. What is listed and not there is nothing of ours.
fn candidate(
    layout: &Layout,
    entry: &Descriptor,
    kind: ArtifactKind,
) -> Result<Option<Manifest>, ArtifactError> {
    if entry.media_type != media_type::OCI_MANIFEST {
        return Ok(None);
    }
    let bytes = match document(layout, &entry.digest, MAXIMUM_MANIFEST) {
        Err(ArtifactError::Layout(LayoutError::Incomplete { .. }))
            if entry.artifact_type.is_none() =>
        {
            return Ok(None);
        }
        bytes => bytes?,
    };
    let manifest = parse_artifact(&bytes, &describe(layout, &entry.digest))?;
    Ok(Some(manifest).filter(|manifest| manifest.config.media_type == kind.config_type))
}

fn document(layout: &Layout, digest: &Sha256Digest, limit: u64) -> Result<Vec<u8>, ArtifactError> {
    let bytes = layout.read(&blob_name(digest), limit)?;
    let found = sha256(&bytes);
    if found == *digest {
        return Ok(bytes);
    }
    Err(ArtifactError::Digest {
        what: describe(layout, digest),
        expected: *digest,
        found,
    })
}

fn describe(layout: &Layout, digest: &Sha256Digest) -> String {
    let path = layout.path().join(blob_name(digest));
    path.display().to_string()
}

impl Layout {
    /// What index.json lists.
    fn entries(&self) -> Result<Vec<Descriptor>, ArtifactError> {
        let bytes = self.read("index.json", MAXIMUM_MANIFEST)?;
        let what = self.path().join("index.json").display().to_string();
        match Document::parse(&bytes, None, &what)? {
            Document::Index(index) => Ok(index.manifests),
            Document::Manifest(_) => Err(self.not_a_layout("index.json is no image index").into()),
        }
    }
}
