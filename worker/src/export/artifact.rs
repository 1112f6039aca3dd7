//! What is no image and travels like one: an artifact of Kiln's own in an image layout, so that every
//! tool and registry takes it (OCI image specification, "Guidelines for Artifact Usage").

use std::collections::BTreeMap;

use kiln_solver::StepReporter;

use super::layers::TravelingLayer;
use super::oci::{Parts, REF_NAME};
use super::{ExportError, LayoutDestination, document};
use crate::image::{Descriptor, media_type};
use crate::stop::Stop;
use crate::store::{Store, sha256};

/// An artifact that is ready to travel.
pub(crate) struct Artifact {
    /// What it is.
    pub(crate) artifact_type: &'static str,
    /// What its config is: not every tool keeps the artifact's type.
    pub(crate) config_type: &'static str,
    /// The config.
    pub(crate) config: Vec<u8>,
    /// Its layers, of which several may be the same.
    pub(crate) layers: Vec<TravelingLayer>,
    /// Its name in the layout: another of that name gives way.
    pub(crate) tag: String,
}

/// Writes an artifact into a layout; its manifest.
pub(crate) fn write_artifact(
    store: &Store,
    artifact: Artifact,
    destination: LayoutDestination,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Descriptor, ExportError> {
    let Artifact {
        artifact_type,
        config_type,
        config: config_bytes,
        layers,
        tag,
    } = artifact;
    let config = Descriptor::new(
        config_type,
        sha256(&config_bytes),
        config_bytes.len() as u64,
    );
    let descriptors: Vec<Descriptor> = layers.iter().map(|l| l.descriptor.clone()).collect();
    let none = BTreeMap::new();
    let manifest_bytes = document::manifest(Some(artifact_type), &config, &descriptors, &none);
    let manifest = Descriptor {
        artifact_type: Some(artifact_type.to_owned()),
        annotations: BTreeMap::from([(REF_NAME.to_owned(), tag)]),
        ..Descriptor::new(
            media_type::OCI_MANIFEST,
            sha256(&manifest_bytes),
            manifest_bytes.len() as u64,
        )
    };
    let parts = Parts {
        config,
        config_bytes,
        layers,
        entries: vec![manifest.clone()],
        manifest: manifest.clone(),
        manifest_bytes,
        docker_manifest: None,
    };
    parts.write(store, destination, stop, reporter)?;
    Ok(manifest)
}
