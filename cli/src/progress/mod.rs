//! What people see of a build while it runs.
//!
//! [`Display`] takes the solver's events from any thread, adds the time, and hands them over to one
//! thread that owns the [`Renderer`]: lines, a live picture, JSON, or nothing. Everything goes to
//! standard error. [`crate::record::Recorder`] stands in between and writes all down.

mod choose;
mod display;
mod figures;
mod lines;
mod plain;
mod quiet;
mod rawjson;
mod sanitize;
mod transfers;
mod tty;

#[cfg(test)]
mod script;

pub use choose::{colors, on_stdout, settle, start, stdout_colors};
pub use display::{Display, Renderer};
pub(crate) use lines::LineBuffer;
pub use plain::Plain;
pub use quiet::Quiet;
pub use rawjson::RawJson;
pub use sanitize::printable_lines;
pub(crate) use sanitize::{Colors, printable, revealed, sanitize};
pub use tty::Tty;
