//! Manifests and indexes as Kiln writes them: always the same bytes for the same image.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::image::{Descriptor, media_type};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'m> {
    schema_version: u32,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'static str>,
    config: &'m Descriptor,
    layers: &'m [Descriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'m BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'m> {
    schema_version: u32,
    media_type: &'static str,
    manifests: &'m [serde_json::Value],
}

/// An image manifest; what is no image says what it is.
pub(super) fn manifest(
    artifact_type: Option<&'static str>,
    config: &Descriptor,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    to_json(&Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST,
        artifact_type,
        config,
        layers,
        annotations,
    })
}

/// The index of a layout. Entries are JSON, since those of others may say more than Kiln knows.
pub(super) fn index(manifests: &[serde_json::Value]) -> Vec<u8> {
    to_json(&Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX,
        manifests,
    })
}

/// Indented by two blanks, as BuildKit writes.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("documents have string keys only")
}
