//! Why an image could not be written.

use std::io;
use std::path::{Path, PathBuf};

use kiln_solver::{DiffId, RelPath};

use crate::io_error::{IoError, what_to_do};
use crate::layer::{CompressError, IngestError, OpenTarError, PackError};
use crate::rooted::described;
use crate::store::{BlobError, IndexError, LayerError};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be used.
    #[error("{error}{}", what_to_do(&.error.source))]
    Io {
        /// What failed.
        #[from]
        error: IoError,
    },
    /// The destination is something else than it should be.
    #[error("cannot write to {}: {problem}", path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
        /// What is in the way.
        problem: &'static str,
    },
    /// Something of another kind has the name in a layout.
    #[error("cannot write to {}: {kind} is called {name} there; take another name or directory", path.display())]
    NameTaken {
        /// The layout.
        path: PathBuf,
        /// The name.
        name: String,
        /// What has it.
        kind: String,
    },
    /// A layer could not be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A layer could not be read.
    #[error(transparent)]
    OpenTar(#[from] OpenTarError),
    /// A layer's tar could not be read to its end.
    #[error("cannot read layer {layer}: {source}")]
    Layer {
        /// The layer.
        layer: DiffId,
        /// What is wrong.
        source: io::Error,
    },
    /// A layer is not in the store.
    #[error(transparent)]
    Missing(#[from] LayerError),
    /// A layer could not be looked into.
    #[error("layer {layer}: {source}")]
    Ingest {
        /// The layer.
        layer: DiffId,
        /// What is wrong.
        source: IngestError,
    },
    /// The store's blobs could not be used.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store's index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The files could not be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// An entry could not be made in the destination.
    #[error("cannot write {}: {source}{}", described(.directory, path).display(), what_to_do(.source))]
    Entry {
        /// The destination.
        directory: PathBuf,
        /// The entry.
        path: RelPath,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A layout that is there already is damaged.
    #[error("{}: {problem}; choose another directory or remove it", path.display())]
    Layout {
        /// Its index.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The image's config makes no sense.
    #[error("the image's config is malformed: {0}")]
    Config(String),
    /// Nobody waits for it any more.
    #[error("canceled")]
    Canceled,
}

impl ExportError {
    /// Names the file that a tar went to.
    pub(super) fn while_writing(self, path: &Path) -> Self {
        match self {
            Self::Pack(PackError::Write(source)) => Self::Io {
                error: IoError {
                    action: "write",
                    path: path.to_owned(),
                    source,
                },
            },
            other => other,
        }
    }
}
