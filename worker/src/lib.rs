//! Everything of a build that touches disk, kernel or network.

pub mod io_error;
pub mod store;
pub mod tree;
