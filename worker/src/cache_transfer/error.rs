//! Why a build's cache could not be brought from one store to another.

use std::path::PathBuf;

use kiln_solver::StepError;

use crate::executor::ExecutorError;
use crate::export::ExportError;
use crate::image::ArtifactError;
use crate::layer::IngestError;
use crate::store::IndexError;

/// Why a build's cache could not be brought from one store to another.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There is no cache to read, or its documents are damaged.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// What is said of the steps makes no sense.
    #[error("{what}: this is no cache that Kiln can use: {problem}")]
    Document {
        /// The document.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store could not be used.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// A layer is not what it is called.
    #[error("the cache in {}: {source}", path.display())]
    Layer {
        /// The layout.
        path: PathBuf,
        /// What is wrong.
        source: IngestError,
    },
    /// A layer could not be fetched.
    #[error("cannot fetch layers of a cache: {0}")]
    Fetch(#[source] StepError),
    /// The layout could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Nobody waits for it any more.
    #[error("canceled")]
    Canceled,
}
