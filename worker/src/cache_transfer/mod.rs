//! What a build's cache knows, brought from one store to another: an artifact in an image layout that says
//! which keys have which layers, and has those layers. docs/cache.md tells the format.
//!
//! Nothing that comes replaces anything: it is looked at where the store itself knows nothing, layers come
//! when a record is used that rests on them, and only what a build has used and what has come whole is
//! recorded, under the keys by which that build asked.

mod belief;
mod document;
mod error;
mod export;
mod import;
mod proof;

pub(crate) use belief::Beliefs;
pub use error::TransferError;
pub use export::{ExportedSteps, StepExport, StepExportMode, export_steps, remove_unnamed_blobs};
pub use import::{DEFAULT_TAG, StepImport};
