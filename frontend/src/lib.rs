//! Dockerfile text → graph of operations.
//!
//! The phases in order: [`scan`] joins physical lines into logical ones, [`parse`] makes the spanned
//! tree of [`syntax`], [`stage`] finds the stages and what they need, [`lower`] makes the solver's
//! graph and the image's config; [`check`] holds the rules that all of them ask. There is no I/O, clock, environment or randomness here: images come
//! in through [`lower::Images`], everything else through [`lower::Options`].

pub mod byte_size;
pub mod check;
pub mod diagnostic;
pub mod directive;
mod duration;
pub mod expand;
mod file_mode;
mod format;
pub mod git_url;
mod heredoc;
pub mod ignore;
pub mod image_config;
pub mod json;
pub mod layout;
pub mod limits;
pub mod lower;
pub mod mount;
pub mod parse;
mod port;
mod printed;
pub mod scan;
mod signal;
pub mod source;
pub mod stage;
pub mod syntax;
pub mod targets;
pub mod words;

pub use diagnostic::{Diagnostic, Severity};
pub use format::format;
pub use lower::{ImageRequest, Images, LowerError, Lowered, Options, ResolvedImage, lower};
pub use parse::{Parsed, parse};
pub use source::{Source, Span};
