//! `kiln cache`: what `RUN --mount=type=cache` keeps, listed, removed, saved and restored.

mod export;
mod import;
mod list;
mod remove;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use kiln_solver::{Event, EventKind, Progress, Reporter, StepReporter};
use kiln_worker::cache_mount::CacheSelection;
use kiln_worker::store::Store;

use crate::args::{CacheArgs, CacheCommand};

/// Does what was asked for.
pub fn run(args: &CacheArgs, store: &Store, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    match &args.command {
        CacheCommand::Ls(args) => list::run(args, store, now, out),
        CacheCommand::Rm(args) => remove::run(args, store, now, out),
        CacheCommand::Export(args) => export::run(args, store, out),
        CacheCommand::Import(args) => import::run(args, store, out),
    }
}

fn selection(ids: &[String]) -> CacheSelection {
    match ids {
        [] => CacheSelection::All,
        ids => CacheSelection::Ids(ids.to_vec()),
    }
}

/// Passes on what work has to say while it is under way.
struct Remarks;

impl Progress for Remarks {
    fn report(&self, event: Event) {
        if let EventKind::Log { bytes, .. } = event.kind {
            // If nobody can be told, the work goes on.
            let _ = io::stderr().write_all(&bytes);
        }
    }
}

fn remarks(what: &str) -> StepReporter {
    Reporter::new(Arc::new(Remarks)).announce(what, None)
}
