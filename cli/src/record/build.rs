//! What a record says, put together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kiln_solver::progress::Hit;
use kiln_solver::{Exit, Key, Miss};
use serde::Serialize;

use super::line::{End, Happening, Head, Line, Outcome};
use super::reader::{Record, RecordError};

/// A build, as far as it is known.
#[derive(Debug, Clone)]
pub struct Build {
    /// What was asked for.
    pub head: Head,
    /// Where it stands.
    pub status: Status,
    /// How it ended, if it came to its end.
    pub end: Option<End>,
    /// How long it took: until now if it runs, until the last that is known if it was killed.
    pub duration: Duration,
    /// The Dockerfile's name and text, as far as they were kept.
    pub dockerfile: Option<(String, Option<String>)>,
    /// All steps, by their numbers.
    pub steps: BTreeMap<u32, Step>,
    /// How many lines of the record make no sense.
    pub damaged: usize,
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// It is not over.
    Running,
    /// It did what it was to do.
    Succeeded,
    /// It could not.
    Failed,
    /// Somebody ended it.
    Canceled,
    /// Its process ended before it could say anything.
    Killed,
}

/// A step, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Its number among those that began or were found in the cache, as in plain progress.
    pub number: Option<u32>,
    /// One line, such as `[builder 2/5] RUN make`.
    pub name: String,
    /// Where its instruction begins and ends, in bytes of the Dockerfile.
    pub span: Option<(usize, usize)>,
    /// The steps whose results it needs.
    pub inputs: Vec<u32>,
    /// Its definition key.
    pub definition: Option<Key>,
    /// Its content key.
    pub content: Option<Key>,
    /// Why it did not have to run.
    pub hit: Option<Hit>,
    /// In whose cache its result was, unless in the store's own.
    pub origin: Option<String>,
    /// Whether it ran and yielded what an earlier one had, which is in the result in its place.
    pub is_reproduced: bool,
    /// Why it had to.
    pub miss: Option<Arc<Miss>>,
    /// How its command failed.
    pub exit: Option<Exit>,
    /// Bytes that the largest process of its command held at most.
    pub peak_memory: Option<u64>,
    /// How long all processes of its command were on processors.
    pub processor_time: Option<Duration>,
    /// When it began.
    pub started: Option<Duration>,
    /// When it ended.
    pub ended: Option<Duration>,
    /// What came of it.
    pub ending: Ending,
    /// What moved for it, in the order in which it began.
    pub moved: Vec<Moved>,
    /// How much it wrote, if logs were asked for.
    pub log: Log,
}

/// Bytes that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Moved {
    /// What.
    pub item: String,
    /// How many.
    pub bytes: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ending {
    /// Nobody needed it yet, or at all.
    #[default]
    NotBegun,
    /// It is at work, or its build was killed meanwhile.
    Open,
    /// Its result was in the cache.
    Cached,
    /// It was done.
    Done,
    /// It could not be done, and why.
    Failed(String),
    /// It was ended because of something else.
    Canceled,
}

/// How much a step wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log {
    /// Bytes.
    pub bytes: u64,
    /// The last of them.
    pub last: Duration,
}

impl Build {
    /// Reads a record, without its logs.
    pub fn read(record: &Record, now: Timestamp) -> Result<Self, RecordError> {
        // Before anything is read: a build may end meanwhile, but none begins again.
        let is_locked = record.is_locked();
        let mut steps = BTreeMap::<u32, Step>::new();
        let (mut dockerfile, mut end, mut last, mut numbers) = (None, None, 0, 0);
        let (head, damaged) = record.read(|line| {
            last = last.max(line.at);
            let Line { at, step, event } = line;
            match (step, event) {
                (Some(step), event) => {
                    let step = steps.entry(step).or_default();
                    if event.gives_number() && step.number.is_none() {
                        numbers += 1;
                        step.number = Some(numbers);
                    }
                    step.take(Duration::from_micros(at), event);
                }
                (None, Happening::Dockerfile { name, text, .. }) => dockerfile = Some((name, text)),
                (None, Happening::Ended(how)) => end = Some(how),
                (None, _) => {}
            }
        })?;
        let status = match &end {
            Some(end) => end.outcome.into(),
            None if is_locked => Status::Running,
            None => Status::Killed,
        };
        if end.is_some() {
            steps.values_mut().for_each(Step::leave_off);
        }
        let since_begin = now.duration_since(head.started).max(SignedDuration::ZERO);
        let duration = match status {
            Status::Running => since_begin.unsigned_abs(),
            _ => Duration::from_micros(last),
        };
        Ok(Self {
            head,
            status,
            end,
            duration,
            dockerfile,
            steps,
            damaged,
        })
    }

