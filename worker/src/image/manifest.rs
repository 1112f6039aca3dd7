//! Manifests, indexes and configs as others wrote them: read, checked, and refused with a reason.

use std::collections::BTreeMap;

use kiln_solver::{DiffId, Platform, Sha256Digest};
use oci_spec::image::{Descriptor as OciDescriptor, ImageIndex, ImageManifest};
use serde::Deserialize;

use super::descriptor::{Descriptor, media_type};

/// No manifest or index may be longer (OCI distribution specification, "Pushing Manifests").
pub const MAXIMUM_MANIFEST: u64 = 4 << 20;
/// No image config may be longer.
pub const MAXIMUM_CONFIG: u64 = 16 << 20;
/// Overlayfs takes 500 layers; Docker refuses more than 127.
const MAXIMUM_LAYERS: usize = 500;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct ManifestError {
    /// The document: a path or a URL.
    pub what: String,
    /// What is wrong with it.
    pub problem: ManifestProblem,
}

/// What can be wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum ManifestProblem {
    /// It is no JSON, or not of the shape that it should have.
    #[error("not a valid {kind}: {source}")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Its media type is none that Kiln knows.
    #[error("the media type {0:?} is not one of a container image that Kiln can use")]
    MediaType(String),
    /// Docker's first manifest format.
    #[error(
        "the manifest has schema version 1, which Docker deprecated in 2019; push the image again \
         with a current tool"
    )]
    Schema1,
    /// It names a blob by something other than SHA-256.
    #[error("the digest {0:?} is not supported: only sha256 is")]
    Digest(String),
    /// A layer is no tar.
    #[error(
        "layer {digest} has the media type {media_type:?}, which is not a tar that Kiln can unpack"
    )]
    Layer {
        /// The layer.
        digest: Sha256Digest,
        /// What it is said to be.
        media_type: String,
    },
    /// There are too many layers.
    #[error("the image has {0} layers; at most 500 can be used")]
    TooManyLayers(usize),
    /// Config and manifest contradict each other.
    #[error("the manifest has {layers} layers, but the config has {diff_ids} diff ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Images for several platforms.
    Index(Index),
}

/// Reads the manifest of an artifact: of what is no image, so that config and layers may be anything.
pub(super) fn parse_artifact(bytes: &[u8], what: &str) -> Result<Manifest, ManifestError> {
    let parse = || {
        let manifest: ImageManifest = parse_as(bytes, "manifest")?;
        let layers = manifest.layers().iter().map(descriptor);
        Ok(Manifest {
            config: descriptor(manifest.config())?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    };
    parse().map_err(|problem| ManifestError {
        what: what.to_owned(),
        problem,
    })
}

/// What makes up one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its config.
    pub config: Descriptor,
    /// Its layers as they travel, lowest first.
    pub layers: Vec<Descriptor>,
}

/// A list of images, usually one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The images.
    pub manifests: Vec<IndexEntry>,
}

/// One image of an index; [`Descriptor::platform`] may say what it runs on.
pub type IndexEntry = Descriptor;

/// What Kiln itself needs to know of an image's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The layers, uncompressed, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// What the image runs on.
    pub platform: Platform,
    /// When it was made, as written.
    pub created: Option<String>,
}

/// Looks only at what kind of document this is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    media_type: Option<String>,
    schema_version: Option<u32>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or index. `content_type` is what a registry's header or a descriptor says;
    /// what the document says of itself comes first. `what` names its origin in errors.
    pub fn parse(
        bytes: &[u8],
        content_type: Option<&str>,
        what: &str,
    ) -> Result<Self, ManifestError> {
        parse_document(bytes, content_type).map_err(|problem| ManifestError {
            what: what.to_owned(),
            problem,
        })
    }
}

impl Config {
    /// Reads an image's config.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, ManifestError> {
        parse_config(bytes).map_err(|problem| ManifestError {
            what: what.to_owned(),
            problem,
        })
    }

    /// Checks that a manifest has a layer for each diff id.
    pub fn check_layers(&self, manifest: &Manifest, what: &str) -> Result<(), ManifestError> {
        let (layers, diff_ids) = (manifest.layers.len(), self.diff_ids.len());
        if layers == diff_ids {
            return Ok(());
        }
        Err(ManifestError {
            what: what.to_owned(),
            problem: ManifestProblem::LayerCount { layers, diff_ids },
        })
    }
}

fn parse_document(bytes: &[u8], content_type: Option<&str>) -> Result<Document, ManifestProblem> {
    let probe: Probe = parse_as(bytes, "image manifest")?;
    let is_schema_1 = probe.schema_version == Some(1) && probe.layers.is_none();
    if is_schema_1 || probe.fs_layers.is_some() {
        return Err(ManifestProblem::Schema1);
    }
    let header = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
    let media_type = probe.media_type.as_deref().or(header);
    match media_type {
        Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => manifest(bytes),
        Some(media_type::OCI_INDEX | media_type::DOCKER_INDEX) => index(bytes),
        // The OCI specification does not ask documents to name their type, and some servers do not.
        _ if probe.media_type.is_none() && probe.manifests.is_some() => index(bytes),
        _ if probe.media_type.is_none() && probe.layers.is_some() => manifest(bytes),
        other => Err(ManifestProblem::MediaType(
            other.unwrap_or_default().to_owned(),
        )),
    }
}

