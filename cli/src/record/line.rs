//! The lines of a record, as they are written.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kiln_solver::graph::SourceSpan;
use kiln_solver::progress::{Event, EventKind, Fact, Hit};
use kiln_solver::{Exit, Key, LogStream, Miss, StepId};
use serde::{Deserialize, Serialize};

/// The version of the format that this Kiln writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// The first line: what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Head {
    /// The format's version.
    #[serde(rename = "kiln-build")]
    pub version: u32,
    /// The build's name among all.
    pub id: String,
    /// The version of the program.
    pub kiln: String,
    /// When it began.
    pub started: Timestamp,
    /// What was typed behind `kiln`; passwords in addresses are left out.
    pub arguments: Vec<String>,
    /// The working directory.
    pub directory: String,
    /// The context as typed.
    pub context: String,
    /// The Dockerfile as typed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The stage that was asked for; none is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The image's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Head {
    /// That of a build of this program, about which nothing more is said.
    pub fn new(id: String, started: Timestamp) -> Self {
        Self {
            version: VERSION,
            id,
            kiln: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            arguments: Vec::new(),
            directory: String::new(),
            context: String::new(),
            dockerfile: None,
            target: None,
            tags: Vec::new(),
        }
    }

    /// The same with `user:password@` of addresses left out.
    pub fn without_passwords(mut self) -> Self {
        let texts = self.arguments.iter_mut().chain([&mut self.context]);
        texts.for_each(|text| *text = without_password(text));
        self
    }
}

fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => text.to_owned(),
    }
}

/// Any other line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since the build began.
    pub at: u64,
    /// The step that it is about; none is the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// What happened.
    pub event: Happening,
}

/// What can happen to a build and to its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// The Dockerfile was read.
    Dockerfile {
        /// What errors call it.
        name: String,
        /// How long it is, in bytes.
        bytes: u64,
        /// What it says; left out where it is very long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The step exists.
    Announced {
        /// One line, such as `[builder 2/5] RUN make`.
        name: String,
        /// Where its instruction begins and ends, in bytes of the Dockerfile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        span: Option<(usize, usize)>,
        /// The steps whose results it needs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<u32>,
    },
    /// Work on the step began.
    Started,
    /// Bytes moved.
    Transferred {
        /// What moves.
        item: String,
        /// How many bytes so far.
        current: u64,
        /// How many in all, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// The step's definition key.
    Definition(Key),
    /// The step's content key.
    Content(Key),
    /// It was in the cache.
    Hit(Hit),
    /// Its result was in somebody else's cache, which is called so.
    Origin(String),
    /// It ran, and yielded what an earlier one had, which is in the result in its place.
    Reproduced,
    /// It was not in the cache.
    Missed(Arc<Miss>),
    /// How its command failed.
    Exited(Exit),
    /// By what its command reaches the network; said by the first step.
    Network(String),
    /// What its command used.
    Used {
        /// Bytes that its largest process held at most.
        #[serde(rename = "peak-memory")]
        peak_memory: u64,
        /// Microseconds on processors.
        #[serde(rename = "processor-time")]
        processor_time: u64,
    },
    /// The step wrote something. Only in `logs.jsonl`.
    Log {
        /// Where to.
        stream: Stream,
        /// What; not always whole lines.
        #[serde(flatten)]
        text: Text,
    },
    /// The step's result was in the cache.
    Cached,
    /// The step was done.
    Finished,
    /// The step could not be done.
    Failed {
        /// Why, in one line.
        message: String,
    },
    /// The step was ended because of something else.
    Canceled,
    /// The build is over. The last line.
    Ended(End),
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes: as they are where they are UTF-8, else in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Text {
    /// Text.
    Text(String),
    /// Other bytes, in base64 with padding (RFC 4648, section 4).
    Base64(String),
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct End {
    /// In which way.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The digest of the image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The size of the image as it was exported, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// In which way a build ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it was to do.
    Succeeded,
    /// It could not.
    Failed,
    /// Somebody ended it.
    Canceled,
}

impl Text {
    /// Bytes as text, where they are.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Text(text.to_owned()),
            Err(_) => Text::Base64(STANDARD.encode(bytes)),
        }
    }

    /// The bytes. What is not base64 is nothing.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Text::Text(text) => text.into_bytes(),
            Text::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

impl From<LogStream> for Stream {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Stream::Stdout,
            LogStream::Stderr => Stream::Stderr,
        }
    }
}

