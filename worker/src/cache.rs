//! The solver's cache, on the store's index.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kiln_solver::{
    Cache, Claim, Earlier, Event, EventKind, Key, LogStream, Progress, StepError, StepKeys,
    StepReporter,
};

use crate::cache_transfer::{StepImport, TransferError, recordable};
use crate::executor::{LayerSource, Output, is_present, is_within_reach};
use crate::snapshot::Snapshot;
use crate::store::{Attempt, ForeignStep, IndexError, KnownStep, Owner, StepClaim, Store};

/// How often a step that another build runs is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a step that another build runs is waited for in silence.
const SAY_AFTER: Duration = Duration::from_secs(1);
/// How many steps of another's cache are compared with one that was not found.
const SIMILAR: usize = 4;

/// A step, and who else knows it if the store itself does not.
pub(crate) type KnownBy = ((StepKeys, Snapshot), Option<Arc<StepImport>>);

/// Remembers snapshots under keys.
pub struct StoreCache {
    store: Store,
    layer_source: Arc<dyn LayerSource>,
    /// Caches of others, which are asked in turn where the store knows nothing.
    imports: Vec<Arc<StepImport>>,
    /// Which of them had what was found.
    origins: Mutex<HashMap<Key, usize>>,
    /// What was found there under other keys than it has in this build.
    found_elsewhere: Mutex<Vec<(StepKeys, Snapshot)>>,
    used: Mutex<Vec<Key>>,
}

