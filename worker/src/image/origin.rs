//! Where an image was found, and how its documents are had from there.

use std::sync::Arc;

use kiln_solver::{DiffId, Sha256Digest};

use super::descriptor::Descriptor;
use super::fetch::SizeError;
use super::layout::{Layout, blob_name};
use super::layout_hold::LayoutHold;
use super::resolve::ResolveError;
use crate::registry::Registry;
use kiln_solver::Reference;

/// Where an image was found.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In the store: a build put it there.
    Store,
    /// In a layout on disk.
    Layout(LayoutOrigin),
    /// In a registry.
    Registry(Reference),
}

/// A layout that an image was found in.
#[derive(Debug, Clone)]
pub struct LayoutOrigin {
    pub(super) layout: Arc<Layout>,
    /// The file of each layer, by position, where the layout does not name blobs by digest.
    pub(super) saved_layers: Option<Arc<Vec<(DiffId, String)>>>,
}

impl LayoutOrigin {
    /// What keeps the layout's blobs where they are.
    pub(crate) fn hold(&self) -> Option<&LayoutHold> {
        self.layout.hold()
    }

    /// The file of a layer; whether it may be compressed although its digest is a diff id.
    pub(super) fn layer_name(&self, digest: &Sha256Digest) -> (String, bool) {
        let saved = self.saved_layers.iter().flat_map(|layers| layers.iter());
        let mut saved = saved.filter(|(diff_id, _)| Sha256Digest::from(*diff_id) == *digest);
        match saved.next() {
            Some((_, name)) => (name.clone(), true),
            None => (blob_name(digest), false),
        }
    }
}

/// What kind of document is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentKind {
    Manifest,
    Config,
}

impl Origin {
    /// Whether the layers' sizes are those of files that may be compressed, where their digests are diff ids.
    pub(super) fn says_no_sizes(&self) -> bool {
        matches!(self, Origin::Layout(origin) if origin.saved_layers.is_some())
    }

    /// Looks whether the layers that are at hand are as long as their manifest says.
    pub(super) fn check_sizes(&self, layers: &[Descriptor]) -> Result<(), SizeError> {
        let Origin::Layout(LayoutOrigin { layout, .. }) = self else {
            return Ok(());
        };
        layers.iter().try_for_each(|layer| {
            let name = blob_name(&layer.digest);
            match layout.size(&name) {
                Some(found) if found != layer.size => Err(SizeError {
                    what: layout.path().join(name).display().to_string(),
                    expected: layer.size,
                    found,
                }),
                _ => Ok(()),
            }
        })
    }

    /// Fetches a document, unverified.
    pub(super) async fn document(
        &self,
        registry: &Registry,
        kind: DocumentKind,
        digest: &Sha256Digest,
        limit: u64,
    ) -> Result<Vec<u8>, ResolveError> {
        match self {
            Origin::Store => Err(ResolveError::Gone(*digest)),
            Origin::Layout(origin) => Ok(origin.layout.read(&blob_name(digest), limit)?),
            Origin::Registry(reference) => match kind {
                DocumentKind::Manifest => {
                    let pinned = Reference {
                        digest: Some(*digest),
                        ..reference.clone()
                    };
                    Ok(registry.manifest(&pinned, limit).await?.0)
                }
                DocumentKind::Config => Ok(registry.small_blob(reference, digest, limit).await?),
            },
        }
    }

    /// What to call a document of this origin in errors.
    pub(super) fn describe(
        &self,
        registry: &Registry,
        kind: DocumentKind,
        digest: &Sha256Digest,
    ) -> String {
        match (self, kind) {
            (Origin::Store, _) => format!("{digest} in the store"),
            (Origin::Layout(origin), _) => origin
                .layout
                .path()
                .join(blob_name(digest))
                .display()
                .to_string(),
            (Origin::Registry(reference), DocumentKind::Manifest) => {
                let pinned = Reference {
                    digest: Some(*digest),
                    ..reference.clone()
                };
                registry.manifest_url(&pinned)
            }
            (Origin::Registry(reference), DocumentKind::Config) => {
                registry.blob_url(reference, digest)
            }
        }
    }
}
