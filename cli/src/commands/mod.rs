//! One file for each command.

pub mod build;
pub mod builds;
pub mod cache;
pub mod check;
pub mod completions;
pub mod doctor;
pub mod du;
pub mod explain;
pub mod fmt;
pub mod history;
pub mod images;
pub mod inspect;
pub mod man;
pub mod prune;
pub mod store;
