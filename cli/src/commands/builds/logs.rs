//! `kiln builds logs`: what the steps of a build wrote.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;

use super::printable;
use crate::args::BuildsLogsArgs;
use crate::progress::{Colors, LineBuffer, sanitize};
use crate::record::{Build, Record};

/// Prints whole logs in the order in which they were written; those of several steps under headings.
/// The log of one step that goes to a file is the same bytes that the step wrote.
pub(super) fn run(
    args: &BuildsLogsArgs,
    record: &Record,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let build = Build::read(record, now)?;
    let only = match &args.step {
        Some(step) => Some(find_step(&build, step)?),
        None => None,
    };
    let is_raw = only.is_some() && !args.timestamps && !io::stdout().is_terminal();
    let mut printer = Printer {
        build: &build,
        out,
        with_headings: only.is_none(),
        with_times: args.timestamps,
        speaker: None,
        lines: BTreeMap::new(),
        failed: Ok(()),
    };
    record.logs(|piece| {
        if only.is_some_and(|only| piece.step != only) || printer.failed.is_err() {
            return;
        }
        if is_raw {
            printer.failed = printer.out.write_all(&piece.bytes);
        } else {
            printer.take(piece.step, Duration::from_micros(piece.at), &piece.bytes);
        }
    })?;
    printer.finish(build.duration);
    Ok(printer.failed?)
}

/// The step of that number, or the only one whose name has that part.
pub(in crate::commands) fn find_step(build: &Build, called: &str) -> Result<u32> {
    let number = called.trim_start_matches('#').parse::<u32>().ok();
    let by_number = build
        .steps
        .iter()
        .find(|(_, step)| step.number.is_some() && step.number == number);
    if let Some((id, _)) = by_number {
        return Ok(*id);
    }
    let has_part = |name: &str| name.to_lowercase().contains(&called.to_lowercase());
    let found: Vec<_> = build
        .steps
        .iter()
        .filter(|(_, step)| step.number.is_some() && has_part(&step.name))
        .collect();
    match found.as_slice() {
        [(id, _)] => Ok(**id),
        [] => bail!(
            "no step of build {} is called {called}; kiln builds inspect {} lists them",
            build.head.id,
            build.head.id
        ),
        several => {
            let names = several.iter().take(5).map(|(_, step)| {
                let number = step.number.unwrap_or_default();
                format!("\n  #{number} {}", printable(&step.name))
            });
            bail!(
                "{} steps are called so:{}",
                several.len(),
                names.collect::<String>()
            )
        }
    }
}

struct Printer<'p> {
    build: &'p Build,
    out: &'p mut dyn Write,
    with_headings: bool,
    with_times: bool,
    /// The step under whose heading lines stand.
    speaker: Option<u32>,
    lines: BTreeMap<u32, LineBuffer>,
    failed: io::Result<()>,
}

impl Printer<'_> {
    fn take(&mut self, step: u32, at: Duration, bytes: &[u8]) {
        let mut lines = self.lines.remove(&step).unwrap_or_default();
        lines.push(bytes, |line| self.print(step, at, line));
        self.lines.insert(step, lines);
    }

    fn finish(&mut self, end: Duration) {
        for (step, mut lines) in std::mem::take(&mut self.lines) {
            lines.flush(|line| self.print(step, end, line));
        }
    }

    fn print(&mut self, step: u32, at: Duration, line: &[u8]) {
        if self.failed.is_ok() {
            self.failed = self.try_print(step, at, line);
        }
    }

    fn try_print(&mut self, step: u32, at: Duration, line: &[u8]) -> io::Result<()> {
        if self.with_headings && self.speaker != Some(step) {
            let gap = if self.speaker.is_some() { "\n" } else { "" };
            let known = self.build.steps.get(&step);
            let name = known.map_or_else(String::new, |step| printable(&step.name));
            let number = known.and_then(|step| step.number).unwrap_or_default();
            writeln!(self.out, "{gap}==> #{number} {name} <==")?;
            self.speaker = Some(step);
        }
        if self.with_times {
            write!(self.out, "{:.3} ", at.as_secs_f64())?;
        }
        writeln!(self.out, "{}", sanitize(line, Colors::Keep))
    }
}
