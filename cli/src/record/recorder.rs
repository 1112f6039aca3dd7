//! Writes a record while the build goes on, whoever else watches.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_frontend::Source;
use kiln_solver::graph::SourceSpan;
use kiln_solver::progress::{Event, EventKind, Fact, Progress, StepId};
use kiln_solver::{Key, LogStream};
use rustix::fs::FlockOperation;

use super::line::{End, Happening, Head, Line};
use super::reader::{Record, RecordError};
use super::shelf::{LOGS, RECORD};

/// How many bytes of lines that can wait do wait.
const WAITING_LIMIT: usize = 16 * 1024;
/// How long a line may wait that is no log.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// How often the progress of one transfer is written.
const TRANSFER_INTERVAL: Duration = Duration::from_millis(250);
/// The longest Dockerfile whose text is kept, in bytes.
const LONGEST_DOCKERFILE: usize = 256 * 1024;

/// Writes down what happens and passes everything on.
pub struct Recorder {
    inner: Arc<dyn Progress>,
    id: String,
    directory: PathBuf,
    notes: Mutex<Notes>,
}

/// A step that failed, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// Its name, such as `[builder 2/5] RUN make`.
    pub name: String,
    /// Where its instruction stands.
    pub span: Option<SourceSpan>,
    /// Why it failed, in one line.
    pub message: String,
    /// What it wrote, if it wrote anything.
    pub log: Option<StepLog>,
}

/// Where the log of one step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLog {
    directory: PathBuf,
    id: String,
    step: StepId,
    number: u32,
}

impl StepLog {
    /// Hands over the log piece by piece.
    pub fn read(&self, mut take: impl FnMut(&[u8])) -> Result<(), RecordError> {
        Record::at(self.directory.clone()).logs(|piece| {
            if piece.step == self.step.0 {
                take(&piece.bytes);
            }
        })
    }
}

/// What to type to see the log again.
impl fmt::Display for StepLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kiln builds logs {} --step {}", self.id, self.number)
    }
}

struct Notes {
    started: Instant,
    /// When the last line was written; no two have the same time.
    last: u64,
    record: Appender,
    logs: Option<Appender>,
    directory: PathBuf,
    has_dockerfile: bool,
    /// How many steps have a number.
    numbers: u32,
    steps: BTreeMap<StepId, Noted>,
}

/// What is remembered of a step.
#[derive(Default)]
struct Noted {
    number: Option<u32>,
    name: String,
    span: Option<SourceSpan>,
    content: Option<Key>,
    has_log: bool,
    failure: Option<String>,
    transfers: BTreeMap<String, Transfer>,
}

/// The progress of one transfer: when it was last written, and what was not written since.
struct Transfer {
    written: Duration,
    waiting: Option<(u64, Option<u64>)>,
}

impl Recorder {
    /// Begins a record in `directory`, which is made for it, and passes events on to `inner`.
    pub fn begin(inner: Arc<dyn Progress>, directory: PathBuf, head: &Head) -> io::Result<Self> {
        let started = Instant::now();
        std::fs::create_dir(&directory)?;
        let file = File::create_new(directory.join(RECORD))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let mut record = Appender::new(Some(file));
        record.add(head);
        record.flush();
        let notes = Notes {
            started,
            last: 0,
            record,
            logs: None,
            directory: directory.clone(),
            has_dockerfile: false,
            numbers: 0,
            steps: BTreeMap::new(),
        };
        Ok(Self {
            inner,
            id: head.id.clone(),
            directory,
            notes: Mutex::new(notes),
        })
    }

    /// What is being written.
    pub fn record(&self) -> Record {
        Record::at(self.directory.clone())
    }

    /// Keeps a Dockerfile, unless it was kept before.
    pub fn dockerfile(&self, source: &Source) {
        let text = source.text();
        self.locked(|notes| {
            if std::mem::replace(&mut notes.has_dockerfile, true) {
                return;
            }
            let dockerfile = Happening::Dockerfile {
                name: source.name().to_owned(),
                bytes: text.len() as u64,
                text: (text.len() <= LONGEST_DOCKERFILE).then(|| text.to_owned()),
            };
            notes.add(None, dockerfile);
        });
    }

