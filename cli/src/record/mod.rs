//! What is kept of a build: everything that happened, to be shown again.
//!
//! # On disk
//! `ROOT/builds/TIME-ID`, where TIME is when the build began (UTC, `20261121T100359.123456`) and ID
//! is twelve random characters of `0-9a-z` without `i l o u`. In it lie
//! - `record.jsonl`: one [`Head`], then one [`Line`] an event, all but logs;
//! - `logs.jsonl`: one [`Line`] a piece of log, whole and in order; `logs.jsonl.zst` once a long one
//!   was closed. There is none if no step wrote anything.
//!
//! # Format (version 1)
//! Every line is a JSON object that ends with a line feed. Both files are only ever appended to. The
//! number of microseconds since the build began, `at`, is different for each line of a record, logs
//! included, so that the two files merge into one order. Readers skip lines and fields that they do
//! not know, and an unended last line, which a killed build may leave. Whatever readers of this
//! version could not make sense of gets a new version in the head. `testdata/frozen/build-v1` must
//! still open.
//!
//! # States
//! The build holds a lock (flock) on its `record.jsonl`. A record without [`Event::Ended`](Happening)
//! is that of a running build while it is locked, and of a killed one afterwards. Pieces of log are
//! written at once; other lines before the step that they are about goes on or ends.
//!
//! A full disk, or whatever else keeps a record from being written, fails no build.

mod build;
mod critical;
mod line;
mod reader;
mod reason;
mod recorder;
mod shelf;

pub use build::{Build, Ending, Log, Moved, Status, Step};
pub use critical::{critical_path, lanes};
pub use line::{End, Happening, Head, Line, Outcome, Text};
pub use reader::{Piece, Record, RecordError};
pub use recorder::{FailedStep, Recorder, StepLog};
pub use shelf::{Limits, Shelf, ShelfError};
