//! What takes up space in a store, what holds it there, and how it is let go.
//!
//! [`Survey`] lists everything with what needs it. [`choose`](Survey::choose) says what a list of
//! [`Policy`]s lets go, the longest unused first. [`prune`] removes that, beside builds that run: the
//! store's leases say why that is safe.

mod describe;
mod filter;
mod measure;
mod policy;
mod prune;
mod roots;
mod survey;

pub use describe::describe;
pub use filter::{Filter, FilterError};
pub use measure::DiskSpace;
pub(crate) use measure::measure;
pub use policy::{Choice, Policy, Shortfall, Space, SpaceError};
pub use prune::{Pruned, prune};
pub use survey::Survey;

use std::path::PathBuf;

use kiln_solver::Key;

use crate::image::ManifestError;
use crate::io_error::IoError;
use crate::store::{BlobError, IndexError, LayerError, StoreError};

/// Something in the store that can be removed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name among its kind: for layers and blobs, a digest's hexadecimal digits.
    pub name: String,
    /// Where it is; a layer has several forms.
    pub paths: Vec<PathBuf>,
    /// What it takes up on the disk, in bytes. What hard links share counts once.
    pub bytes: u64,
    /// When it came, in seconds since 1970.
    pub created: i64,
    /// When it was last used, in seconds since 1970. A layer is used with each layer above it.
    pub used: i64,
    /// The cache records that have the layer on top; any of them tells what made it.
    pub records: Vec<Key>,
    /// The layers that are directly below it in some record.
    pub parents: Vec<String>,
    /// The names of the images that need it.
    pub images: Vec<String>,
    /// The ids of other processes that use it.
    pub processes: Vec<u32>,
    /// Whether any cache record needs it.
    pub is_cache: bool,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// A layer in all its forms: tar, directories, compressed blobs.
    Layer,
    /// A manifest, a config, or something that nobody knows any more.
    Blob,
    /// What steps keep in `RUN --mount=type=cache`.
    CacheMount,
    /// What is known of a context's files, or of a file behind an address.
    Context,
    /// A repository that was fetched.
    Checkout,
    /// The record and the logs of a build.
    Build,
}

impl ItemKind {
    /// What BuildKit calls records of this kind.
    pub fn record_type(self) -> &'static str {
        match self {
            Self::Layer | Self::Blob => "regular",
            Self::CacheMount => "exec.cachemount",
            Self::Context => "source.local",
            Self::Checkout => "source.git.checkout",
            Self::Build => "internal",
        }
    }

    /// Whether it changes where it is.
    pub fn is_mutable(self) -> bool {
        matches!(self, Self::CacheMount | Self::Context | Self::Checkout)
    }
}

/// Who needs an item most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// An image that has a name.
    Image,
    /// A process that runs.
    Process,
    /// Only builds to come, to be faster.
    Cache,
    /// Nobody.
    Nobody,
}

impl Item {
    /// Who needs it most.
    pub fn holder(&self) -> Holder {
        match self.kind {
            _ if !self.images.is_empty() => Holder::Image,
            _ if !self.processes.is_empty() => Holder::Process,
            ItemKind::Layer | ItemKind::Blob if !self.is_cache => Holder::Nobody,
            _ => Holder::Cache,
        }
    }
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