fn manifest(bytes: &[u8]) -> Result<Document, ManifestProblem> {
    let manifest: ImageManifest = parse_as(bytes, "image manifest")?;
    let config = descriptor(manifest.config())?;
    if ![media_type::OCI_CONFIG, media_type::DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        return Err(ManifestProblem::MediaType(config.media_type));
    }
    let layers = manifest.layers();
    if layers.len() > MAXIMUM_LAYERS {
        return Err(ManifestProblem::TooManyLayers(layers.len()));
    }
    let layers = layers.iter().map(layer).collect::<Result<_, _>>()?;
    Ok(Document::Manifest(Manifest { config, layers }))
}

fn layer(layer: &OciDescriptor) -> Result<Descriptor, ManifestProblem> {
    let layer = descriptor(layer)?;
    if media_type::is_layer(&layer.media_type) {
        return Ok(layer);
    }
    Err(ManifestProblem::Layer {
        digest: layer.digest,
        media_type: layer.media_type,
    })
}

fn index(bytes: &[u8]) -> Result<Document, ManifestProblem> {
    let index: ImageIndex = parse_as(bytes, "image index")?;
    let manifests = index.manifests().iter().map(descriptor);
    Ok(Document::Index(Index {
        manifests: manifests.collect::<Result<_, _>>()?,
    }))
}

fn descriptor(descriptor: &OciDescriptor) -> Result<Descriptor, ManifestProblem> {
    let digest = descriptor.digest().to_string();
    let annotations = descriptor.annotations().clone().unwrap_or_default();
    let platform = descriptor.platform().as_ref().map(|platform| {
        let variant = platform.variant().clone().unwrap_or_default();
        normalized(
            platform.os().to_string(),
            platform.architecture().to_string(),
            variant,
        )
    });
    Ok(Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest: digest
            .parse()
            .map_err(|_| ManifestProblem::Digest(digest))?,
        size: descriptor.size(),
        artifact_type: descriptor
            .artifact_type()
            .as_ref()
            .map(|artifact_type| artifact_type.to_string()),
        annotations: annotations.into_iter().collect::<BTreeMap<_, _>>(),
        platform,
    })
}

/// Configs are read leniently: an old image without a field that newer ones have is still an image.
#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    created: Option<String>,
    rootfs: Option<RawRootFs>,
}

#[derive(Deserialize)]
struct RawRootFs {
    diff_ids: Option<Vec<DiffId>>,
}

fn parse_config(bytes: &[u8]) -> Result<Config, ManifestProblem> {
    let config: RawConfig = parse_as(bytes, "image config")?;
    let diff_ids = config.rootfs.and_then(|rootfs| rootfs.diff_ids);
    Ok(Config {
        diff_ids: diff_ids.unwrap_or_default(),
        platform: normalized(
            config.os,
            config.architecture,
            config.variant.unwrap_or_default(),
        ),
        created: config.created,
    })
}

/// A platform in Go's terms where it is one, else as it is written.
fn normalized(os: String, architecture: String, variant: String) -> Platform {
    let written = Platform {
        os,
        architecture,
        variant,
    };
    written.to_string().parse().unwrap_or(written)
}

fn parse_as<'b, T: Deserialize<'b>>(
    bytes: &'b [u8],
    kind: &'static str,
) -> Result<T, ManifestProblem> {
    serde_json::from_slice(bytes).map_err(|source| ManifestProblem::Malformed { kind, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":3,"annotations":{"a":"b"}}]}"#;

    #[test]
    fn a_manifest_without_a_media_type_is_told_by_its_shape() {
        for header in [
            None,
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
        ] {
            let document = Document::parse(MANIFEST.as_bytes(), header, "test").expect("parses");
            let Document::Manifest(manifest) = document else {
                panic!("not an index")
            };
            assert_eq!(manifest.layers[0].size, 3);
            assert_eq!(manifest.layers[0].annotations["a"], "b");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        let cases = [
            (
                MANIFEST.replace("rootfs.diff.tar", "rootfs.diff.zip"),
                "not a tar",
            ),
            (
                MANIFEST.replacen("sha256:", &format!("sha512:{}", "0".repeat(64)), 1),
                "only sha256",
            ),
            (MANIFEST.replace("\"size\":2", "\"size\":-2"), "not a valid"),
            (MANIFEST.replace("image.config", "empty"), "media type"),
        ];
        for (text, expected) in cases {
            let error = Document::parse(text.as_bytes(), None, "test").expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn configs_may_lack_what_newer_ones_have() {
        let config = Config::parse(b"{\"architecture\":\"x86_64\",\"os\":\"linux\"}", "test");
        let config = config.expect("parses");
        assert_eq!(config.platform.to_string(), "linux/amd64");
        assert!(config.diff_ids.is_empty());
        assert!(Config::parse(b"{\"rootfs\":{\"diff_ids\":[\"sha256:1\"]}}", "test").is_err());
    }

    proptest! {
        #[test]
        fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Document::parse(&bytes, None, "test");
            let _ = Config::parse(&bytes, "test");
        }

        #[test]
        fn parsing_a_damaged_manifest_is_total(at in 0..MANIFEST.len(), byte: u8) {
            let mut bytes = MANIFEST.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = Document::parse(&bytes, None, "test");
        }
    }
}
