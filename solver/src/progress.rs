//! What happens in a build, as data. Whoever watches adds the times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::digest::Key;
use crate::execute::Exit;
use crate::graph::SourceSpan;
use crate::miss::Miss;

/// Names something that people can watch: a vertex, a download, an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub u32);

/// Something that happened to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The step.
    pub step: StepId,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen to a step. After `Announced`, a step is either never started (nobody needed it),
/// or ends in exactly one of `Cached`, `Finished`, `Failed` and `Canceled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It exists.
    Announced {
        /// One line, such as `[builder 2/5] RUN make`.
        name: String,
        /// Where its instruction stands.
        span: Option<SourceSpan>,
        /// The steps whose results it needs, all announced before.
        inputs: Vec<StepId>,
    },
    /// Something became known that pictures do not show and records keep.
    Learned(Fact),
    /// Work on it began.
    Started,
    /// It wrote something.
    Log {
        /// Where to.
        stream: LogStream,
        /// What; not always whole lines.
        bytes: Arc<[u8]>,
    },
    /// Bytes moved.
    Transferred {
        /// What moves, such as a layer's digest or `transferring context`.
        item: String,
        /// How many so far.
        current: u64,
        /// How many in all, if known.
        total: Option<u64>,
    },
    /// Its result was in the cache.
    Cached,
    /// It was done.
    Finished,
    /// It could not be done.
    Failed {
        /// Why, in one line.
        message: String,
    },
    /// It was ended before it was done, because of something else.
    Canceled,
}

/// What can become known of a step beside its course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Its definition key.
    Definition(Key),
    /// Its content key.
    Content(Key),
    /// It was in the cache.
    Hit(Hit),
    /// Its result was in a cache of somebody else's, which is called so.
    Origin(String),
    /// It ran, and yielded what an earlier one had, times aside: what was found behind it rests on that one,
    /// which so is in the result in its place. Comes after the step is done.
    Reproduced,
    /// It was not in the cache and will run.
    Missed(Arc<Miss>),
    /// How its command failed.
    Exited(Exit),
    /// By what its command reaches the network, if no step said so before.
    Network(String),
    /// What its command used.
    Used {
        /// Bytes that its largest process held at most.
        peak_memory: u64,
        /// Microseconds on processors, of all its processes together.
        processor_time: u64,
    },
}

/// Why a step did not have to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hit {
    /// The same operation on the same inputs was recorded.
    SameDefinition,
    /// Its inputs came about in another way, but what it reads of them is what it was.
    SameContent,
    /// Whatever needs it was recorded.
    NotNeeded,
}

/// The stream that a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Someone who watches a build. Called from many threads; must not block for long.
pub trait Progress: Send + Sync {
    /// Takes note of one event.
    fn report(&self, event: Event);
}

/// Announces steps to whoever watches. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    progress: Arc<dyn Progress>,
    next: Arc<AtomicU32>,
}

impl Reporter {
    /// Reports to `progress`.
    pub fn new(progress: Arc<dyn Progress>) -> Self {
        Self {
            progress,
            next: Arc::default(),
        }
    }

    /// Announces a step without starting it.
    pub fn announce(&self, name: impl Into<String>, span: Option<SourceSpan>) -> StepReporter {
        self.announce_on(name, span, Vec::new())
    }

    /// Announces a step that needs the results of others.
    pub fn announce_on(
        &self,
        name: impl Into<String>,
        span: Option<SourceSpan>,
        inputs: Vec<StepId>,
    ) -> StepReporter {
        let step = StepId(self.next.fetch_add(1, Ordering::Relaxed));
        let reporter = StepReporter {
            progress: Arc::clone(&self.progress),
            step,
        };
        reporter.report(EventKind::Announced {
            name: name.into(),
            span,
            inputs,
        });
        reporter
    }

    /// Announces a step and starts it.
    pub fn start(&self, name: impl Into<String>) -> StepReporter {
        let reporter = self.announce(name, None);
        reporter.started();
        reporter
    }
}

/// Reports what happens to one step. Cheap to clone.
#[derive(Clone)]
pub struct StepReporter {
    progress: Arc<dyn Progress>,
    step: StepId,
}

/// Nobody.
struct Silent;

impl Progress for Silent {
    fn report(&self, _event: Event) {}
}

impl StepReporter {
    /// Reports to nobody.
    pub fn silent() -> Self {
        Self {
            progress: Arc::new(Silent),
            step: StepId(0),
        }
    }

    /// The step's name among all.
    pub fn id(&self) -> StepId {
        self.step
    }

    /// Reports to another watcher, made of this one's.
    pub fn watched_by(&self, watcher: impl FnOnce(Arc<dyn Progress>) -> Arc<dyn Progress>) -> Self {
        Self {
            progress: watcher(Arc::clone(&self.progress)),
            step: self.step,
        }
    }

    /// Work began.
    pub fn started(&self) {
        self.report(EventKind::Started);
    }

    /// The step wrote something.
    pub fn log(&self, stream: LogStream, bytes: &[u8]) {
        self.report(EventKind::Log {
            stream,
            bytes: bytes.into(),
        });
    }

    /// Bytes moved.
    pub fn transferred(&self, item: &str, current: u64, total: Option<u64>) {
        self.report(EventKind::Transferred {
            item: item.to_owned(),
            current,
            total,
        });
    }

    /// Something became known.
    pub fn learned(&self, fact: Fact) {
        self.report(EventKind::Learned(fact));
    }

    /// The result was in the cache.
    pub fn cached(&self) {
        self.report(EventKind::Cached);
    }

    /// The step is done.
    pub fn finished(&self) {
        self.report(EventKind::Finished);
    }

    /// The step could not be done.
    pub fn failed(&self, message: impl Into<String>) {
        self.report(EventKind::Failed {
            message: message.into(),
        });
    }

    /// The step was ended because of something else.
    pub fn canceled(&self) {
        self.report(EventKind::Canceled);
    }

    fn report(&self, kind: EventKind) {
        self.progress.report(Event {
            step: self.step,
            kind,
        });
    }
}
