//! From a finished image to where it is wanted: the store, an OCI layout, a tar, a directory.
//!
//! Everything is written beside its place and renamed, or not written at all.

mod archive;
mod artifact;
mod atomic_file;
mod document;
mod error;
mod flat;
mod layers;
mod layout;
mod layout_directory;
mod local;
mod local_tree;
mod oci;
mod store;
mod tar_file;
mod unnamed;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_solver::{DiffId, Platform, Sha256Digest};

pub(crate) use artifact::{Artifact, write_artifact};
pub use atomic_file::AtomicFile;
pub use error::ExportError;
pub use layers::has_original;
pub(crate) use layers::{LayerBytes, TravelingLayer, travel_all};
pub use local::{LocalOptions, to_directory};
pub use oci::{Flavor, LayoutDestination, OciOptions, to_oci};
pub use store::to_store;
pub use tar_file::to_tar;
pub(crate) use unnamed::remove_unnamed;

use crate::image::Descriptor;
use crate::stop::{Stop, StopOnDrop};
use crate::tree::Timestamp;

/// An image that is finished but for its form.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The final config, as JSON.
    pub config: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<BuiltLayer>,
    /// What it runs on.
    pub platform: Platform,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// The time that files have where they leave as files, in a tar or a directory; `None` is their own.
    pub file_time: Option<Timestamp>,
    /// Annotations of the manifest's entry in what lists it.
    pub descriptor_annotations: BTreeMap<String, String>,
}

/// A layer of a finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltLayer {
    /// Its name.
    pub diff_id: DiffId,
    /// For a layer of a base image, how it traveled there: it travels on in the same form.
    pub original: Option<Descriptor>,
}

/// Where a tar goes.
pub enum Destination {
    /// To a file.
    File(PathBuf),
    /// To a stream, such as standard output.
    Stream(Box<dyn Write + Send>),
}

/// What an image turned into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its config: what Docker calls the image's id.
    pub config: Sha256Digest,
    /// The sum of its layers as they travel, config and manifest.
    pub size: u64,
}

/// Runs work that blocks; dropping the future ends the work, which then removes what it began.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    let stop = Stop::default();
    let guard = StopOnDrop(stop.clone());
    let result = tokio::task::spawn_blocking(move || work(&stop)).await;
    drop(guard);
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ExportError::Canceled),
    }
}

/// How many threads an export may keep busy.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Shared by the threads of an export.
type SharedImage = Arc<BuiltImage>;
