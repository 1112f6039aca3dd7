//! Layers on their way into the store: streamed, verified, several at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use kiln_solver::{DiffId, Sha256Digest, StepReporter};

use super::incoming::{Incoming, Piece};
use super::layout::LayoutError;
use super::origin::{LayoutOrigin, Origin};
use super::resolve::{ImageLayer, Images, ResolvedImage};
use crate::gc::DiskSpace;
use crate::io_error::{AtPath, IoError, what_to_do};
use crate::layer::decompress;
use crate::registry::RegistryError;
use crate::stop::StopOnDrop;
use crate::store::{BlobError, IndexError, LayerBlob};
use kiln_solver::Reference;

/// How many blobs come at once; registries slow down those who ask for more.
const AT_ONCE: usize = 4;
/// How many pieces may wait for the disk.
const PIECES_AHEAD: usize = 16;
/// How a blob is marked that somebody else compressed; its own name follows, since two images may
/// name different blobs for one layer, and one of them may lie.
const ORIGINAL: &str = "original";

/// Whether a blob has the form in which somebody else compressed it.
pub(crate) fn is_original(blob: &LayerBlob) -> bool {
    blob.compression.starts_with(ORIGINAL)
}

/// Why a layer could not be brought into the store.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The layout did not give it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It is not what its digest says, or could not be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It could not be read or written.
    #[error("{error}{}", what_to_do(&.error.source))]
    Io {
        /// What failed.
        #[from]
        error: IoError,
    },
    /// It is longer or shorter than its manifest says.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The index could not be written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The image does not have it, or had it in a store that lost it.
    #[error(
        "layer {layer} of {image} is not in the store any more; build or pull that image again"
    )]
    Unknown {
        /// The layer.
        layer: DiffId,
        /// The image.
        image: String,
    },
    /// There is no room for it.
    #[error(
        "layers of {image} are said to have {needed} bytes, and the store's disk has {free} left"
    )]
    Room {
        /// The image.
        image: String,
        /// What its layers are said to have together, in bytes.
        needed: u64,
        /// What is left, in bytes.
        free: u64,
    },
    /// The thread that writes died.
    #[error("the thread that writes {0} ended unexpectedly")]
    Thread(Sha256Digest),
}

/// A blob is longer or shorter than its manifest says.
#[derive(Debug, thiserror::Error)]
#[error("{what}: expected {expected} bytes, but there are {}{found}; try again, or have the image pushed again",
    if .found > .expected { "at least " } else { "only " })]
pub struct SizeError {
    /// The blob.
    pub what: String,
    /// In the manifest.
    pub expected: u64,
    /// In truth, or until nobody read on.
    pub found: u64,
}