    /// Reads how much each step wrote.
    pub fn measure_logs(&mut self, record: &Record) -> Result<(), RecordError> {
        record.logs(|piece| {
            if let Some(step) = self.steps.get_mut(&piece.step) {
                step.log.bytes += piece.bytes.len() as u64;
                step.log.last = Duration::from_micros(piece.at);
            }
        })
    }

    /// What people call it: the image's first name, or else where it was built from, with the stage.
    pub fn name(&self) -> String {
        name(&self.head)
    }

    /// How many instructions the cache answered.
    pub fn hits(&self) -> usize {
        let cached = |step: &&Step| step.ending == Ending::Cached;
        self.steps.values().filter(cached).count()
    }

    /// How many instructions it did not answer: those that ran, or began to.
    pub fn misses(&self) -> usize {
        let missed = self.steps.values().filter(|step| step.miss.is_some());
        missed.count()
    }

    /// When a step that has not ended was last known to be at work.
    pub fn end_of(&self, step: &Step) -> Duration {
        step.ended.unwrap_or(self.duration)
    }
}

pub(super) fn name(head: &Head) -> String {
    if let Some(tag) = head.tags.first() {
        return tag.clone();
    }
    let path = Path::new(&head.directory).join(&head.context);
    let last = path.components().next_back();
    let last = last.map_or_else(String::new, |last| {
        last.as_os_str().to_string_lossy().into_owned()
    });
    let place = match head.context.contains("://") || head.context == "-" {
        true => head.context.clone(),
        false => last,
    };
    match &head.target {
        Some(target) => format!("{place} ({target})"),
        None => place,
    }
}

impl Step {
    /// The stage that its name begins with, such as `builder` of `[builder 2/5] RUN make`.
    pub fn stage(&self) -> &str {
        let inside = self
            .name
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'));
        let Some((inside, _)) = inside else {
            return if self.name.starts_with("exporting") {
                "export"
            } else {
                ""
            };
        };
        let is_number = |word: &str| {
            let halves = word.split_once('/');
            halves.is_some_and(|(a, b)| [a, b].iter().all(|half| half.parse::<u32>().is_ok()))
        };
        match inside.trim().rsplit_once(' ') {
            Some((stage, number)) if is_number(number.trim()) => stage.trim(),
            None if is_number(inside.trim()) => "stage",
            _ => inside.trim(),
        }
    }

    /// Whether the cache was asked for it.
    pub fn is_cacheable(&self) -> bool {
        self.hit.is_some() || self.miss.is_some()
    }

    /// How long it was at work, or has been until `end`.
    pub fn took(&self, end: Duration) -> Duration {
        self.started
            .map_or(Duration::ZERO, |started| end.saturating_sub(started))
    }

    fn take(&mut self, at: Duration, event: Happening) {
        match event {
            Happening::Announced { name, span, inputs } => {
                (self.name, self.span, self.inputs) = (name, span, inputs);
            }
            Happening::Started => {
                self.started = Some(at);
                self.ending = Ending::Open;
            }
            Happening::Transferred { item, current, .. } => {
                match self.moved.iter_mut().find(|moved| moved.item == item) {
                    Some(moved) => moved.bytes = current,
                    None => self.moved.push(Moved {
                        item,
                        bytes: current,
                    }),
                }
            }
            Happening::Definition(key) => self.definition = Some(key),
            Happening::Content(key) => self.content = Some(key),
            Happening::Hit(hit) => self.hit = Some(hit),
            Happening::Origin(name) => self.origin = Some(name),
            Happening::Reproduced => self.is_reproduced = true,
            Happening::Missed(miss) => self.miss = Some(miss),
            Happening::Exited(exit) => self.exit = Some(exit),
            Happening::Used {
                peak_memory,
                processor_time,
            } => {
                self.peak_memory = Some(peak_memory);
                self.processor_time = Some(Duration::from_micros(processor_time));
            }
            Happening::Cached => self.end(at, Ending::Cached),
            Happening::Finished => self.end(at, Ending::Done),
            Happening::Failed { message } => self.end(at, Ending::Failed(message)),
            Happening::Canceled => self.end(at, Ending::Canceled),
            Happening::Dockerfile { .. }
            | Happening::Network(_)
            | Happening::Log { .. }
            | Happening::Ended(_) => {}
        }
    }

    /// No step is at work once its build is over: what ends the build ends all of them, without a word.
    fn leave_off(&mut self) {
        if self.ending == Ending::Open {
            self.ending = Ending::Canceled;
        }
    }

    fn end(&mut self, at: Duration, ending: Ending) {
        (self.ended, self.ending) = (Some(at), ending);
    }
}

impl Ending {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Ending::NotBegun => "not begun",
            Ending::Open => "open",
            Ending::Cached => "cached",
            Ending::Done => "done",
            Ending::Failed(_) => "failed",
            Ending::Canceled => "canceled",
        }
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Status::Succeeded,
            Outcome::Failed => Status::Failed,
            Outcome::Canceled => Status::Canceled,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
