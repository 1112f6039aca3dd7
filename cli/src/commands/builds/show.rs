//! `kiln builds show`: a build once more, by the displays that show builds.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::printable;
use crate::args::BuildsShowArgs;
use crate::progress::{self, Renderer};
use crate::record::{Build, Record, RecordError, Status};
use crate::settings::{Environment, ProgressMode};

/// In silence a display has nothing to do after so long, whatever its interval.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// Why it could not be shown to its end.
#[derive(Debug, thiserror::Error)]
enum ShowError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Shows all at once, with the times at which it happened.
pub(super) fn run(
    args: &BuildsShowArgs,
    record: &Record,
    environment: &Environment,
    now: Timestamp,
) -> Result<()> {
    let build = Build::read(record, now)?;
    let mode = args
        .progress
        .map_or(ProgressMode::Plain, ProgressMode::from);
    let mut renderer = progress::on_stdout(mode, build.head.started, environment);
    // A picture that changes in place is drawn once, when all is known.
    let interval = renderer.interval().filter(|_| mode != ProgressMode::Tty);
    let mut ticked = Duration::ZERO;
    let played = record.play(|at, event| {
        if let Some(interval) = interval {
            tick(&mut *renderer, &mut ticked, interval, at)?;
        }
        Ok::<_, ShowError>(renderer.event(at, &event)?)
    });
    match played {
        Ok(last) => renderer.finish(last)?,
        // So that whoever reads standard output no more is told as everywhere.
        Err(ShowError::Io(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    if matches!(mode, ProgressMode::RawJson) {
        return Ok(());
    }
    let out = &mut io::stdout();
    match build.status {
        Status::Succeeded => Ok(()),
        Status::Running => Ok(writeln!(out, "[the build is still running]")?),
        Status::Canceled => Ok(writeln!(out, "ERROR: canceled")?),
        Status::Killed => Ok(writeln!(out, "ERROR: the build was killed")?),
        Status::Failed => {
            let error = build.end.and_then(|end| end.error).unwrap_or_default();
            Ok(writeln!(
                out,
                "ERROR: failed to build: {}",
                printable(&error)
            )?)
        }
    }
}

fn tick(
    renderer: &mut dyn Renderer,
    ticked: &mut Duration,
    interval: Duration,
    now: Duration,
) -> io::Result<()> {
    *ticked = (*ticked).max(now.saturating_sub(LONGEST_SILENCE));
    while *ticked + interval < now {
        *ticked += interval;
        renderer.tick(*ticked)?;
    }
    Ok(())
}
