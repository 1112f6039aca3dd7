//! What a build's cache knows, brought from one store to another: an artifact in an image layout that says
//! which keys have which layers, and has those layers. docs/cache.md tells the format.
//!
//! Nothing that comes replaces anything: it is looked at where the store itself knows nothing, layers come
//! when a record is used that rests on them, and only what has come whole and is as the record says is
//! recorded.

mod document;
mod error;
mod export;
mod import;
mod proof;

pub use error::TransferError;
pub use export::{ExportedSteps, StepExport, StepExportMode, export_steps, remove_unnamed_blobs};
pub(crate) use import::recordable;
pub use import::{DEFAULT_TAG, StepImport};
