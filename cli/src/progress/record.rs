//! Keeps every step's whole log in a file, whoever else watches.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_solver::graph::SourceSpan;
use kiln_solver::progress::{Event, EventKind, Progress, StepId};

/// Writes logs to files and passes everything on.
pub struct Recorder {
    inner: Arc<dyn Progress>,
    directory: PathBuf,
    steps: Mutex<BTreeMap<StepId, Step>>,
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
    /// The file with its log, if it wrote anything.
    pub log: Option<PathBuf>,
}

#[derive(Default)]
struct Step {
    name: String,
    span: Option<SourceSpan>,
    log: Log,
    failure: Option<String>,
}

#[derive(Default)]
enum Log {
    /// Nothing was written.
    #[default]
    None,
    /// More may come.
    Open(PathBuf, File),
    /// No more will come.
    Closed(PathBuf),
    /// It could not be written; what was, is gone or incomplete.
    Lost,
}

impl Recorder {
    /// Writes the logs into `directory`, which is made if need be, and passes events on to `inner`.
    pub fn new(inner: Arc<dyn Progress>, directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            inner,
            directory,
            steps: Mutex::default(),
        })
    }

    /// The directory with the logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The steps that have failed so far.
    pub fn failed_steps(&self) -> Vec<FailedStep> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.values().filter_map(Step::failed).collect()
    }

    fn note(&self, event: &Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.entry(event.step).or_default();
        match &event.kind {
            EventKind::Announced { name, span } => {
                (step.name, step.span) = (name.clone(), span.clone());
            }
            EventKind::Log { bytes, .. } => step.log.write(&self.directory, event.step, bytes),
            EventKind::Failed { message } => {
                step.failure = Some(message.clone());
                step.log.close();
            }
            EventKind::Finished | EventKind::Canceled => step.log.close(),
            EventKind::Started
            | EventKind::Learned(_)
            | EventKind::Transferred { .. }
            | EventKind::Cached => {}
        }
    }
}

impl Progress for Recorder {
    fn report(&self, event: Event) {
        self.note(&event);
        self.inner.report(event);
    }
}

impl Step {
    fn failed(&self) -> Option<FailedStep> {
        let message = self.failure.clone()?;
        let log = match &self.log {
            Log::Open(path, _) | Log::Closed(path) => Some(path.clone()),
            Log::None | Log::Lost => None,
        };
        Some(FailedStep {
            name: self.name.clone(),
            span: self.span.clone(),
            message,
            log,
        })
    }
}

impl Log {
    /// Straight to the file, so that nothing is lost when the program is killed. A log that cannot
    /// be written fails no build.
    fn write(&mut self, directory: &Path, step: StepId, bytes: &[u8]) {
        if matches!(self, Log::None) {
            let path = directory.join(format!("{:04}.log", step.0));
            *self = File::create(&path).map_or(Log::Lost, |file| Log::Open(path, file));
        }
        if let Log::Open(_, file) = self
            && file.write_all(bytes).is_err()
        {
            *self = Log::Lost;
        }
    }

    fn close(&mut self) {
        *self = match std::mem::take(self) {
            Log::Open(path, _) => Log::Closed(path),
            other => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use kiln_solver::progress::{LogStream, Reporter};

    use super::*;

    #[derive(Default)]
    struct Counted(Mutex<usize>);

    impl Progress for Counted {
        fn report(&self, _: Event) {
            *self.0.lock().expect("no other thread panicked") += 1;
        }
    }

    #[test]
    fn whole_logs_are_kept_and_failures_remembered() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inner = Arc::new(Counted::default());
        let logs = directory.path().join("logs");
        let recorder = Arc::new(Recorder::new(Arc::clone(&inner) as _, logs).expect("writable"));
        let reporter = Reporter::new(Arc::clone(&recorder) as _);
        let fine = reporter.start("RUN true");
        fine.finished();
        let broken = reporter.announce("RUN make", Some(SourceSpan { bytes: 3..9 }));
        broken.log(LogStream::Stdout, b"compiling\n");
        broken.log(LogStream::Stderr, b"\x1b[31merror\n");
        broken.failed("exit code: 2");

        let [failed] = recorder.failed_steps().try_into().expect("one step failed");
        assert_eq!(failed.name, "RUN make");
        assert_eq!(failed.span, Some(SourceSpan { bytes: 3..9 }));
        assert_eq!(failed.message, "exit code: 2");
        let log = std::fs::read(failed.log.expect("it wrote something")).expect("readable");
        assert_eq!(log, b"compiling\n\x1b[31merror\n");
        assert_eq!(*inner.0.lock().expect("no other thread panicked"), 7);
    }

    #[test]
    fn a_log_that_cannot_be_written_fails_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inner = Arc::new(Counted::default());
        let recorder = Recorder::new(Arc::clone(&inner) as _, directory.path().join("logs"));
        let recorder = Arc::new(recorder.expect("writable"));
        std::fs::remove_dir(recorder.directory()).expect("it is empty");
        let step = Reporter::new(Arc::clone(&recorder) as _).start("RUN make");
        step.log(LogStream::Stdout, b"text");
        step.failed("exit code: 2");
        assert_eq!(recorder.failed_steps()[0].log, None);
        assert_eq!(*inner.0.lock().expect("no other thread panicked"), 4);
    }
}
