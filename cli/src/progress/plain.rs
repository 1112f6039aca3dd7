//! Lines that stay, in the form that BuildKit's plain progress has.
//!
//! One step has the floor at a time, so that the lines of parallel steps do not mix: the others'
//! lines wait until it ends, falls silent, or has had the floor for long enough.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use kiln_solver::progress::{Event, EventKind, Fact, StepId};

use super::Renderer;
use super::figures::seconds;
use super::lines::LineBuffer;
use super::sanitize::{Colors, sanitize};
use super::transfers::Transfers;

/// How long a step may keep the floor while others have something to say.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// How long a step may be silent and keep the floor.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// How much may wait behind the step that has the floor.
const WAITING_LIMIT: usize = 64 * 1024;
/// How often the progress of one transfer is printed.
const TRANSFER_INTERVAL: Duration = Duration::from_secs(5);

/// Prints lines.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    steps: BTreeMap<StepId, Step>,
    floor: Option<Floor>,
    numbers: u32,
}

#[derive(Debug)]
struct Floor {
    step: StepId,
    since: Duration,
    heard: Duration,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    /// Given when something of it is first to be shown.
    number: Option<u32>,
    started: Option<Duration>,
    ended: bool,
    lines: LineBuffer,
    transfers: Transfers,
    printed_transfers: BTreeMap<String, Duration>,
    /// Lines that have not been printed.
    waiting: String,
    waiting_since: Option<Duration>,
}

impl<W: Write> Plain<W> {
    /// Prints to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            steps: BTreeMap::new(),
            floor: None,
            numbers: 0,
        }
    }

    fn take_note(&mut self, at: Duration, event: &Event) {
        let step = self.steps.entry(event.step).or_default();
        if let EventKind::Announced { name, .. } = &event.kind {
            step.name = sanitize(name.as_bytes(), Colors::Strip);
            return;
        }
        let is_shown = matches!(event.kind, EventKind::Learned(Fact::Network(_)));
        if matches!(event.kind, EventKind::Learned(_)) && !is_shown {
            return;
        }
        step.number.get_or_insert_with(|| {
            self.numbers += 1;
            self.numbers
        });
        step.waiting_since.get_or_insert(at);
        match &event.kind {
            EventKind::Learned(Fact::Network(way)) => step.say(&format!("network: {way}")),
            EventKind::Announced { .. } | EventKind::Learned(_) => {}
            EventKind::Started => step.started = Some(at),
            EventKind::Log { bytes, .. } => step.log(at, bytes),
            EventKind::Transferred {
                item,
                current,
                total,
            } => {
                step.transferred(at, item, *current, *total);
            }
            EventKind::Cached => step.end(at, "CACHED"),
            EventKind::Finished => {
                step.complete_transfers();
                let took = step.running_for(at);
                step.end(at, &format!("DONE {}", seconds(took)));
            }
            EventKind::Failed { message } => {
                let message = sanitize(message.as_bytes(), Colors::Strip);
                step.end(at, &format!("ERROR: {message}"));
            }
            EventKind::Canceled => step.end(at, "CANCELED"),
        }
    }

    /// Prints what may be printed now.
    fn advance(&mut self, now: Duration) -> io::Result<()> {
        loop {
            let Some(floor) = &mut self.floor else {
                match self.next_speaker() {
                    Some(step) => self.give_floor(step, now)?,
                    None => return self.out.flush(),
                }
                continue;
            };
            let id = floor.step;
            let Some(step) = self.steps.get_mut(&id) else {
                return Ok(());
            };
            if !step.waiting.is_empty() {
                floor.heard = now;
                self.out.write_all(step.waiting.as_bytes())?;
                step.waiting.clear();
            }
            step.waiting_since = None;
            if step.ended {
                self.out.write_all(b"\n")?;
                self.floor = None;
            } else if self.must_yield(now) {
                writeln!(self.out, "#{} ...\n", self.number(id))?;
                self.floor = None;
            } else {
                return self.out.flush();
            }
        }
    }

    /// The step that has waited longest.
    fn next_speaker(&self) -> Option<StepId> {
        let waiting = self
            .steps
            .iter()
            .filter_map(|(id, step)| Some((step.waiting_since?, *id)));
        waiting.min().map(|(_, id)| id)
    }

    fn give_floor(&mut self, id: StepId, now: Duration) -> io::Result<()> {
        self.floor = Some(Floor {
            step: id,
            since: now,
            heard: now,
        });
        let name = self.steps.get(&id).map_or("", |step| step.name.as_str());
        writeln!(self.out, "#{} {name}", self.number(id))
    }

    fn must_yield(&self, now: Duration) -> bool {
        let Some(floor) = &self.floor else {
            return false;
        };
        let others = || {
            self.steps
                .iter()
                .filter(|(id, _)| **id != floor.step)
                .map(|(_, s)| s)
        };
        let turn_is_over = now.saturating_sub(floor.since) >= LONGEST_TURN;
        let is_silent = now.saturating_sub(floor.heard) >= LONGEST_SILENCE;
        turn_is_over && others().any(|step| step.waiting_since.is_some())
            || is_silent && others().any(|step| !step.waiting.is_empty())
            || others().any(|step| step.waiting.len() > WAITING_LIMIT)
    }

    fn number(&self, id: StepId) -> u32 {
        self.steps
            .get(&id)
            .and_then(|step| step.number)
            .unwrap_or_default()
    }
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(250))
    }

    fn event(&mut self, at: Duration, event: &Event) -> io::Result<()> {
        self.take_note(at, event);
        self.advance(at)
    }

    fn tick(&mut self, now: Duration) -> io::Result<()> {
        self.advance(now)
    }

    fn finish(&mut self, now: Duration) -> io::Result<()> {
        let begun = self.steps.values_mut().filter(|step| step.number.is_some());
        for step in begun.filter(|step| !step.ended) {
            step.waiting_since.get_or_insert(now);
            step.end(now, "CANCELED");
        }
        self.advance(now)
    }
}

