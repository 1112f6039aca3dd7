//! Writes what the build was asked for, in the forms that were asked for.

use anyhow::{Context, Result};
use kiln_solver::{Reporter, Sha256Digest};
use kiln_worker::executor::{LayerSource, missing_layers};
use kiln_worker::export::{
    BuiltImage, BuiltLayer, Destination as WriteTo, Exported, Flavor, LayoutDestination,
    LocalOptions, OciOptions, to_directory, to_oci, to_store, to_tar,
};
use kiln_worker::image::Reference;
use kiln_worker::layer::Compression;
use kiln_worker::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::finish::{Product, Products};
use super::images::BaseLayers;
use super::{Backends, BuildSettings};
use crate::settings::{self, Algorithm, Destination, Level, Output, OutputKind};

/// What a build came to.
pub struct Built {
    /// The image's names, unless only files were asked for.
    pub digests: Option<Digests>,
    /// How many bytes the image has, unless only files were asked for.
    pub size: Option<u64>,
    /// What `--metadata-file` says, by BuildKit's keys.
    pub metadata: Map<String, Value>,
}

/// The names of an image by its content.
#[derive(Debug, Clone, Copy)]
pub struct Digests {
    /// Its manifest.
    pub manifest: Sha256Digest,
    /// Its config: what Docker calls the image's id.
    pub config: Sha256Digest,
}

/// Where an image's layers are.
#[derive(Clone, Copy)]
pub(super) struct Layers<'l> {
    /// Those of the base images travel as they came.
    pub(super) base: &'l BaseLayers,
    /// Where those come from that are not in the store.
    pub(super) source: &'l dyn LayerSource,
}

/// Writes all outputs.
pub(super) async fn write(
    settings: &BuildSettings,
    backends: &Backends,
    layers: Layers<'_>,
    products: &Products,
    reporter: &Reporter,
) -> Result<Built> {
    let names = references(&settings.tags)?;
    let mut exported = None;
    for output in &settings.outputs {
        let product = products.for_output(output);
        let writing = Writing {
            backends,
            layers,
            image: &BuiltImage {
                file_time: products.file_time,
                ..built_image(settings, output, layers.base, product)
            },
            snapshot: &product.snapshot,
            names: &names,
            is_root: backends.is_machine_root,
        };
        let step = reporter.start(title(output));
        match writing.write(output, &step).await {
            Ok(result) => {
                step.finished();
                exported = result.or(exported);
            }
            Err(error) => {
                step.failed(crate::report::chain(error.as_ref()));
                return Err(error);
            }
        }
    }
    let digests = exported.as_ref().map(|exported| Digests {
        manifest: exported.manifest.digest,
        config: exported.config,
    });
    Ok(Built {
        digests,
        size: exported.as_ref().map(|exported| exported.size),
        metadata: metadata(exported.as_ref(), &names),
    })
}

fn built_image(
    settings: &BuildSettings,
    output: &Output,
    base: &BaseLayers,
    product: &Product,
) -> BuiltImage {
    let Product { image, snapshot } = product;
    let all = [&settings.annotations[..], &output.annotations].concat();
    let annotations = |level| settings::annotations_of(&all, level, &image.platform);
    let layer = |diff_id| BuiltLayer {
        diff_id,
        original: base.original(&diff_id),
    };
    BuiltImage {
        config: image.config.clone(),
        layers: snapshot.diff_ids().into_iter().map(layer).collect(),
        platform: image.platform.clone(),
        annotations: annotations(Level::Manifest),
        descriptor_annotations: annotations(Level::ManifestDescriptor),
        file_time: None,
    }
}

fn title(output: &Output) -> &'static str {
    match output.kind {
        OutputKind::Image => "exporting to image",
        OutputKind::OciArchive(_) | OutputKind::OciDirectory(_) => "exporting to oci image format",
        OutputKind::Tar(_) => "exporting to client tarball",
        OutputKind::Local(_) => "exporting to client directory",
    }
}

