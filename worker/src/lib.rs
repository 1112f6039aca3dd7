//! Everything of a build that touches disk, kernel or network.

pub mod context;
pub mod io_error;
pub mod layer;
pub mod store;
pub mod tree;
