//! `type=oci` and `type=docker`: an image layout as a tar or a directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_solver::StepReporter;
use serde::Serialize;

use super::layers::{TravelingLayer, prepare};
use super::{
    BuiltImage, Destination, ExportError, Exported, SharedImage, blocking, document, layout,
    layout_directory,
};
use crate::image::{Config, Descriptor, Reference, media_type};
use crate::layer::Compression;
use crate::stop::Stop;
use crate::store::{Store, sha256};

pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const CREATED: &str = "org.opencontainers.image.created";

/// Where a layout goes.
pub enum LayoutDestination {
    /// Into a tar.
    Tar(Destination),
    /// Into a directory, beside images that are there already.
    Directory(PathBuf),
}

/// What goes beside the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Nothing.
    Oci,
    /// What `docker load` of older versions reads.
    Docker,
}

/// How a layout is written.
pub struct OciOptions {
    /// Where it goes.
    pub destination: LayoutDestination,
    /// The image's names.
    pub names: Vec<Reference>,
    /// How layers are compressed that no registry has compressed already.
    pub compression: Compression,
    /// Whether those that a registry has compressed are compressed again.
    pub force_compression: bool,
    /// What goes beside it.
    pub flavor: Flavor,
}

/// All that makes up an image in a layout.
pub(super) struct Parts {
    pub(super) config: Descriptor,
    pub(super) config_bytes: Vec<u8>,
    pub(super) layers: Vec<TravelingLayer>,
    pub(super) manifest: Descriptor,
    pub(super) manifest_bytes: Vec<u8>,
    /// The entries of index.json, one for each name.
    pub(super) entries: Vec<Descriptor>,
    /// manifest.json, if it is wanted.
    pub(super) docker_manifest: Option<Vec<u8>>,
}

/// Writes an image layout. Dropping the future ends the work, and leaves nothing.
pub async fn to_oci(
    store: &Store,
    image: BuiltImage,
    options: OciOptions,
    reporter: &StepReporter,
) -> Result<Exported, ExportError> {
    let (store, image, reporter) = (store.clone(), Arc::new(image), reporter.clone());
    blocking(move |stop| write(&store, &image, options, stop, &reporter)).await
}

fn write(
    store: &Store,
    image: &SharedImage,
    options: OciOptions,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Exported, ExportError> {
    let (compression, force) = (options.compression, options.force_compression);
    let layers = prepare(store, image, compression, force, stop, reporter)?;
    let parts = Parts::assemble(image, layers, &options)?;
    parts.write(store, options.destination, stop, reporter)?;
    Ok(parts.exported())
}

impl Parts {
    pub(super) fn write(
        &self,
        store: &Store,
        destination: LayoutDestination,
        stop: &Stop,
        reporter: &StepReporter,
    ) -> Result<(), ExportError> {
        match destination {
            LayoutDestination::Tar(Destination::File(path)) => {
                layout::to_file(store, self, &path, stop, reporter)
            }
            LayoutDestination::Tar(Destination::Stream(mut writer)) => {
                layout::to_stream(store, self, &mut *writer, stop, reporter)
            }
            LayoutDestination::Directory(path) => {
                layout_directory::to_directory(store, self, &path, stop, reporter)
            }
        }
    }

    fn assemble(
        image: &BuiltImage,
        layers: Vec<TravelingLayer>,
        options: &OciOptions,
    ) -> Result<Self, ExportError> {
        let created = Config::parse(&image.config, "the image's config")
            .map_err(|error| ExportError::Config(error.to_string()))?
            .created;
        let config = Descriptor::new(
            media_type::OCI_CONFIG,
            sha256(&image.config),
            image.config.len() as u64,
        );
        let descriptors: Vec<Descriptor> = layers.iter().map(|l| l.descriptor.clone()).collect();
        let manifest_bytes = document::manifest(None, &config, &descriptors, &image.annotations);
        let manifest = Descriptor {
            platform: Some(image.platform.clone()),
            annotations: created
                .map(|time| (CREATED.to_owned(), time))
                .into_iter()
                .chain(image.descriptor_annotations.clone())
                .collect(),
            ..Descriptor::new(
                media_type::OCI_MANIFEST,
                sha256(&manifest_bytes),
                manifest_bytes.len() as u64,
            )
        };
        let docker_manifest = match options.flavor {
            Flavor::Oci => None,
            Flavor::Docker => Some(docker_manifest(&config, &descriptors, &options.names)),
        };
        Ok(Self {
            entries: entries(&manifest, &options.names),
            config,
            config_bytes: image.config.clone(),
            layers,
            manifest,
            manifest_bytes,
            docker_manifest,
        })
    }

    fn exported(&self) -> Exported {
        let layers: u64 = self.layers.iter().map(|layer| layer.descriptor.size).sum();
        Exported {
            manifest: self.manifest.clone(),
            config: self.config.digest,
            size: layers + self.config.size + self.manifest.size,
        }
    }
}

/// One entry for each name, annotated as BuildKit does; an image without names has one entry.
fn entries(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![manifest.clone()];
    }
    let named = |name: &Reference| {
        let name = name.with_default_tag();
        let mut annotations = BTreeMap::from([(CONTAINERD_NAME.to_owned(), name.to_string())]);
        let tag = name.tag_or_latest().map(str::to_owned);
        annotations.extend(tag.map(|tag| (REF_NAME.to_owned(), tag)));
        annotations.extend(manifest.annotations.clone());
        Descriptor {
            annotations,
            ..manifest.clone()
        }
    };
    names.iter().map(named).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn docker_manifest(config: &Descriptor, layers: &[Descriptor], names: &[Reference]) -> Vec<u8> {
    let path = |descriptor: &Descriptor| layout::blob_name(&descriptor.digest);
    let image = DockerImage {
        config: path(config),
        repo_tags: names
            .iter()
            .map(|name| name.with_default_tag().familiar())
            .collect(),
        layers: layers.iter().map(path).collect(),
    };
    serde_json::to_vec(&[image]).expect("documents have string keys only")
}
