//! `type=image`: an image in Kiln's own store, under its names.
//!
//! Nothing is compressed: a layer that a build made stands in the manifest as the tar that it is.

use kiln_solver::StepReporter;

use super::layers::{in_oci_terms, original};
use super::{BuiltImage, BuiltLayer, ExportError, Exported, document};
use crate::image::{Descriptor, Reference, media_type};
use crate::layer::{Compression, layer_blob};
use crate::stop::Stop;
use crate::store::{ImageRecord, Store};
use crate::tree::Timestamp;

/// Puts an image into the store and gives it its names. The layers must be there; those of base
/// images in the form in which they arrived, if they are to travel on in it.
pub fn to_store(
    store: &Store,
    image: &BuiltImage,
    names: &[Reference],
) -> Result<Exported, ExportError> {
    let layers = image.layers.iter().map(|layer| describe(store, layer));
    let layers: Vec<Descriptor> = layers.collect::<Result<_, _>>()?;
    let config = store.put_blob(&image.config)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, config, image.config.len() as u64);
    let manifest = document::manifest(None, &config, &layers, &image.annotations);
    let digest = store.put_blob(&manifest)?;
    for name in names {
        store.index().put_image(&ImageRecord {
            name: name.with_default_tag().to_string(),
            manifest: digest,
            created: Timestamp::now(),
        })?;
    }
    let size = layers.iter().map(|layer| layer.size).sum::<u64>();
    Ok(Exported {
        size: size + config.size + manifest.len() as u64,
        config: config.digest,
        manifest: Descriptor {
            platform: Some(image.platform.clone()),
            annotations: image.descriptor_annotations.clone(),
            ..Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64)
        },
    })
}

fn describe(store: &Store, layer: &BuiltLayer) -> Result<Descriptor, ExportError> {
    if let Some(original) = original(store, layer) {
        return Ok(in_oci_terms(original));
    }
    let (uncompressed, one) = (Compression::Uncompressed, 1);
    let silent = StepReporter::silent();
    let blob = layer_blob(
        store,
        &layer.diff_id,
        uncompressed,
        one,
        &Stop::default(),
        &silent,
    )?;
    Ok(Descriptor::new(&blob.media_type, blob.digest, blob.size))
}
