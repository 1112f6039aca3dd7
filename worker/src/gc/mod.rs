//! What takes up space in a store, what holds it there, and how it is let go.

mod prune;
mod roots;
mod usage;

pub use prune::{PrunePolicy, Pruned, prune};
pub use usage::usage;

use std::path::PathBuf;

use crate::image::ManifestError;
use crate::io_error::IoError;
use crate::store::{BlobError, IndexError, LayerError, StoreError};

/// Something in the store that can be removed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name among its kind.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it takes up on the disk, in bytes. What hard links share is counted with the first.
    pub bytes: u64,
    /// Who needs it.
    pub holder: Holder,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A manifest, a config, or a layer as it travels.
    Blob,
    /// A layer as a tree and as directories.
    Layer,
    /// What steps keep in `RUN --mount=type=cache`.
    CacheMount,
    /// What is known of a context's files.
    Context,
    /// What was fetched of a git repository.
    GitMirror,
    /// What is known of a file behind an address.
    Address,
    /// The record and the logs of a build.
    Build,
}

/// Who needs an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// An image that has a name.
    Image,
    /// Only builds to come, to be faster.
    Cache,
    /// Nobody.
    Nobody,
}

/// Why it is not known what is needed, or why something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image's document could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An image's document makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A layer could not be removed.
    #[error(transparent)]
    Layer(#[from] LayerError),
}
