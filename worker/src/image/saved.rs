//! Images as `docker save` wrote them before it knew of layouts: a tar with manifest.json, which
//! names the layers' files but not their digests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::descriptor::{Descriptor, media_type};
use super::layout::{Layout, LayoutError, LayoutReference};
use super::manifest::{Config, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest};
use super::origin::{LayoutOrigin, Origin};
use super::resolve::{ImageLayer, Images, ResolveError, ResolvedImage};
use crate::store::sha256;

impl Images {
    /// An image of an archive that names its layers' files instead of their digests.
    pub(super) fn resolve_saved(
        &self,
        layout: &Arc<Layout>,
        reference: &LayoutReference,
        typed: String,
    ) -> Result<ResolvedImage, ResolveError> {
        let bytes = layout.read("manifest.json", MAXIMUM_MANIFEST)?;
        let images: Vec<SavedImage> =
            serde_json::from_slice(&bytes).map_err(|error| LayoutError::NotALayout {
                path: layout.path().to_owned(),
                problem: format!("manifest.json is damaged: {error}"),
            })?;
        let image = SavedImage::choose(images, reference.tag.as_deref(), layout.path())?;
        let config = layout.read(&image.config, MAXIMUM_CONFIG)?;
        let what = layout.path().join(&image.config).display().to_string();
        let parsed = Config::parse(&config, &what)?;
        let names = image.layers.unwrap_or_default();
        let layers: Vec<ImageLayer> = parsed
            .diff_ids
            .iter()
            .zip(&names)
            .map(|(diff_id, name)| ImageLayer {
                diff_id: *diff_id,
                descriptor: Descriptor::new(
                    media_type::OCI_LAYER,
                    (*diff_id).into(),
                    layout.size(name).unwrap_or_default(),
                ),
            })
            .collect();
        let descriptors = layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        let manifest = Manifest {
            config: Descriptor::new(media_type::OCI_CONFIG, sha256(&config), config.len() as u64),
            layers: descriptors,
        };
        parsed.check_layers(&manifest, &what)?;
        let saved = parsed.diff_ids.iter().copied().zip(names).collect();
        let digest = self.store.put_blob(&config)?;
        Ok(ResolvedImage {
            name: typed.clone(),
            reference: typed,
            digest,
            manifest: digest,
            config,
            platform: parsed.platform,
            layers,
            origin: Origin::Layout(LayoutOrigin {
                layout: Arc::clone(layout),
                saved_layers: Some(Arc::new(saved)),
            }),
        })
    }
}

/// The document that `docker save` wrote before it knew of layouts.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    /// The config's file.
    config: String,
    /// Names of the image.
    repo_tags: Option<Vec<String>>,
    /// The layers' files, lowest first.
    layers: Option<Vec<String>>,
}

impl SavedImage {
    /// The image of that tag; without one, the only image.
    fn choose(images: Vec<Self>, tag: Option<&str>, path: &Path) -> Result<Self, LayoutError> {
        let known: Vec<String> = images
            .iter()
            .flat_map(|image| image.repo_tags.clone().unwrap_or_default())
            .collect();
        let is_wanted = |image: &Self| {
            let tags = image.repo_tags.as_deref().unwrap_or_default();
            let is_named = |tag: &str| {
                let suffix = format!(":{tag}");
                tags.iter()
                    .any(|name| name == tag || name.ends_with(&suffix))
            };
            tag.is_some_and(is_named)
        };
        let only = tag.is_none() && images.len() == 1;
        images
            .into_iter()
            .find(|image| only || is_wanted(image))
            .ok_or_else(|| LayoutError::NoSuchImage {
                path: PathBuf::from(path),
                wanted: tag.map_or_else(
                    || "without a name".to_owned(),
                    |tag| format!("tagged {tag:?}"),
                ),
                known: known.join(", "),
            })
    }
}