struct Writing<'w> {
    backends: &'w Backends,
    layers: Layers<'w>,
    image: &'w BuiltImage,
    snapshot: &'w Snapshot,
    names: &'w [Reference],
    /// Whether files may be given to other users.
    is_root: bool,
}

impl Writing<'_> {
    async fn write(
        &self,
        output: &Output,
        step: &kiln_solver::StepReporter,
    ) -> Result<Option<Exported>> {
        let store = &self.backends.store;
        self.fetch_what_was_not_needed_yet(step).await?;
        match &output.kind {
            OutputKind::Image => {
                let exported = to_store(store, self.image, self.names)?;
                for name in self.names {
                    let line = format!("naming to {}\n", name.with_default_tag());
                    step.log(kiln_solver::LogStream::Stderr, line.as_bytes());
                }
                Ok(Some(exported))
            }
            OutputKind::OciArchive(to) => self
                .oci(LayoutDestination::Tar(destination(to)), output, step)
                .await
                .map(Some),
            OutputKind::OciDirectory(path) => {
                let to = LayoutDestination::Directory(path.clone());
                self.oci(to, output, step).await.map(Some)
            }
            OutputKind::Tar(to) => {
                to_tar(store, self.image.clone(), destination(to), step).await?;
                Ok(None)
            }
            OutputKind::Local(directory) => {
                let options = LocalOptions {
                    directory: directory.clone(),
                    keep_owners: self.is_root,
                };
                to_directory(store, self.image.clone(), options, step).await?;
                Ok(None)
            }
        }
    }

    async fn oci(
        &self,
        destination: LayoutDestination,
        output: &Output,
        step: &kiln_solver::StepReporter,
    ) -> Result<Exported> {
        let options = OciOptions {
            destination,
            names: self.names.to_vec(),
            compression: compression(&output.compression)?,
            force_compression: false,
            flavor: Flavor::Oci,
        };
        Ok(to_oci(&self.backends.store, self.image.clone(), options, step).await?)
    }

    /// Layers of the base image, or of a cache, that no step had to see.
    async fn fetch_what_was_not_needed_yet(&self, step: &kiln_solver::StepReporter) -> Result<()> {
        let missing = missing_layers(
            &self.backends.store,
            self.layers.source,
            &self.snapshot.diff_ids(),
        )?;
        if missing.is_empty() {
            return Ok(());
        }
        self.layers
            .source
            .fetch(&missing, step)
            .await
            .map_err(|error| anyhow::anyhow!(error))
            .context("cannot fetch the image's layers")
    }
}

fn destination(destination: &Destination) -> WriteTo {
    match destination {
        Destination::File(path) => WriteTo::File(path.clone()),
        Destination::Stdout => WriteTo::Stream(Box::new(std::io::stdout())),
    }
}

fn references(tags: &[String]) -> Result<Vec<Reference>> {
    tags.iter()
        .map(|tag| {
            tag.parse::<Reference>()
                .with_context(|| format!("--tag {tag}"))
        })
        .collect()
}

fn compression(settings: &settings::Compression) -> Result<Compression> {
    Ok(match settings.algorithm {
        Some(Algorithm::Uncompressed) => Compression::Uncompressed,
        None | Some(Algorithm::Gzip) => Compression::gzip(settings.level)?,
        Some(Algorithm::Zstd) => Compression::zstd(settings.level)?,
    })
}

fn metadata(exported: Option<&Exported>, names: &[Reference]) -> Map<String, Value> {
    let mut metadata = Map::new();
    if let Some(exported) = exported {
        let descriptor = &exported.manifest;
        metadata.insert(
            "containerimage.config.digest".into(),
            json!(exported.config),
        );
        metadata.insert("containerimage.descriptor".into(), json!(descriptor));
        metadata.insert("containerimage.digest".into(), json!(descriptor.digest));
    }
    if !names.is_empty() {
        let names: Vec<String> = names
            .iter()
            .map(|name| name.with_default_tag().to_string())
            .collect();
        metadata.insert("image.name".into(), json!(names.join(",")));
    }
    metadata
}
