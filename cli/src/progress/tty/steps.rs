//! What is known of every step at a moment, for those who draw pictures.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kiln_solver::progress::{Event, EventKind, StepId};

use crate::progress::lines::LineBuffer;
use crate::progress::sanitize::{Colors, sanitize};
use crate::progress::transfers::Transfers;

/// How many lines of a log are kept.
pub(super) const TAIL: usize = 6;

/// All steps.
#[derive(Debug, Default)]
pub(super) struct Steps {
    known: BTreeMap<StepId, Step>,
    /// Those that were started or found, in that order.
    shown: Vec<StepId>,
}

/// One step.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// One line, safe to show.
    pub(super) name: String,
    pub(super) state: State,
    pub(super) transfers: Transfers,
    tail: VecDeque<String>,
    lines: LineBuffer,
}

/// Where a step is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun, and perhaps never needed.
    #[default]
    Announced,
    /// At work.
    Running {
        /// Since when.
        since: Duration,
    },
    /// Over.
    Ended {
        /// How long it was at work.
        took: Duration,
        /// What came of it.
        ending: Ending,
    },
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Cached,
    Failed,
    Canceled,
}

impl Steps {
    /// Takes note of an event.
    pub(super) fn take_note(&mut self, at: Duration, event: &Event) {
        let step = self.known.entry(event.step).or_default();
        let was_shown = step.state != State::Announced;
        step.take_note(at, &event.kind);
        if !was_shown && step.state != State::Announced {
            self.shown.push(event.step);
        }
    }

    /// The build is over: whatever was at work is not done.
    pub(super) fn cancel_unfinished(&mut self, at: Duration) {
        for step in self.known.values_mut() {
            if matches!(step.state, State::Running { .. }) {
                step.end(at, Ending::Canceled);
            }
        }
    }

    /// The steps that were started or found in the cache, in that order.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Step> {
        self.shown.iter().filter_map(|id| self.known.get(id))
    }

    /// How many are over, and how many there are.
    pub(super) fn count(&self) -> (usize, usize) {
        let over = self.known.values().filter(|step| step.ending().is_some());
        (over.count(), self.known.len())
    }
}

impl Step {
    /// What came of it, if it is over.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.state {
            State::Ended { ending, .. } => Some(ending),
            State::Announced | State::Running { .. } => None,
        }
    }

    /// How long it has been at work, or was.
    pub(super) fn took(&self, now: Duration) -> Duration {
        match self.state {
            State::Announced => Duration::ZERO,
            State::Running { since } => now.saturating_sub(since),
            State::Ended { took, .. } => took,
        }
    }

    /// The last lines of its log, the one under way included.
    pub(super) fn tail(&self) -> impl DoubleEndedIterator<Item = String> {
        let partial = sanitize(self.lines.partial(), Colors::Strip);
        let partial = Some(partial).filter(|line| !line.is_empty());
        self.tail.iter().cloned().chain(partial)
    }

    fn take_note(&mut self, at: Duration, kind: &EventKind) {
        match kind {
            EventKind::Announced { name, .. } => {
                self.name = sanitize(name.as_bytes(), Colors::Strip);
            }
            EventKind::Learned(_) => {}
            EventKind::Started => self.state = State::Running { since: at },
            EventKind::Log { bytes, .. } => self.log(bytes),
            EventKind::Transferred {
                item,
                current,
                total,
            } => {
                let item = sanitize(item.as_bytes(), Colors::Strip);
                self.transfers.update(at, &item, *current, *total);
            }
            EventKind::Cached => self.end(at, Ending::Cached),
            EventKind::Finished => {
                self.transfers.end().for_each(drop);
                self.end(at, Ending::Done);
            }
            EventKind::Failed { .. } => self.end(at, Ending::Failed),
            EventKind::Canceled => self.end(at, Ending::Canceled),
        }
    }

    fn log(&mut self, bytes: &[u8]) {
        let tail = &mut self.tail;
        self.lines.push(bytes, |line| {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(sanitize(line, Colors::Strip));
        });
    }

    fn end(&mut self, at: Duration, ending: Ending) {
        self.state = State::Ended {
            took: self.took(at),
            ending,
        };
        self.tail = VecDeque::new();
        self.lines = LineBuffer::default();
    }
}
