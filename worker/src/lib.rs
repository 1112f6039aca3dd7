//! Everything of a build that touches disk, kernel or network.

pub mod cache;
pub mod cache_mount;
pub mod cache_transfer;
pub mod context;
pub mod executor;
pub mod explain;
pub mod export;
pub mod gc;
pub mod http;
pub mod image;
pub mod io_error;
pub mod layer;
mod meter;
pub mod registry;
mod rooted;
pub mod sandbox;
pub mod secret;
pub mod snapshot;
pub mod source;
pub mod ssh;
pub mod stop;
pub mod store;
pub mod tree;
pub mod verify;
