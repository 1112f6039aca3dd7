//! The layers of an image as they will travel.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kiln_solver::{DiffId, StepReporter};

use super::{BuiltImage, BuiltLayer, ExportError, threads};
use crate::image::{Descriptor, media_type};
use crate::layer::{Compression, layer_blob};
use crate::stop::Stop;
use crate::store::Store;

/// How many layers are compressed at once; each has its own threads and buffers.
const AT_ONCE: usize = 2;
/// How many threads a layer gets when several are compressed, for the sake of memory.
const THREADS_OF_EACH: usize = 4;
const THREADS_OF_ONE: usize = 8;

/// A layer and where its bytes are.
#[derive(Debug, Clone)]
pub(crate) struct TravelingLayer {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: LayerBytes,
}

#[derive(Debug, Clone)]
pub(crate) enum LayerBytes {
    /// In a file.
    Blob(PathBuf),
    /// They are the layer's uncompressed tar.
    Tar(DiffId),
}

/// The form in which a base image's layer arrived, if its bytes are there and it is not the plain
/// tar that Kiln's own images have: that one is compressed like any other.
pub(super) fn original<'l>(store: &Store, layer: &'l BuiltLayer) -> Option<&'l Descriptor> {
    let is_compressed = |original: &&Descriptor| original.digest != layer.diff_id.into();
    layer
        .original
        .as_ref()
        .filter(is_compressed)
        .filter(|original| store.has_blob(&original.digest))
}

/// A descriptor that says the same in OCI's terms.
pub(super) fn in_oci_terms(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        media_type: media_type::as_oci_layer(&descriptor.media_type).to_owned(),
        ..descriptor.clone()
    }
}

/// Brings all layers into the form in which they travel, several at once.
pub(super) fn prepare(
    store: &Store,
    image: &BuiltImage,
    compression: Compression,
    force: bool,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Vec<TravelingLayer>, ExportError> {
    travel_all(store, &image.layers, compression, force, stop, reporter)
}

/// The same for layers of no image.
pub(crate) fn travel_all(
    store: &Store,
    layers: &[BuiltLayer],
    compression: Compression,
    force: bool,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Vec<TravelingLayer>, ExportError> {
    let mut prepared = HashMap::new();
    let mut pending = VecDeque::new();
    for layer in layers {
        match original(store, layer).filter(|_| !force) {
            Some(original) => {
                let bytes = LayerBytes::Blob(store.blob_path(&original.digest));
                let descriptor = in_oci_terms(original);
                prepared.insert(layer.diff_id, TravelingLayer { descriptor, bytes });
            }
            None if !pending.contains(&layer.diff_id) => pending.push_back(layer.diff_id),
            None => {}
        }
    }
    let threads_of_each = if pending.len() > 1 {
        threads().min(THREADS_OF_EACH)
    } else {
        threads().min(THREADS_OF_ONE)
    };
    let make =
        |diff_id: &DiffId| travel(store, diff_id, compression, threads_of_each, stop, reporter);
    prepared.extend(make_all(pending, &make)?);
    let take = |layer: &BuiltLayer| prepared[&layer.diff_id].clone();
    Ok(layers.iter().map(take).collect())
}

type Made = Result<Vec<(DiffId, TravelingLayer)>, ExportError>;

/// Makes what is pending on a few threads; the first error ends them all.
fn make_all(
    pending: VecDeque<DiffId>,
    make: &(dyn Fn(&DiffId) -> Result<TravelingLayer, ExportError> + Sync),
) -> Made {
    let workers = pending.len().min(AT_ONCE);
    let pending = Mutex::new(pending);
    let next = || {
        pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = || {
        let mut made = Vec::new();
        while let Some(diff_id) = next() {
            match make(&diff_id) {
                Ok(layer) => made.push((diff_id, layer)),
                Err(error) => {
                    pending
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clear();
                    return Err(error);
                }
            }
        }
        Ok(made)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(made) => all.extend(made?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

fn travel(
    store: &Store,
    diff_id: &DiffId,
    compression: Compression,
    threads: usize,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<TravelingLayer, ExportError> {
    let blob = layer_blob(store, diff_id, compression, threads, stop, reporter)?;
    let path = store.blob_path(&blob.digest);
    let bytes = match compression {
        Compression::Uncompressed if !store.has_blob(&blob.digest) => LayerBytes::Tar(*diff_id),
        _ => LayerBytes::Blob(path),
    };
    Ok(TravelingLayer {
        descriptor: Descriptor::new(&blob.media_type, blob.digest, blob.size),
        bytes,
    })
}
