//! One file for each command.

pub mod build;
pub mod completions;
pub mod man;
