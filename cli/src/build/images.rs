//! Answers what the frontend asks about base images, and remembers where their layers are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::{ImageLocation, ResolvedImage as KnownImage};
use kiln_frontend::source::Spanned;
use kiln_frontend::{Diagnostic, ImageRequest, Images as FrontendImages, Source};
use kiln_solver::{DiffId, Reporter, StepError, StepReporter};
use kiln_worker::executor::LayerSource;
use kiln_worker::image::{Descriptor, Images, Location, ResolvedImage};

use super::BuildError;
use crate::report::chain;

/// What is known of base images so far.
pub(super) struct ImageBook {
    images: Arc<Images>,
    pull: bool,
    known: BTreeMap<ImageRequest, KnownImage>,
    resolved: Vec<Arc<ResolvedImage>>,
}

impl FrontendImages for ImageBook {
    fn image(&self, request: &ImageRequest) -> Option<&KnownImage> {
        self.known.get(request)
    }
}

impl ImageBook {
    pub(super) fn new(images: Arc<Images>, pull: bool) -> Self {
        Self {
            images,
            pull,
            known: BTreeMap::new(),
            resolved: Vec::new(),
        }
    }

    /// Resolves what a round of lowering asked for, all at once. What is not found may be the
    /// misspelt name of a stage or context, one of `names`.
    pub(super) async fn resolve(
        &mut self,
        source: &Source,
        requests: &[Spanned<ImageRequest>],
        names: &[&str],
        reporter: &Reporter,
    ) -> Result<(), BuildError> {
        let failed = self.resolve_some(requests, reporter).await;
        let error = |(request, message): (Spanned<ImageRequest>, String)| {
            Diagnostic::error("image", request.span, message)
                .did_you_mean(short_name(&request.value), names.iter().copied())
        };
        let diagnostics: Vec<Diagnostic> = failed.into_iter().map(error).collect();
        if diagnostics.is_empty() {
            Ok(())
        } else {
            Err(BuildError::Dockerfile {
                dockerfile: Box::new(source.clone()),
                diagnostics,
            })
        }
    }

    /// Resolves what can be, all at once; returns the others, each with the reason.
    pub(super) async fn resolve_some(
        &mut self,
        requests: &[Spanned<ImageRequest>],
        reporter: &Reporter,
    ) -> Vec<(Spanned<ImageRequest>, String)> {
        let lookups = requests
            .iter()
            .map(|request| self.look_up(request, reporter));
        let answers = futures_util::future::join_all(lookups).await;
        let mut failed = Vec::new();
        for (request, answer) in requests.iter().zip(answers) {
            match answer {
                Ok((known, resolved)) => {
                    self.known.insert(request.value.clone(), known);
                    self.resolved.push(resolved);
                }
                Err(message) => failed.push((request.clone(), message)),
            }
        }
        failed
    }

    async fn look_up(
        &self,
        request: &Spanned<ImageRequest>,
        reporter: &Reporter,
    ) -> Result<(KnownImage, Arc<ResolvedImage>), String> {
        let ImageRequest { location, platform } = &request.value;
        let (name, location) = match location {
            ImageLocation::Registry(name) => (name, Location::Name(name.clone())),
            ImageLocation::Layout(layout) => (layout, Location::Layout(layout.clone())),
        };
        let step = reporter.start(format!("[internal] load metadata for {name}"));
        let resolved = self.images.resolve(&location, platform, self.pull).await;
        let answer = resolved
            .map_err(|error| chain(&error))
            .and_then(|resolved| {
                let config: ImageConfig = serde_json::from_slice(&resolved.config)
                    .map_err(|error| format!("{name}: the image's config is malformed: {error}"))?;
                let known = KnownImage {
                    digest: resolved.digest,
                    manifest: resolved.manifest,
                    config,
                };
                Ok((known, Arc::new(resolved)))
            });
        match &answer {
            Ok(_) => step.finished(),
            Err(message) => step.failed(message),
        }
        answer
    }

    /// Where the layers of all these images come from.
    pub(super) fn into_layer_source(self) -> BaseLayers {
        let mut owners = HashMap::new();
        for (index, image) in self.resolved.iter().enumerate() {
            for layer in &image.layers {
                owners.entry(layer.diff_id).or_insert(index);
            }
        }
        BaseLayers {
            images: self.images,
            resolved: self.resolved,
            owners,
        }
    }
}

/// Layers of the base images of one build.
pub(super) struct BaseLayers {
    images: Arc<Images>,
    resolved: Vec<Arc<ResolvedImage>>,
    /// Which image has a layer.
    owners: HashMap<DiffId, usize>,
}

impl BaseLayers {
    /// How a layer traveled from its registry, if it is a base image's.
    pub(super) fn original(&self, diff_id: &DiffId) -> Option<Descriptor> {
        let image = &self.resolved[*self.owners.get(diff_id)?];
        let layer = image
            .layers
            .iter()
            .find(|layer| layer.diff_id == *diff_id)?;
        Some(layer.descriptor.clone())
    }
}

#[async_trait]
impl LayerSource for BaseLayers {
    fn has(&self, diff_id: &DiffId) -> bool {
        self.owners.contains_key(diff_id)
    }

    async fn fetch(&self, layers: &[DiffId], reporter: &StepReporter) -> Result<(), StepError> {
        for (index, image) in self.resolved.iter().enumerate() {
            let wanted: Vec<DiffId> = layers
                .iter()
                .copied()
                .filter(|layer| self.owners.get(layer) == Some(&index))
                .collect();
            if !wanted.is_empty() {
                self.images.fetch_layers(image, &wanted, reporter).await?;
            }
        }
        Ok(())
    }
}

/// An image's name without registry, directories, tag and digest: what a stage could be called.
fn short_name(request: &ImageRequest) -> &str {
    let (ImageLocation::Registry(name) | ImageLocation::Layout(name)) = &request.location;
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split([':', '@']).next().unwrap_or(last)
}
