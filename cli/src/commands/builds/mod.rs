//! `kiln builds`: what happened in past builds.

mod inspect;
mod list;
mod logs;
mod remove;
mod show;
mod trace;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use jiff::Timestamp;
use kiln_worker::store::Store;

pub(super) use logs::find_step;

use crate::args::{BuildsArgs, BuildsCommand, BuildsWriteArgs};
use crate::page;
pub(super) use crate::progress::printable;
use crate::record::{Build, Record, Shelf};
use crate::settings::{Environment, UsageError};

/// Does what was asked for.
pub fn run(
    args: &BuildsArgs,
    store: &Store,
    environment: &Environment,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let shelf = Shelf::new(store.root().join("builds"));
    match args.command.as_ref() {
        None => list::run(&args.list, &shelf, now, out),
        Some(BuildsCommand::Ls(args)) => list::run(args, &shelf, now, out),
        Some(BuildsCommand::Show(args)) => show::run(
            args,
            &find(&shelf, args.build.as_deref())?,
            environment,
            now,
        ),
        Some(BuildsCommand::Inspect(args)) => {
            inspect::run(args, &find(&shelf, args.build.as_deref())?, now, out)
        }
        Some(BuildsCommand::Logs(args)) => {
            logs::run(args, &find(&shelf, args.build.as_deref())?, now, out)
        }
        Some(BuildsCommand::Trace(args)) => {
            let record = find(&shelf, args.build.as_deref())?;
            let trace = trace::trace(&Build::read(&record, now)?);
            write_result(args, &serde_json::to_vec(&trace)?, out)
        }
        Some(BuildsCommand::Html(args)) => {
            let record = find(&shelf, args.build.as_deref())?;
            write_result(args, page::page(&record, now)?.as_bytes(), out)
        }
        Some(BuildsCommand::Rm(args)) => remove::run(args, &shelf, out),
    }
}

pub(super) fn find(shelf: &Shelf, called: Option<&str>) -> Result<Record> {
    let found = shelf.find(called);
    Ok(found.with_context(|| format!("cannot list {}", shelf.directory().display()))??)
}

fn write_result(args: &BuildsWriteArgs, bytes: &[u8], out: &mut dyn Write) -> Result<()> {
    match args.output.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
        }
        None if io::stdout().is_terminal() => {
            let problem = "it would fill the terminal";
            Err(UsageError::new("--output", "-", problem)
                .hint("name a file with -o")
                .into())
        }
        _ => Ok(out.write_all(bytes)?),
    }
}

/// A duration for people: `5.1ms`, `1.2s`, `2m 5s`.
fn took(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        seconds if seconds < 0.9995 => format!("{:.1}ms", seconds * 1000.0),
        seconds if seconds < 59.95 => format!("{seconds:.1}s"),
        seconds if seconds < 3600.0 => format!("{}m {}s", seconds as u64 / 60, seconds as u64 % 60),
        seconds => format!("{}h {}m", seconds as u64 / 3600, seconds as u64 / 60 % 60),
    }
}
