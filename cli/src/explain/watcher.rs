//! `kiln build --explain`: says in each step's log why it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_solver::progress::{Event, EventKind, Fact, LogStream, Progress, StepId};
use kiln_solver::{Key, Miss, MissReason};
use kiln_worker::store::Store;

use super::{REPRODUCED, causes, changed_files, listed_files};

/// Values longer than this are cut.
const LONGEST: usize = 200;

/// Adds explanations to what is shown; passes everything on.
pub struct Explainer {
    inner: Arc<dyn Progress>,
    store: Store,
    steps: Mutex<HashMap<StepId, Step>>,
}

#[derive(Default)]
struct Step {
    content: Option<Key>,
    miss: Option<Arc<Miss>>,
}

impl Explainer {
    /// Explains to `inner` what the store knows of.
    pub fn new(inner: Arc<dyn Progress>, store: Store) -> Self {
        Self {
            inner,
            store,
            steps: Mutex::default(),
        }
    }

    fn steps(&self) -> MutexGuard<'_, HashMap<StepId, Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, step: StepId, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let text: String = lines
            .iter()
            .map(|line| format!("explain: {line}\n"))
            .collect();
        let kind = EventKind::Log {
            stream: LogStream::Stderr,
            bytes: text.as_bytes().into(),
        };
        self.inner.report(Event { step, kind });
    }

    /// Files are compared when the step is done: only then both layers are known.
    fn files(&self, step: StepId) -> Vec<String> {
        let known = self.steps().remove(&step);
        let Some(Step {
            content: Some(content),
            miss: Some(miss),
        }) = known
        else {
            return Vec::new();
        };
        let MissReason::Changed {
            earlier,
            differences,
        } = &miss.reason
        else {
            return Vec::new();
        };
        // What cannot be explained is left unsaid; the build goes on.
        let changes = kiln_worker::explain::changed_files(&self.store, earlier, &content);
        let changes = changes.ok().flatten().unwrap_or_default();
        match changes.is_empty() {
            true => changed_files(&listed_files(differences)),
            false => changed_files(&changes),
        }
    }
}

impl Progress for Explainer {
    fn report(&self, event: Event) {
        let step = event.step;
        match &event.kind {
            EventKind::Learned(Fact::Content(key)) => {
                self.steps().entry(step).or_default().content = Some(*key);
            }
            EventKind::Learned(Fact::Missed(miss)) => {
                self.steps().entry(step).or_default().miss = Some(Arc::clone(miss));
                self.say(step, &causes(miss, LONGEST));
            }
            EventKind::Learned(Fact::Reproduced) => self.say(step, &[REPRODUCED.to_owned()]),
            EventKind::Finished => self.say(step, &self.files(step)),
            _ => {}
        }
        self.inner.report(event);
    }
}
