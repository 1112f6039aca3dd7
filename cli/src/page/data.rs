//! What the page's script gets to know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kiln_solver::MissReason;
use serde::Serialize;

use crate::progress::{Colors, LineBuffer, sanitize};
use crate::record::{Build, Ending, Moved, Record, RecordError, Step, critical_path};

/// How much of one step's log is shown, in bytes: the first half and the last half.
const LONGEST_LOG: u64 = 256 * 1024;
/// How much of all logs is shown together, in bytes; each step gets its share of it.
const LONGEST_LOGS: u64 = 32 * 1024 * 1024;

#[derive(Serialize)]
pub(super) struct Data<'b> {
    id: &'b str,
    name: String,
    status: String,
    error: Option<String>,
    started: String,
    /// Times are in milliseconds from here on.
    duration: f64,
    kiln: &'b str,
    arguments: Vec<String>,
    directory: &'b str,
    dockerfile: Option<(String, Vec<String>)>,
    image: Option<&'b str>,
    size: Option<u64>,
    hits: usize,
    misses: usize,
    moved: u64,
    critical: Vec<u32>,
    damaged: usize,
    steps: Vec<StepData>,
}

/// Milliseconds, whether it went to standard error, and the line.
type LogLine = (f64, u8, String);

#[derive(Serialize)]
struct StepData {
    id: u32,
    number: Option<u32>,
    name: String,
    stage: String,
    result: &'static str,
    error: Option<String>,
    why: Option<String>,
    /// Whether the cache had nothing like it.
    is_new: bool,
    /// Whether the cache was asked for it.
    cacheable: bool,
    begin: Option<f64>,
    end: f64,
    inputs: Vec<u32>,
    definition: Option<String>,
    content: Option<String>,
    exit: Option<String>,
    processor: Option<f64>,
    memory: Option<u64>,
    moved: Vec<Moved>,
    /// The instruction's first and last line in the Dockerfile, from 1.
    lines: Option<(usize, usize)>,
    log: Vec<LogLine>,
    log_bytes: u64,
    /// How many bytes are left out, and before which line they were.
    left_out: Option<(u64, usize)>,
}

pub(super) fn data<'b>(build: &'b Build, record: &Record) -> Result<Data<'b>, RecordError> {
    let mut logs = read_logs(build, record)?;
    let text = build
        .dockerfile
        .as_ref()
        .and_then(|(_, text)| text.as_deref());
    let steps: Vec<StepData> = build
        .steps
        .iter()
        .filter(|(_, step)| step.number.is_some())
        .map(|(id, step)| step_data(build, *id, step, logs.remove(id).unwrap_or_default(), text))
        .collect();
    let end = build.end.as_ref();
    Ok(Data {
        id: &build.head.id,
        name: clean(&build.name()),
        status: build.status.to_string(),
        error: end.and_then(|end| end.error.as_deref()).map(clean),
        started: build.head.started.to_string(),
        duration: milliseconds(build.duration),
        kiln: &build.head.kiln,
        arguments: build
            .head
            .arguments
            .iter()
            .map(|word| clean(word))
            .collect(),
        directory: &build.head.directory,
        dockerfile: build.dockerfile.as_ref().map(|(name, text)| {
            let lines = text.as_deref().unwrap_or_default().lines();
            (clean(name), lines.map(clean).collect())
        }),
        image: end.and_then(|end| end.image.as_deref()),
        size: end.and_then(|end| end.size),
        hits: build.hits(),
        misses: build.misses(),
        moved: steps
            .iter()
            .flat_map(|step| &step.moved)
            .map(|moved| moved.bytes)
            .sum(),
        critical: critical_path(build),
        damaged: build.damaged,
        steps,
    })
}

