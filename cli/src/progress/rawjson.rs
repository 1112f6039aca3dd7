//! One JSON object a line and event, in the shape of BuildKit's `client.SolveStatus`, which is what
//! `docker buildx build --progress=rawjson` prints.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use kiln_solver::Sha256Digest;
use kiln_solver::progress::{Event, EventKind, LogStream, StepId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Renderer;
use super::transfers::Transfers;

/// Prints JSON.
#[derive(Debug)]
pub struct RawJson<W> {
    out: W,
    started: Timestamp,
    steps: BTreeMap<StepId, Step>,
}

#[derive(Debug)]
struct Step {
    digest: Sha256Digest,
    name: String,
    started: Option<Timestamp>,
    transfers: Transfers,
}

#[derive(Default, Serialize)]
struct SolveStatus<'s> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<Vertex<'s>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<Status<'s>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Log>,
}

#[derive(Serialize)]
struct Vertex<'s> {
    digest: Sha256Digest,
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'s str,
}

#[derive(Serialize)]
struct Status<'s> {
    id: &'s str,
    vertex: Sha256Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    current: u64,
    timestamp: Timestamp,
    started: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
}

#[derive(Serialize)]
struct Log {
    vertex: Sha256Digest,
    stream: u8,
    data: String,
    timestamp: Timestamp,
}

impl<W: Write> RawJson<W> {
    /// Prints to `out`; `started` is the time from which events are counted.
    pub fn new(out: W, started: Timestamp) -> Self {
        Self {
            out,
            started,
            steps: BTreeMap::new(),
        }
    }

    fn time(&self, at: Duration) -> Timestamp {
        let at = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        self.started.saturating_add(at).unwrap_or(Timestamp::MAX)
    }
}

impl<W: Write + Send> Renderer for RawJson<W> {
    fn interval(&self) -> Option<Duration> {
        None
    }

    fn event(&mut self, at: Duration, event: &Event) -> io::Result<()> {
        let time = self.time(at);
        let started = self.started;
        let step = self
            .steps
            .entry(event.step)
            .or_insert_with(|| Step::new(event.step));
        let status = match &event.kind {
            EventKind::Announced { name, .. } => {
                step.name.clone_from(name);
                step.vertex(None, false, "").into()
            }
            EventKind::Learned(_) => return Ok(()),
            EventKind::Started => {
                step.started = Some(time);
                step.vertex(None, false, "").into()
            }
            EventKind::Log { stream, bytes } => step.log(*stream, bytes, time).into(),
            EventKind::Transferred {
                item,
                current,
                total,
            } => {
                step.transfers.update(at, item, *current, *total);
                let of_item = |status: &Status<'_>| status.id == item;
                let statuses = step.statuses(started, time).filter(of_item).collect();
                SolveStatus {
                    statuses,
                    ..SolveStatus::default()
                }
            }
            // BuildKit's messages have no place for it.
            EventKind::Cached => {
                step.started.get_or_insert(time);
                step.vertex(Some(time), true, "").into()
            }
            EventKind::Finished => {
                let ended = step
                    .transfers
                    .end()
                    .map(|t| t.item.clone())
                    .collect::<Vec<_>>();
                let ended = |status: &Status<'_>| ended.iter().any(|item| item == status.id);
                let statuses = step.statuses(started, time).filter(ended).collect();
                let vertexes = vec![step.vertex(Some(time), false, "")];
                SolveStatus {
                    vertexes,
                    statuses,
                    ..SolveStatus::default()
                }
            }
            EventKind::Failed { message } => step.vertex(Some(time), false, message).into(),
            // BuildKit's clients know a canceled step by this text.
            EventKind::Canceled => step.vertex(Some(time), false, "context canceled").into(),
        };
        serde_json::to_writer(&mut self.out, &status)?;
        self.out.write_all(b"\n")
    }

    fn tick(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Duration) -> io::Result<()> {
        self.out.flush()
    }
}

impl Step {
    /// The digest only tells steps of one build apart.
    fn new(id: StepId) -> Self {
        let digest = Sha256::digest(format!("step {}", id.0));
        Self {
            digest: Sha256Digest::new(digest.into()),
            name: String::new(),
            started: None,
            transfers: Transfers::default(),
        }
    }

    fn vertex<'s>(
        &'s self,
        completed: Option<Timestamp>,
        cached: bool,
        error: &'s str,
    ) -> Vertex<'s> {
        let Self {
            digest,
            name,
            started,
            ..
        } = self;
        Vertex {
            digest: *digest,
            name,
            started: *started,
            completed,
            cached,
            error,
        }
    }

    fn log(&self, stream: LogStream, bytes: &[u8], timestamp: Timestamp) -> Log {
        let stream = match stream {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
        };
        Log {
            vertex: self.digest,
            stream,
            data: STANDARD.encode(bytes),
            timestamp,
        }
    }

    fn statuses(&self, base: Timestamp, now: Timestamp) -> impl Iterator<Item = Status<'_>> {
        self.transfers.iter().map(move |transfer| Status {
            id: &transfer.item,
            vertex: self.digest,
            total: transfer.total,
            current: transfer.current,
            timestamp: now,
            started: base.saturating_add(transfer.started).unwrap_or(now),
            completed: transfer.done.then_some(now),
        })
    }
}

impl<'s> From<Vertex<'s>> for SolveStatus<'s> {
    fn from(vertex: Vertex<'s>) -> Self {
        Self {
            vertexes: vec![vertex],
            ..Self::default()
        }
    }
}

impl From<Log> for SolveStatus<'_> {
    fn from(log: Log) -> Self {
        Self {
            logs: vec![log],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::script;

    #[test]
    fn a_build_that_fails() {
        let mut out = Vec::new();
        let started = "2026-11-20T12:00:00Z".parse().expect("a time");
        let mut renderer = RawJson::new(&mut out, started);
        for line in script::read(include_str!("../../../testdata/progress/fails.events")) {
            if let Some(event) = line.event {
                renderer
                    .event(line.at, &event)
                    .expect("a Vec takes everything");
            }
        }
        insta::assert_snapshot!(String::from_utf8(out).expect("JSON is text"));
    }
}