impl StoreCache {
    /// A cache whose records count as long as their layers are in the store or can be brought there.
    pub fn new(store: Store, layer_source: Arc<dyn LayerSource>) -> Self {
        Self {
            store,
            layer_source,
            imports: Vec::new(),
            origins: Mutex::default(),
            found_elsewhere: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// The same, which also knows what caches of others know. Their layers must be within reach of the
    /// layer source.
    pub fn with_imports(self, imports: Vec<Arc<StepImport>>) -> Self {
        Self { imports, ..self }
    }

    /// Records in the index what others knew and of which the store has all layers by now. What is recorded
    /// already stays.
    pub fn keep_imports(&self) -> Result<(), TransferError> {
        if self.imports.is_empty() {
            return Ok(());
        }
        let found = self.found_elsewhere().clone();
        let mut lists = vec![recordable(&self.store, &found)?];
        for import in &self.imports {
            lists.push(import.whole()?);
        }
        let mut lists = lists.iter();
        Ok(lists.try_for_each(|steps| self.store.index().add_steps(steps))?)
    }

    fn found_elsewhere(&self) -> MutexGuard<'_, Vec<(StepKeys, Snapshot)>> {
        let found = self.found_elsewhere.lock();
        found.unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is known of the step of a definition key, by the store or by others; what others say has not
    /// been proved if they are returned, too.
    pub(crate) fn known_step(&self, definition: &Key) -> Result<Option<KnownBy>, IndexError> {
        if let Some(KnownStep { keys, result }) = self.store.index().known_step(definition)?
            && let Ok(snapshot) = Snapshot::decode(&result)
        {
            return Ok(Some(((keys, snapshot), None)));
        }
        let found = self.found_elsewhere();
        let mut found = found
            .iter()
            .filter(|(keys, _)| keys.definition == *definition);
        if let Some(step) = found.next() {
            return Ok(Some((step.clone(), None)));
        }
        let mut known = self.imports.iter().filter_map(|import| {
            Some((import.find(definition)?.clone(), Some(Arc::clone(import))))
        });
        Ok(known.next())
    }

    /// Whether a layer of it is still where somebody else's cache is.
    fn rests_on_imports(&self, snapshot: &Snapshot) -> Result<bool, StepError> {
        for layer in &snapshot.layers {
            let is_imported = self.imports.iter().any(|import| import.has(&layer.diff_id));
            if is_imported && !is_present(&self.store, &layer.diff_id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes in the index which records this build used.
    pub fn save_uses(&self) -> Result<(), IndexError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            Ok(())
        } else {
            self.store.index().touch_records(&used)
        }
    }

    /// What is known under a key and can be had; what others say of it must be true if `must_be_proved`.
    async fn find(&self, key: Key, must_be_proved: bool) -> Result<Option<Snapshot>, StepError> {
        if let Some(snapshot) = self.find_own(&key)?
            && self.is_within_reach(&snapshot)?
        {
            self.used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(key);
            return Ok(Some(snapshot));
        }
        for (index, import) in self.imports.iter().enumerate() {
            if let Some(step) = import.find(&key)
                && self.is_within_reach(&step.1)?
                && (!must_be_proved || import.proves(step, &*self.layer_source).await?)
            {
                let origins = self.origins.lock();
                let mut origins = origins.unwrap_or_else(PoisonError::into_inner);
                origins.insert(key, index);
                return Ok(Some(step.1.clone()));
            }
        }
        Ok(None)
    }

    /// What the index knows. A record of another version of Kiln is no record.
    fn find_own(&self, key: &Key) -> Result<Option<Snapshot>, IndexError> {
        let bytes = self.store.index().record(key)?;
        Ok(bytes.and_then(|bytes| Snapshot::decode(&bytes).ok()))
    }

    fn is_within_reach(&self, snapshot: &Snapshot) -> Result<bool, StepError> {
        for layer in &snapshot.layers {
            if !is_within_reach(&self.store, &*self.layer_source, &layer.diff_id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn output(snapshot: Snapshot) -> Output {
    Output::Snapshot(Arc::new(snapshot))
}

/// Shows a step's log to other builds that wait for it, too.
struct Published {
    inner: Arc<dyn Progress>,
    /// Whoever still reports when the step is done must not keep the claim.
    to: Weak<StepClaim>,
}

impl Progress for Published {
    fn report(&self, event: Event) {
        if let EventKind::Log { bytes, .. } = &event.kind
            && let Some(claim) = self.to.upgrade()
        {
            claim.publish(bytes);
        }
        self.inner.report(event);
    }
}

/// Tells whoever waits what for, so that he knows whom to end: another build may make a step for long without a
/// word.
struct WaitNotice {
    since: Instant,
    /// What was said last.
    said: Option<String>,
}

impl Default for WaitNotice {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            said: None,
        }
    }
}

impl WaitNotice {
    /// Says it once, and again if it becomes another process or one that is stopped.
    fn give(&mut self, step: &ForeignStep, reporter: &StepReporter) {
        if self.since.elapsed() < SAY_AFTER {
            return;
        }
        self.since = Instant::now();
        let who = match step.owner() {
            None => "another build".to_owned(),
            Some(Owner {
                process,
                is_stopped,
            }) => {
                let stopped = if is_stopped { ", which is stopped" } else { "" };
                format!("another build (process {process}{stopped})")
            }
        };
        if self.said.as_ref() != Some(&who) {
            let text = format!("waiting: {who} is making this step\n");
            reporter.log(LogStream::Stderr, text.as_bytes());
            self.said = Some(who);
        }
    }
}

#[async_trait]
impl Cache<Output> for StoreCache {
    async fn look_up(&self, key: Key) -> Result<Option<Output>, StepError> {
        Ok(self.find(key, true).await?.map(output))
    }

    async fn recall(&self, key: Key) -> Result<Option<Output>, StepError> {
        Ok(self.find(key, false).await?.map(output))
    }

    fn origin(&self, key: &Key) -> Option<String> {
        let origins = self.origins.lock();
        let origins = origins.unwrap_or_else(PoisonError::into_inner);
        let import = &self.imports[*origins.get(key)?];
        Some(import.path().display().to_string())
    }

    async fn record(&self, keys: &StepKeys, output: &Output) -> Result<(), StepError> {
        let Output::Snapshot(snapshot) = output else {
            return Ok(());
        };
        // A record names nothing that is not there.
        if self.rests_on_imports(snapshot)? {
            let step = (keys.clone(), Snapshot::clone(snapshot));
            self.found_elsewhere().push(step);
            return Ok(());
        }
        Ok(self.store.index().put_step(keys, &snapshot.encode())?)
    }

    async fn claim(&self, content: Key, reporter: &StepReporter) -> Result<Claim, StepError> {
        let mut foreign: Option<ForeignStep> = None;
        let mut notice = WaitNotice::default();
        loop {
            if let Some(step) = &mut foreign {
                let runs = step.is_running();
                let log = step.read_log()?;
                if !log.is_empty() {
                    reporter.log(LogStream::Stdout, &log);
                }
                if runs {
                    notice.give(step, reporter);
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            }
            match self.store.claim_step(&content)? {
                Attempt::Taken(step) => foreign = Some(step),
                Attempt::Claimed(claim) => {
                    let claim = Arc::new(claim);
                    let published = Arc::downgrade(&claim);
                    return Ok(Claim {
                        reporter: reporter.watched_by(|inner| {
                            Arc::new(Published {
                                inner,
                                to: published,
                            })
                        }),
                        guard: Box::new(claim),
                    });
                }
            }
        }
    }

    async fn similar(&self, keys: &StepKeys) -> Result<Vec<Earlier>, StepError> {
        let mut similar = self.store.index().similar_steps(keys)?;
        for import in &self.imports {
            similar.extend(import.similar(keys).take(SIMILAR));
        }
        Ok(similar)
    }
}