fn step_data(build: &Build, id: u32, step: &Step, log: Excerpt, text: Option<&str>) -> StepData {
    let failure = match &step.ending {
        Ending::Failed(message) => Some(clean(message)),
        _ => None,
    };
    let (lines, left_out) = log.finish();
    StepData {
        id,
        number: step.number,
        name: clean(&step.name),
        stage: clean(step.stage()),
        result: step.ending.word(),
        error: failure,
        why: step.reason().map(|reason| clean(&reason)),
        is_new: step
            .miss
            .as_ref()
            .is_some_and(|miss| miss.reason == MissReason::New),
        cacheable: step.is_cacheable(),
        begin: step.started.map(milliseconds),
        end: milliseconds(build.end_of(step)),
        inputs: step.inputs.clone(),
        definition: step.definition.map(|key| key.to_string()),
        content: step.content.map(|key| key.to_string()),
        exit: step.exit.map(|exit| exit.to_string()),
        processor: step.processor_time.map(milliseconds),
        memory: step.peak_memory,
        moved: step
            .moved
            .iter()
            .map(|moved| Moved {
                item: clean(&moved.item),
                ..*moved
            })
            .collect(),
        lines: step
            .span
            .zip(text)
            .and_then(|(span, text)| lines_of(text, span)),
        log: lines,
        log_bytes: step.log.bytes,
        left_out,
    }
}

fn read_logs(build: &Build, record: &Record) -> Result<BTreeMap<u32, Excerpt>, RecordError> {
    let total: u64 = build.steps.values().map(|step| step.log.bytes).sum();
    let speakers: BTreeSet<u32> = build
        .steps
        .iter()
        .filter(|(_, step)| step.log.bytes > 0)
        .map(|(id, _)| *id)
        .collect();
    let share = match total > LONGEST_LOGS {
        true => LONGEST_LOGS / speakers.len().max(1) as u64,
        false => LONGEST_LOG,
    };
    let limit = share.min(LONGEST_LOG);
    let mut excerpts = BTreeMap::new();
    record.logs(|piece| {
        let Some(step) = build.steps.get(&piece.step) else {
            return;
        };
        let excerpt = excerpts
            .entry(piece.step)
            .or_insert_with(|| Excerpt::of(step.log.bytes, limit));
        excerpt.take(
            piece.at,
            piece.stream == kiln_solver::LogStream::Stderr,
            &piece.bytes,
        );
    })?;
    Ok(excerpts)
}

/// The beginning and the end of a log, as lines.
#[derive(Default)]
struct Excerpt {
    /// Bytes seen so far.
    seen: u64,
    /// The bytes that are left out: from, to.
    gap: (u64, u64),
    buffer: LineBuffer,
    lines: Vec<LogLine>,
    left_out: Option<(u64, usize)>,
    last: (u64, bool),
}

impl Excerpt {
    /// Of a log of so many bytes, no more than `limit`.
    fn of(bytes: u64, limit: u64) -> Self {
        let gap = match bytes > limit {
            true => (limit / 2, bytes - limit / 2),
            false => (bytes, bytes),
        };
        Self {
            gap,
            ..Self::default()
        }
    }

    fn take(&mut self, at: u64, is_error: bool, bytes: &[u8]) {
        let (from, to) = self.gap;
        let begin = self.seen;
        self.seen += bytes.len() as u64;
        self.last = (at, is_error);
        let inside = |offset: u64| {
            usize::try_from(offset.saturating_sub(begin))
                .unwrap_or(usize::MAX)
                .min(bytes.len())
        };
        self.push(&bytes[..inside(from)]);
        if self.seen > from && self.left_out.is_none() && from < to {
            self.flush();
            self.left_out = Some((to - from, self.lines.len()));
        }
        self.push(&bytes[inside(to)..]);
    }

    fn push(&mut self, bytes: &[u8]) {
        let (lines, (at, is_error)) = (&mut self.lines, self.last);
        self.buffer
            .push(bytes, |line| lines.push(log_line(at, is_error, line)));
    }

    fn flush(&mut self) {
        let (lines, (at, is_error)) = (&mut self.lines, self.last);
        self.buffer
            .flush(|line| lines.push(log_line(at, is_error, line)));
    }

    fn finish(mut self) -> (Vec<LogLine>, Option<(u64, usize)>) {
        self.flush();
        (self.lines, self.left_out)
    }
}

fn log_line(at: u64, is_error: bool, line: &[u8]) -> LogLine {
    let at = milliseconds(Duration::from_micros(at));
    (at, is_error.into(), sanitize(line, Colors::Strip))
}

/// Text without what is no text; line ends are kept.
fn clean(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| sanitize(line.as_bytes(), Colors::Strip));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first and the last line that a span touches, from 1.
fn lines_of(text: &str, (start, end): (usize, usize)) -> Option<(usize, usize)> {
    let line = |offset: usize| Some(text.get(..offset)?.matches('\n').count() + 1);
    Some((
        line(start)?,
        line(end.max(start + 1) - 1).or_else(|| line(end))?,
    ))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