impl From<Stream> for LogStream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => LogStream::Stdout,
            Stream::Stderr => LogStream::Stderr,
        }
    }
}

impl From<&EventKind> for Happening {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::Announced { name, span, inputs } => Happening::Announced {
                name: name.clone(),
                span: span.as_ref().map(|span| (span.bytes.start, span.bytes.end)),
                inputs: inputs.iter().map(|step| step.0).collect(),
            },
            EventKind::Learned(Fact::Definition(key)) => Happening::Definition(*key),
            EventKind::Learned(Fact::Content(key)) => Happening::Content(*key),
            EventKind::Learned(Fact::Hit(hit)) => Happening::Hit(*hit),
            EventKind::Learned(Fact::Origin(name)) => Happening::Origin(name.clone()),
            EventKind::Learned(Fact::Reproduced) => Happening::Reproduced,
            EventKind::Learned(Fact::Missed(miss)) => Happening::Missed(Arc::clone(miss)),
            EventKind::Learned(Fact::Exited(exit)) => Happening::Exited(*exit),
            EventKind::Learned(Fact::Network(way)) => Happening::Network(way.clone()),
            EventKind::Learned(Fact::Used {
                peak_memory,
                processor_time,
            }) => Happening::Used {
                peak_memory: *peak_memory,
                processor_time: *processor_time,
            },
            EventKind::Started => Happening::Started,
            EventKind::Log { stream, bytes } => Happening::Log {
                stream: (*stream).into(),
                text: Text::new(bytes),
            },
            EventKind::Transferred {
                item,
                current,
                total,
            } => Happening::Transferred {
                item: item.clone(),
                current: *current,
                total: *total,
            },
            EventKind::Cached => Happening::Cached,
            EventKind::Finished => Happening::Finished,
            EventKind::Failed { message } => Happening::Failed {
                message: message.clone(),
            },
            EventKind::Canceled => Happening::Canceled,
        }
    }
}

impl Happening {
    /// Whether a step gets its number now, if it has none: when there is something of it to show.
    pub(super) fn gives_number(&self) -> bool {
        use Happening::{Cached, Canceled, Failed, Finished, Log, Started, Transferred};
        matches!(
            self,
            Started
                | Transferred { .. }
                | Log { .. }
                | Cached
                | Finished
                | Failed { .. }
                | Canceled
        )
    }
}

impl Line {
    /// The event that displays draw; `None` if this is about the build.
    pub fn into_event(self) -> Option<Event> {
        let kind = match self.event {
            Happening::Dockerfile { .. } | Happening::Ended(_) => return None,
            Happening::Announced { name, span, inputs } => EventKind::Announced {
                name,
                span: span.map(|(start, end)| SourceSpan { bytes: start..end }),
                inputs: inputs.into_iter().map(StepId).collect(),
            },
            Happening::Started => EventKind::Started,
            Happening::Transferred {
                item,
                current,
                total,
            } => EventKind::Transferred {
                item,
                current,
                total,
            },
            Happening::Definition(key) => EventKind::Learned(Fact::Definition(key)),
            Happening::Content(key) => EventKind::Learned(Fact::Content(key)),
            Happening::Hit(hit) => EventKind::Learned(Fact::Hit(hit)),
            Happening::Origin(name) => EventKind::Learned(Fact::Origin(name)),
            Happening::Reproduced => EventKind::Learned(Fact::Reproduced),
            Happening::Missed(miss) => EventKind::Learned(Fact::Missed(miss)),
            Happening::Exited(exit) => EventKind::Learned(Fact::Exited(exit)),
            Happening::Network(way) => EventKind::Learned(Fact::Network(way)),
            Happening::Used {
                peak_memory,
                processor_time,
            } => EventKind::Learned(Fact::Used {
                peak_memory,
                processor_time,
            }),
            Happening::Log { stream, text } => EventKind::Log {
                stream: stream.into(),
                bytes: text.into_bytes().into(),
            },
            Happening::Cached => EventKind::Cached,
            Happening::Finished => EventKind::Finished,
            Happening::Failed { message } => EventKind::Failed { message },
            Happening::Canceled => EventKind::Canceled,
        };
        Some(Event {
            step: StepId(self.step?),
            kind,
        })
    }
}
