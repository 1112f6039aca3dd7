//! Placeholder.
pub mod sandbox;
