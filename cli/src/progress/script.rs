//! Recorded events as text, for tests and examples: one event a line, made of the seconds since the
//! build began, the step's number, a verb and what belongs to it.
//!
//! The verbs: `announce NAME`, `start`, `log "JSON STRING"`, `transfer CURRENT/TOTAL ITEM` (or
//! `CURRENT ITEM`), `cached`, `done`, `fail MESSAGE`, `cancel`. A verb `frame` (whose step means
//! nothing) marks a moment to look at. Lines that begin with # are comments.

use std::time::Duration;

use kiln_solver::progress::{Event, EventKind, LogStream, StepId};

/// One line of a script.
pub(crate) struct Line {
    /// When, from the start of the build.
    pub(crate) at: Duration,
    /// What happened; `None` is a moment to look at.
    pub(crate) event: Option<Event>,
}

/// Reads a script.
///
/// # Panics
/// On a line that is not of this form: scripts are written by hand, for tests.
pub(crate) fn read(script: &str) -> Vec<Line> {
    let lines = script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| read_line(line).unwrap_or_else(|| panic!("cannot read {line:?}")))
        .collect()
}

fn read_line(line: &str) -> Option<Line> {
    let mut words = line.splitn(4, ' ');
    let at = Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?;
    let step = StepId(words.next()?.parse().ok()?);
    let verb = words.next()?;
    let rest = words.next().unwrap_or_default();
    let kind = match verb {
        "frame" => return Some(Line { at, event: None }),
        "announce" => EventKind::Announced {
            name: rest.to_owned(),
            span: None,
            inputs: Vec::new(),
        },
        "start" => EventKind::Started,
        "log" => {
            let text: String = serde_json::from_str(rest).ok()?;
            EventKind::Log {
                stream: LogStream::Stdout,
                bytes: text.as_bytes().into(),
            }
        }
        "transfer" => {
            let (amount, item) = rest.split_once(' ')?;
            let (current, total) = match amount.split_once('/') {
                Some((current, total)) => (current, Some(total.parse().ok()?)),
                None => (amount, None),
            };
            EventKind::Transferred {
                item: item.to_owned(),
                current: current.parse().ok()?,
                total,
            }
        }
        "cached" => EventKind::Cached,
        "done" => EventKind::Finished,
        "fail" => EventKind::Failed {
            message: rest.to_owned(),
        },
        "cancel" => EventKind::Canceled,
        _ => return None,
    };
    Some(Line {
        at,
        event: Some(Event { step, kind }),
    })
}
