//! The seams of the solver: who performs steps, and who remembers their results.

use std::sync::Arc;

use async_trait::async_trait;

use crate::digest::{ContentDigest, Key};
use crate::graph::{Graph, VertexId};
use crate::key::{KeyPart, content_key, definition_key, explain, inputs_key, outline_key};
use crate::op::{Op, Reading, Reads};
use crate::progress::StepReporter;

/// Whatever went wrong inside an executor or a cache; the solver only passes it on.
pub type StepError = Box<dyn std::error::Error + Send + Sync>;

/// One operation to perform.
pub struct Step<O> {
    /// Its vertex in the graph.
    pub vertex: VertexId,
    /// What to do.
    pub op: Arc<Op>,
    /// Where its log and its transfers are reported; the solver itself reports start and end.
    pub reporter: StepReporter,
    /// What an earlier step yielded that did much the same. Its bytes may be used again where they
    /// are the same; the result must not depend on it.
    pub earlier: Option<O>,
}

/// How a step ended that could be performed.
#[derive(Debug, Clone)]
pub enum Outcome<O> {
    /// It yielded something.
    Done(O),
    /// Its command ran and failed.
    Exited(Exit),
}

/// How a command ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With a code other than 0.
    Code(i32),
    /// Through a signal.
    Signal(i32),
    /// The kernel killed a process of it, since it took more than these bytes of memory that it may have, or since
    /// there was no more.
    OutOfMemory(Option<u64>),
    /// It was ended, or failed, since it wanted more of something than a step may have.
    Exceeded(Exceeded),
}

/// What a step wanted more of than it may have, and how much that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exceeded {
    /// Processes at a time.
    Processes(u64),
    /// Bytes on disk.
    Disk(u64),
    /// Bytes of output.
    Log(u64),
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Processes(most) => write!(
                f,
                "too many processes: it had reached its limit of {most} (--pids-limit)"
            ),
            Self::Disk(most) => write!(
                f,
                "too much on disk: it was ended when it had written more than {most} bytes (--max-step-disk)"
            ),
            Self::Log(most) => write!(
                f,
                "too much output: it was ended when it had written more than {most} bytes (--max-step-log)"
            ),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code: {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
            Exit::OutOfMemory(Some(limit)) => write!(
                f,
                "out of memory: it took more than its limit of {limit} bytes, and a process of it was killed"
            ),
            Exit::Exceeded(exceeded) => exceeded.fmt(f),
            Exit::OutOfMemory(None) => f.write_str(
                "out of memory: there was no more for it, and a process of it was killed",
            ),
        }
    }
}

/// Performs steps.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// What a step yields. Cheap to clone.
    type Output: Clone + Send + Sync + 'static;

    /// Performs a step on the outputs of its inputs. Dropping the future ends the step. A source is
    /// only opened: bytes that nobody reads should not move.
    async fn run(
        &self,
        step: Step<Self::Output>,
        inputs: Vec<Self::Output>,
    ) -> Result<Outcome<Self::Output>, StepError>;

    /// The content of what `reads` names of an output.
    async fn content(
        &self,
        output: &Self::Output,
        reads: &Reads,
    ) -> Result<ContentDigest, StepError>;

    /// What a step reads of an output, file by file, so that an explanation can name what changed. Nothing is
    /// brought for it: where that would be necessary, nothing is listed.
    async fn listing(
        &self,
        _output: &Self::Output,
        _reading: &Reading,
    ) -> Result<Vec<ListedFile>, StepError> {
        Ok(Vec::new())
    }
}

/// One of the files that a step reads, or a directory with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is in the input, as people write it.
    pub path: String,
    /// Names its bytes, or what else it is.
    pub content: String,
    /// Names that together with its mode, owner and attributes.
    pub all: String,
}

/// The keys that a result is recorded under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepKeys {
    /// Known before anything ran.
    pub definition: Key,
    /// Known once the inputs were.
    pub content: Key,
    /// Names what the operation does in the main (see [`crate::key::outline_key`]).
    pub outline: Key,
    /// Names what is read apart from what is done with it.
    pub inputs: Key,
    /// What the content key consists of.
    pub explanation: Vec<KeyPart>,
}

impl StepKeys {
    /// The keys of an operation that reads nothing: a pinned source.
    pub fn of_source(op: &Op) -> Self {
        Self {
            definition: definition_key(op, &[]),
            content: content_key(op, &[]),
            outline: outline_key(op),
            inputs: inputs_key(&[]),
            explanation: explain(op, &[]),
        }
    }
}

/// The right to run a step that others may want at the same time. Dropping it gives it up.
pub struct Claim {
    /// Where the step is reported; those who wait for it see its log.
    pub reporter: StepReporter,
    /// Gives the claim up when dropped.
    pub guard: Box<dyn std::any::Any + Send>,
}

/// A step that was recorded before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its content key.
    pub content: Key,
    /// What that consists of.
    pub explanation: Vec<KeyPart>,
}

/// Remembers what steps yielded.
#[async_trait]
pub trait Cache<O>: Send + Sync + 'static {
    /// Tells what will be looked up: the vertices that are needed, inputs first, and the definition key of
    /// every vertex that has one, by [`VertexId::index`]. Who believes all records needs it not.
    fn expect(&self, _graph: &Graph, _needed: &[VertexId], _definitions: &[Option<Key>]) {}

    /// What was recorded under a key (of either kind) of the step that has the definition key `step`, if it
    /// is still there whole.
    async fn look_up(&self, step: Key, key: Key) -> Result<Option<O>, StepError>;

    /// What a step yielded that did much the same, of which only bytes are used again: nothing has to be
    /// brought for it, and nothing that is said of it has to be true.
    async fn recall(&self, key: Key) -> Result<Option<O>, StepError>;

    /// Whose record it was that was found under a key, for people; `None` if it was this cache's own.
    fn origin(&self, _key: &Key) -> Option<String> {
        None
    }

    /// Records what a step yielded; of several records under one key the last one counts.
    async fn record(&self, keys: &StepKeys, output: &O) -> Result<(), StepError>;

    /// Claims the step of a content key, once nobody else runs it. What it writes elsewhere is
    /// reported to `reporter` meanwhile.
    async fn claim(&self, content: Key, reporter: &StepReporter) -> Result<Claim, StepError>;

    /// Steps that were recorded earlier with the same operation or the same inputs, the latest
    /// first, and not more than a few.
    async fn similar(&self, keys: &StepKeys) -> Result<Vec<Earlier>, StepError>;
}
