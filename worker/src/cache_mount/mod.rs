//! The directories of `RUN --mount=type=cache`: what names them, who holds them, and how they travel
//! from one store to another.
//!
//! `cache-mounts/NAME/` of a store has a file `lock`, which those hold who use the cache and whose time
//! says when it was last used; a file `id`, for people; a file `identity`, what the name is made of; and
//! the directory `files`, which steps see. Of a cache that began with a file, they see the one file in it.
//! docs/cache.md says how a cache travels.

mod document;
mod error;
mod export;
mod held;
mod identity;
mod import;
mod inventory;
mod walk;

pub use error::CacheMountError;
pub use export::{CacheMountExport, ExportedCacheMount, LeftOut, export_cache_mounts};
pub(crate) use held::{Hold, WhenHeld, hold, note_use};
pub(crate) use identity::shown as shown_id;
pub use identity::{CacheIdentity, CacheSeed};
pub use import::{CacheMountImport, ImportedCacheMount, Taken, WhenBusy, import_cache_mounts};
pub use inventory::{CacheSelection, StoredCacheMount, find_cache_mount, list_cache_mounts};
