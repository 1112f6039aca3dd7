//! The command line of Kiln: what is typed, what it means, and what people see.
//!
//! The only crate that reads the environment, prints or chooses exit codes.

pub mod answer;
pub mod args;
pub mod build;
pub mod commands;
pub mod exit;
pub mod explain;
pub mod human;
pub mod page;
pub mod progress;
pub mod record;
pub mod report;
pub mod settings;
pub mod stored_image;
pub mod table;
pub mod text_file;
pub mod wire;