    /// Writes to the file what has waited, every now and then, until it is dropped.
    pub async fn keep_up(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LONGEST_WAIT).await;
            self.locked(|notes| notes.record.flush());
        }
    }

    /// The build is over; nothing is written after this.
    pub fn end(&self, end: End) {
        self.locked(|notes| {
            let open: Vec<StepId> = notes.steps.keys().copied().collect();
            open.into_iter().for_each(|step| notes.end_transfers(step));
            notes.add(None, Happening::Ended(end));
            notes.record.close();
            notes.record.has_lacked_room |=
                notes.logs.take().is_some_and(|logs| logs.has_lacked_room);
        });
    }

    /// Whether the disk was too full for all that happened. What a step wrote to it may have failed, too.
    pub fn has_lacked_room(&self) -> bool {
        self.locked(|notes| {
            let logs = notes.logs.as_ref();
            notes.record.has_lacked_room || logs.is_some_and(|logs| logs.has_lacked_room)
        })
    }

    /// The steps that have failed so far.
    pub fn failed_steps(&self) -> Vec<FailedStep> {
        let failed = |(id, step): (&StepId, &Noted)| {
            let log = || StepLog {
                directory: self.directory.clone(),
                id: self.id.clone(),
                step: *id,
                number: step.number.unwrap_or_default(),
            };
            Some(FailedStep {
                name: step.name.clone(),
                span: step.span.clone(),
                message: step.failure.clone()?,
                log: step.has_log.then(log),
            })
        };
        self.locked(|notes| notes.steps.iter().filter_map(failed).collect())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Notes) -> T) -> T {
        work(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Recorder {
    fn report(&self, event: Event) {
        self.locked(|notes| notes.take(&event));
        self.inner.report(event);
    }
}

impl Notes {
    fn take(&mut self, event: &Event) {
        let id = event.step;
        let step = self.steps.entry(id).or_default();
        match &event.kind {
            EventKind::Announced { name, span, .. } => {
                (step.name, step.span) = (name.clone(), span.clone());
            }
            EventKind::Log { stream, bytes } => return self.log(id, *stream, bytes),
            EventKind::Transferred {
                item,
                current,
                total,
            } => return self.transferred(id, item, *current, *total),
            // It is looked up and computed again when the step runs.
            EventKind::Learned(Fact::Content(key)) if step.content.replace(*key) == Some(*key) => {
                return;
            }
            EventKind::Failed { message } => step.failure = Some(message.clone()),
            EventKind::Started
            | EventKind::Cached
            | EventKind::Finished
            | EventKind::Canceled
            | EventKind::Learned(_) => {}
        }
        let is_turn = matches!(
            event.kind,
            EventKind::Started
                | EventKind::Finished
                | EventKind::Failed { .. }
                | EventKind::Canceled
        );
        if is_turn {
            self.end_transfers(id);
        }
        self.add(Some(id), (&event.kind).into());
    }

    fn log(&mut self, id: StepId, stream: LogStream, bytes: &[u8]) {
        self.record.flush();
        let line = self.line(
            Some(id),
            Happening::Log {
                stream: stream.into(),
                text: super::Text::new(bytes),
            },
        );
        let logs = self.logs.get_or_insert_with(|| {
            let file = File::create_new(self.directory.join(LOGS));
            Appender::new(file.ok())
        });
        logs.add(&line);
        logs.flush();
        if let Some(step) = self.steps.get_mut(&id) {
            step.has_log = logs.file.is_some();
        }
    }

    fn transferred(&mut self, id: StepId, item: &str, current: u64, total: Option<u64>) {
        let now = self.started.elapsed();
        let Some(step) = self.steps.get_mut(&id) else {
            return;
        };
        let is_whole = total == Some(current);
        match step.transfers.get_mut(item) {
            Some(known) if !is_whole && now < known.written + TRANSFER_INTERVAL => {
                known.waiting = Some((current, total));
                return;
            }
            Some(known) => (known.written, known.waiting) = (now, None),
            None => {
                let (written, waiting) = (now, None);
                let transfer = Transfer { written, waiting };
                step.transfers.insert(item.to_owned(), transfer);
            }
        }
        let item = item.to_owned();
        self.add(
            Some(id),
            Happening::Transferred {
                item,
                current,
                total,
            },
        );
    }

    /// Writes down how far the transfers of a step came.
    fn end_transfers(&mut self, id: StepId) {
        let Some(step) = self.steps.get_mut(&id) else {
            return;
        };
        for (item, transfer) in std::mem::take(&mut step.transfers) {
            if let Some((current, total)) = transfer.waiting {
                self.add(
                    Some(id),
                    Happening::Transferred {
                        item,
                        current,
                        total,
                    },
                );
            }
        }
    }

    fn add(&mut self, step: Option<StepId>, event: Happening) {
        if event.gives_number()
            && let Some(step) = step.and_then(|id| self.steps.get_mut(&id))
        {
            step.number.get_or_insert_with(|| {
                self.numbers += 1;
                self.numbers
            });
        }
        let line = self.line(step, event);
        self.record.add(&line);
    }

    fn line(&mut self, step: Option<StepId>, event: Happening) -> Line {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last = now.max(self.last + 1);
        Line {
            at: self.last,
            step: step.map(|step| step.0),
            event,
        }
    }
}

/// A file that lines are added to. What cannot be written is left out, on a full disk, say; what can
/// be written later is.
struct Appender {
    file: Option<File>,
    waiting: Vec<u8>,
    /// The last line in the file may not have ended.
    is_torn: bool,
    /// Whether there was no room for something.
    has_lacked_room: bool,
}

impl Appender {
    fn new(file: Option<File>) -> Self {
        Self {
            file,
            waiting: Vec::new(),
            is_torn: false,
            has_lacked_room: false,
        }
    }

    fn add(&mut self, line: &impl serde::Serialize) {
        let length = self.waiting.len();
        match serde_json::to_writer(&mut self.waiting, line) {
            Ok(()) => self.waiting.push(b'\n'),
            Err(_) => self.waiting.truncate(length),
        }
        if self.waiting.len() > WAITING_LIMIT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file {
            if self.is_torn {
                self.waiting.insert(0, b'\n');
            }
            let written = file.write_all(&self.waiting);
            self.is_torn = written.is_err();
            self.has_lacked_room |= written.is_err_and(|error| {
                use io::ErrorKind::{QuotaExceeded, StorageFull};
                matches!(error.kind(), StorageFull | QuotaExceeded)
            });
        }
        self.waiting.clear();
    }

    fn close(&mut self) {
        self.flush();
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use kiln_solver::progress::Reporter;

    use super::*;
    use crate::record::{Build, Ending, Outcome, Status};

    #[derive(Default)]
    struct Counted(Mutex<usize>);

    impl Progress for Counted {
        fn report(&self, _: Event) {
            *self.0.lock().expect("no other thread panicked") += 1;
        }
    }

    fn begin(parent: &tempfile::TempDir) -> (Arc<Counted>, Arc<Recorder>) {
        let inner = Arc::new(Counted::default());
        let started = jiff::Timestamp::UNIX_EPOCH;
        let head = Head::new("id".to_owned(), started);
        let directory = parent.path().join("time-id");
        let recorder = Recorder::begin(Arc::clone(&inner) as _, directory, &head);
        (inner, Arc::new(recorder.expect("writable")))
    }

    fn read(recorder: &Recorder) -> Build {
        Build::read(&recorder.record(), jiff::Timestamp::UNIX_EPOCH).expect("readable")
    }

    fn end(outcome: Outcome) -> End {
        End {
            outcome,
            error: None,
            image: None,
            size: None,
        }
    }

    #[test]
    fn whole_logs_are_kept_and_failures_remembered() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (inner, recorder) = begin(&parent);
        let reporter = Reporter::new(Arc::clone(&recorder) as _);
        reporter.announce("RUN never", None);
        reporter.start("RUN true").finished();
        let broken = reporter.announce("RUN make", Some(SourceSpan { bytes: 3..9 }));
        broken.log(LogStream::Stdout, b"compiling\n");
        broken.log(LogStream::Stderr, b"\xff\x1b[31merror\n");
        broken.failed("exit code: 2");

        let [failed] = recorder.failed_steps().try_into().expect("one step failed");
        assert_eq!(failed.name, "RUN make");
        assert_eq!(failed.span, Some(SourceSpan { bytes: 3..9 }));
        assert_eq!(failed.message, "exit code: 2");
        let log = failed.log.expect("it wrote something");
        assert_eq!(log.to_string(), "kiln builds logs id --step 2");
        let mut written = Vec::new();
        log.read(|piece| written.extend_from_slice(piece))
            .expect("readable");
        assert_eq!(written, b"compiling\n\xff\x1b[31merror\n");
        assert_eq!(*inner.0.lock().expect("no other thread panicked"), 8);
    }

    #[test]
    fn a_record_says_whether_its_build_runs_ended_or_was_killed() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (_, recorder) = begin(&parent);
        assert_eq!(read(&recorder).status, Status::Running);
        recorder.end(end(Outcome::Canceled));
        assert_eq!(read(&recorder).status, Status::Canceled);
        // What comes late changes nothing.
        Reporter::new(Arc::clone(&recorder) as _).start("RUN late");
        assert_eq!(read(&recorder).steps.len(), 0);

        let parent = tempfile::tempdir().expect("a temporary directory");
        let (_, recorder) = begin(&parent);
        let step = Reporter::new(Arc::clone(&recorder) as _).start("RUN make");
        step.log(LogStream::Stdout, b"text");
        let record = recorder.record();
        drop((step, recorder));
        let build = Build::read(&record, jiff::Timestamp::UNIX_EPOCH).expect("readable");
        assert_eq!(build.status, Status::Killed);
        assert_eq!(build.steps[&0].ending, Ending::Open);
    }

    #[test]
    fn a_record_that_cannot_be_written_fails_nothing() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (inner, recorder) = begin(&parent);
        std::fs::remove_dir_all(parent.path().join("time-id")).expect("removable");
        let step = Reporter::new(Arc::clone(&recorder) as _).start("RUN make");
        step.log(LogStream::Stdout, b"text");
        step.failed("exit code: 2");
        recorder.end(end(Outcome::Failed));
        assert_eq!(recorder.failed_steps()[0].log, None);
        assert_eq!(*inner.0.lock().expect("no other thread panicked"), 4);
    }

    #[test]
    fn what_a_full_disk_cut_short_hides_nothing_behind_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lines");
        std::fs::write(&path, "{\"at\":1,\"ste").expect("writable");
        let file = File::options()
            .append(true)
            .open(&path)
            .expect("it is there");
        let mut appender = Appender::new(Some(file));
        appender.is_torn = true;
        appender.add(&"next");
        appender.close();
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(text, "{\"at\":1,\"ste\n\"next\"\n");
    }

    #[test]
    fn a_transfer_is_written_now_and_then_and_at_its_end() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (_, recorder) = begin(&parent);
        let step = Reporter::new(Arc::clone(&recorder) as _).start("load");
        for current in 0..10_000 {
            step.transferred("context", current, None);
        }
        step.finished();
        recorder.end(end(Outcome::Succeeded));
        let build = read(&recorder);
        assert_eq!(build.steps[&0].moved[0].bytes, 9_999);
        assert!(recorder.record().size() < 5_000);
    }
}