/// Blobs that are on their way, so that no two steps fetch the same one.
#[derive(Default)]
pub(super) struct Fetches {
    running: Mutex<HashMap<Sha256Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Fetches {
    fn turn(&self, digest: &Sha256Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(running.entry(*digest).or_default())
    }
}

impl Images {
    /// Brings layers of a resolved image into the store.
    pub async fn fetch_layers(
        &self,
        image: &ResolvedImage,
        layers: &[DiffId],
        reporter: &StepReporter,
    ) -> Result<(), FetchError> {
        let find = |diff_id: &DiffId| {
            let mut known = image.layers.iter();
            let found = known.find(|layer| layer.diff_id == *diff_id);
            found.ok_or_else(|| FetchError::Unknown {
                layer: *diff_id,
                image: image.reference.clone(),
            })
        };
        let layers = layers.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        self.check_room(image, &layers)?;
        // Collected first: a closure in the stream would not be general over lifetimes where the
        // future must be `Send`.
        let fetches: Vec<_> = layers
            .into_iter()
            .map(|layer| self.fetch_layer(layer, image, reporter))
            .collect();
        stream::iter(fetches)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Refuses what cannot fit before anything is written.
    fn check_room(&self, image: &ResolvedImage, layers: &[&ImageLayer]) -> Result<(), FetchError> {
        if image.origin.says_no_sizes() {
            return Ok(());
        }
        let coming = layers
            .iter()
            .filter(|layer| !self.is_present(layer, &image.origin));
        let needed = coming.fold(0_u64, |sum, layer| {
            sum.saturating_add(layer.descriptor.size)
        });
        let free = DiskSpace::at(self.store.root())?.free;
        if needed <= free {
            return Ok(());
        }
        Err(FetchError::Room {
            image: image.reference.clone(),
            needed,
            free,
        })
    }

    async fn fetch_layer(
        &self,
        layer: &ImageLayer,
        image: &ResolvedImage,
        reporter: &StepReporter,
    ) -> Result<(), FetchError> {
        let turn = self.fetches.turn(&layer.descriptor.digest);
        let _turn = turn.lock().await;
        let mut size = layer.descriptor.size;
        if !self.is_present(layer, &image.origin) {
            let incoming = Incoming::new(&self.store, layer, reporter)?;
            size = match &image.origin {
                Origin::Store => {
                    return Err(FetchError::Unknown {
                        layer: layer.diff_id,
                        image: image.reference.clone(),
                    });
                }
                Origin::Registry(reference) => self.receive(layer, reference, incoming).await?,
                Origin::Layout(origin) => from_layout(layer, origin.clone(), incoming).await?,
            };
        }
        self.note(layer, size)
    }

    /// A build's own layers are there as directories; their digest is then the diff id. A blob that is
    /// not as long as the manifest says does not count: either it is damaged, or the manifest lies, which
    /// is then found out.
    fn is_present(&self, layer: &ImageLayer, origin: &Origin) -> bool {
        let digest = layer.descriptor.digest;
        let is_uncompressed = digest == layer.diff_id.into();
        let has_size = |size| size == layer.descriptor.size || origin.says_no_sizes();
        self.store.blob_size(&digest).is_some_and(has_size)
            || (is_uncompressed && self.store.has_layer(&layer.diff_id))
    }

    /// Notes which layer the blob holds. That is only what its image says, and so it must not
    /// replace what is known of a layer that was looked into and verified.
    fn note(&self, layer: &ImageLayer, size: u64) -> Result<(), FetchError> {
        let digest = layer.descriptor.digest;
        let known = self.store.index().layer_blobs(&layer.diff_id)?;
        if !self.store.has_blob(&digest) || self.is_verified(&layer.diff_id, &known) {
            return Ok(());
        }
        let blob = LayerBlob {
            compression: format!("{ORIGINAL}-{}", digest.hex()),
            digest,
            size,
            media_type: layer.descriptor.media_type.clone(),
            is_proven: false,
        };
        if !known.iter().any(|known| known.digest == digest) {
            self.store.index().put_layer_blob(&layer.diff_id, &blob)?;
        }
        Ok(())
    }

    /// Whether the layer was looked into, and its bytes are still there.
    fn is_verified(&self, diff_id: &DiffId, known: &[LayerBlob]) -> bool {
        let is_known = || known.iter().any(|blob| self.store.has_blob(&blob.digest));
        self.store.has_layer(diff_id) || (self.store.layers().contains(diff_id) && is_known())
    }

    /// The network is waited for here, the disk in a thread of its own.
    async fn receive(
        &self,
        layer: &ImageLayer,
        reference: &Reference,
        incoming: Incoming,
    ) -> Result<u64, FetchError> {
        let digest = layer.descriptor.digest;
        let mut blob = self.registry.blob(reference, &digest).await?;
        let what = blob.url().to_owned();
        let (sender, receiver) = tokio::sync::mpsc::channel(PIECES_AHEAD);
        let writing = tokio::task::spawn_blocking(move || incoming.take_all(receiver, &what));
        while let Some(piece) = blob.next().await? {
            // The receiver is gone only after an error, which the thread returns.
            if sender.send(Piece::Bytes(piece)).await.is_err() {
                break;
            }
        }
        let _ = sender.send(Piece::End).await;
        drop(sender);
        writing.await.map_err(|_| FetchError::Thread(digest))?
    }
}

async fn from_layout(
    layer: &ImageLayer,
    origin: LayoutOrigin,
    incoming: Incoming,
) -> Result<u64, FetchError> {
    let digest = layer.descriptor.digest;
    let guard = StopOnDrop(incoming.stop.clone());
    let copying = tokio::task::spawn_blocking(move || {
        let (name, may_be_compressed) = origin.layer_name(&digest);
        let file = origin.layout.file(&name)?;
        let what = file.what;
        if may_be_compressed {
            let reader = decompress(file.reader).at("read", &what)?;
            return incoming.any_size().read_all(reader, &what);
        }
        incoming.read_all(file.reader, &what)
    });
    let copied = copying.await.map_err(|_| FetchError::Thread(digest))?;
    drop(guard);
    copied
}
