//! Why cache mounts could not be brought from one store to another.

use std::io;
use std::path::PathBuf;

use crate::export::ExportError;
use crate::gc::GcError;
use crate::image::{ArtifactError, LayoutError};
use crate::io_error::{IoError, what_to_do};
use crate::layer::{ExtractError, IngestError, PackError};
use crate::store::StoreError;

/// Why cache mounts could not be brought from one store to another.
#[derive(Debug, thiserror::Error)]
pub enum CacheMountError {
    /// A file could not be used.
    #[error("{error}{}", what_to_do(&.error.source))]
    Io {
        /// What failed.
        #[from]
        error: IoError,
    },
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk could not be measured.
    #[error(transparent)]
    Gc(#[from] GcError),
    /// A cache could not be packed.
    #[error("the cache {id}: {source}")]
    Pack {
        /// The cache.
        id: String,
        /// What is wrong.
        source: PackError,
    },
    /// Builds write to a cache faster than it can be read.
    #[error(
        "the cache {id}: {} keeps changing while it is read; try again when no build uses the cache",
        path.display()
    )]
    Restless {
        /// The cache.
        id: String,
        /// What changed last.
        path: PathBuf,
    },
    /// A cache could not be compressed.
    #[error("cannot compress the cache {id}: {source}{}", what_to_do(source))]
    Compress {
        /// The cache.
        id: String,
        /// What is wrong.
        source: io::Error,
    },
    /// The layout could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// There is nothing to read caches from.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The layout lacks a cache.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What is said of the caches makes no sense.
    #[error("{what}: this is no list of cache mounts that Kiln can use: {problem}")]
    Document {
        /// The document.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A cache is refused. Nothing of it was taken.
    #[error("the cache {id} is refused: {source}")]
    Refused {
        /// The cache.
        id: String,
        /// What is wrong.
        source: IngestError,
    },
    /// A cache is not what is said of it. Nothing of it was taken.
    #[error("the cache {id} is refused: {problem}")]
    Wrong {
        /// The cache.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// A cache could not be unpacked.
    #[error("the cache {id}: {source}")]
    Extract {
        /// The cache.
        id: String,
        /// What is wrong.
        source: ExtractError,
    },
    /// There are no caches of the ids that were asked for.
    #[error("there is no cache mount {}; {}", missing.join(", "), there_are(known))]
    Missing {
        /// What was asked for.
        missing: Vec<String>,
        /// The ids that there are.
        known: Vec<String>,
    },
    /// Nobody waits for it any more.
    #[error("canceled")]
    Canceled,
}

fn there_are(known: &[String]) -> String {
    match known {
        [] => "there are none at all".to_owned(),
        known => format!("there are {}", known.join(", ")),
    }
}