impl Step {
    fn running_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started.unwrap_or(now))
    }

    fn log(&mut self, at: Duration, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.log_line(at, line));
        self.lines = lines;
    }

    fn flush_line(&mut self, at: Duration) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.flush(|line| self.log_line(at, line));
    }

    fn log_line(&mut self, at: Duration, line: &[u8]) {
        let time = self.running_for(at).as_secs_f64();
        let text = sanitize(line, Colors::Keep);
        self.say(&format!("{time:.3} {text}"));
    }

    fn transferred(&mut self, at: Duration, item: &str, current: u64, total: Option<u64>) {
        let Some(transfer) = self.transfers.update(at, item, current, total) else {
            return;
        };
        let printed = self.printed_transfers.get(item);
        let is_due = printed.is_none_or(|printed| at >= *printed + TRANSFER_INTERVAL);
        // The first sight of a transfer says little; it is printed when it takes long or is done.
        if printed.is_none() && !transfer.done {
            self.printed_transfers.insert(item.to_owned(), at);
        } else if transfer.done || is_due {
            let line = transfer.line();
            self.printed_transfers.insert(item.to_owned(), at);
            self.say(&line);
        }
    }

    fn complete_transfers(&mut self) {
        let lines: Vec<String> = self
            .transfers
            .end()
            .map(|transfer| transfer.line())
            .collect();
        lines.iter().for_each(|line| self.say(line));
    }

    fn end(&mut self, at: Duration, how: &str) {
        self.flush_line(at);
        self.say(how);
        self.ended = true;
    }

    fn say(&mut self, text: &str) {
        let number = self.number.unwrap_or_default();
        self.waiting
            .push_str(format!("#{number} {text}").trim_end());
        self.waiting.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::script;

    fn plain(script: &str) -> String {
        let mut out = Vec::new();
        let mut renderer = Plain::new(&mut out);
        let mut now = Duration::ZERO;
        for line in script::read(script) {
            while now + Duration::from_millis(250) < line.at {
                now += Duration::from_millis(250);
                renderer.tick(now).expect("a Vec takes everything");
            }
            now = line.at;
            if let Some(event) = line.event {
                renderer.event(now, &event).expect("a Vec takes everything");
            }
        }
        renderer.finish(now).expect("a Vec takes everything");
        drop(renderer);
        String::from_utf8(out).expect("what is printed is text")
    }

    #[test]
    fn a_build_that_fails() {
        insta::assert_snapshot!(plain(include_str!(
            "../../../testdata/progress/fails.events"
        )));
    }

    #[test]
    fn a_build_from_the_cache() {
        insta::assert_snapshot!(plain(include_str!(
            "../../../testdata/progress/cached.events"
        )));
    }

    #[test]
    fn steps_side_by_side() {
        insta::assert_snapshot!(plain(include_str!(
            "../../../testdata/progress/parallel.events"
        )));
    }

    #[test]
    fn a_build_that_breaks_off() {
        let script = "0 1 announce RUN a\n0 1 start\n1 1 log \"half a line\"\n1 2 announce RUN b\n1 2 start\n";
        insta::assert_snapshot!(plain(script));
    }
}
