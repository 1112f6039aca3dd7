//! The solver's cache, on the store's index.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kiln_solver::{
    Cache, Claim, Earlier, Event, EventKind, Graph, Key, LogStream, Progress, StepError, StepKeys,
    StepReporter, VertexId,
};

use crate::cache_transfer::{Beliefs, StepImport, TransferError};
use crate::executor::{LayerSource, Output, is_present, is_within_reach};
use crate::snapshot::Snapshot;
use crate::store::{
    AskedForBy, Attempt, ForeignStep, IndexError, KnownStep, Owner, Recorded, StepClaim, Store,
};

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
    /// What they may say of the steps of this build.
    beliefs: OnceLock<Beliefs>,
    /// Where what was found under a key is from, if from them, now or in an earlier build.
    origins: Mutex<HashMap<Key, String>>,
    /// What rests on them, and is recorded once it has come whole.
    found_elsewhere: Mutex<Vec<(KnownStep, Snapshot)>>,
    used: Mutex<Vec<Key>>,
}

impl StoreCache {
    /// A cache whose records count as long as their layers are in the store or can be brought there.
    pub fn new(store: Store, layer_source: Arc<dyn LayerSource>) -> Self {
        Self {
            store,
            layer_source,
            imports: Vec::new(),
            beliefs: OnceLock::new(),
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

    /// Records in the index what this build used of what others knew, and of which the store has all layers
    /// by now, each under the keys that this build computed. What is recorded already stays.
    pub fn keep_imports(&self) -> Result<(), TransferError> {
        let found = std::mem::take(&mut *self.found_elsewhere());
        let mut whole = Vec::new();
        for (step, snapshot) in found {
            let mut is_whole = true;
            for layer in &snapshot.layers {
                is_whole &= is_present(&self.store, &layer.diff_id)?;
            }
            if is_whole {
                whole.push(step);
            }
        }
        match whole.is_empty() {
            true => Ok(()),
            false => Ok(self.store.index().add_steps(&whole)?),
        }
    }

    fn found_elsewhere(&self) -> MutexGuard<'_, Vec<(KnownStep, Snapshot)>> {
        let found = self.found_elsewhere.lock();
        found.unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is known of the step of a definition key, by the store or by others; what others say has not
    /// been proved if they are returned, too.
    pub(crate) fn known_step(&self, definition: &Key) -> Result<Option<KnownBy>, IndexError> {
        if let Some(KnownStep { keys, result, .. }) = self.store.index().known_step(definition)?
            && let Ok(snapshot) = Snapshot::decode(&result)
        {
            return Ok(Some(((keys, snapshot), None)));
        }
        let found = self.found_elsewhere();
        let mut found = found
            .iter()
            .filter(|(step, _)| step.keys.definition == *definition);
        if let Some((step, snapshot)) = found.next() {
            return Ok(Some(((step.keys.clone(), snapshot.clone()), None)));
        }
        let mut known = self.imports.iter().filter_map(|import| {
            let step = import.find(definition)?;
            let is_allowed = self.allow(definition, &step.1);
            is_allowed.then(|| (step, Some(Arc::clone(import))))
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

    /// What is known under a key of a step and can be had; what others say of it must be true.
    async fn find(&self, step: Key, key: Key) -> Result<Option<Snapshot>, StepError> {
        if let Some((snapshot, origin)) = self.find_own(&key)?
            && self.is_within_reach(&snapshot)?
        {
            self.used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(key);
            if let Some(origin) = origin {
                self.origins().insert(key, origin);
            }
            return Ok(Some(snapshot));
        }
        for import in &self.imports {
            if let Some(found) = import.find(&key)
                && self.allow(&step, &found.1)
                && self.is_within_reach(&found.1)?
                && import.proves(&found, &*self.layer_source).await?
            {
                let origin = import.path().display().to_string();
                self.origins().insert(key, origin.clone());
                let (keys, snapshot) = found;
                if key == step {
                    // Under its content key, it stands only where that was asked for: see `record`.
                    let step = known(&keys, &snapshot, Some(origin), AskedForBy::Definition);
                    self.found_elsewhere().push((step, snapshot.clone()));
                }
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    /// Whether others may say this of a step.
    fn allow(&self, step: &Key, result: &Snapshot) -> bool {
        let beliefs = self.beliefs.get();
        beliefs.is_some_and(|beliefs| beliefs.allow(step, result))
    }

    fn yields(&self, step: &Key, result: &Snapshot) {
        if let Some(beliefs) = self.beliefs.get() {
            beliefs.yields(step, result);
        }
    }

    /// What will be used of a step, as far as nothing has to be proved for that.
    fn presume(&self, beliefs: &Beliefs, step: &Key) -> Option<Snapshot> {
        let is_within_reach = |snapshot: &Snapshot| self.is_within_reach(snapshot).unwrap_or(false);
        if let Some((snapshot, _)) = self.find_own(step).ok()?
            && is_within_reach(&snapshot)
        {
            return Some(snapshot);
        }
        let mut found = self.imports.iter().filter_map(|import| import.find(step));
        let (_, snapshot) = found
            .find(|(_, snapshot)| beliefs.allow(step, snapshot) && is_within_reach(snapshot))?;
        Some(snapshot)
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the index knows, and where that is from. A record of another version of Kiln is no record.
    fn find_own(&self, key: &Key) -> Result<Option<(Snapshot, Option<String>)>, IndexError> {
        let Some(Recorded { result, origin }) = self.store.index().recorded(key)? else {
            return Ok(None);
        };
        let snapshot = Snapshot::decode(&result).ok();
        Ok(snapshot.map(|snapshot| (snapshot, origin)))
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

fn known(
    keys: &StepKeys,
    snapshot: &Snapshot,
    origin: Option<String>,
    asked_for_by: AskedForBy,
) -> KnownStep {
    KnownStep {
        keys: keys.clone(),
        result: snapshot.encode(),
        origin,
        asked_for_by,
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
    fn expect(&self, graph: &Graph, needed: &[VertexId], definitions: &[Option<Key>]) {
        if self.imports.is_empty() {
            return;
        }
        let find = |beliefs: &Beliefs, step: &Key| self.presume(beliefs, step);
        let beliefs = Beliefs::of(graph, needed, definitions, &find);
        // A cache belongs to one build.
        let _ = self.beliefs.set(beliefs);
    }

    async fn look_up(&self, step: Key, key: Key) -> Result<Option<Output>, StepError> {
        let found = self.find(step, key).await?;
        if let Some(snapshot) = &found {
            self.yields(&step, snapshot);
        }
        Ok(found.map(output))
    }

    async fn recall(&self, key: Key) -> Result<Option<Output>, StepError> {
        let own = self.find_own(&key)?.map(|(snapshot, _)| snapshot);
        let others = self.imports.iter().filter_map(|import| import.find(&key));
        for snapshot in own.into_iter().chain(others.map(|(_, snapshot)| snapshot)) {
            if self.is_within_reach(&snapshot)? {
                return Ok(Some(output(snapshot)));
            }
        }
        Ok(None)
    }

    fn origin(&self, key: &Key) -> Option<String> {
        self.origins().get(key).cloned()
    }

    async fn record(&self, keys: &StepKeys, output: &Output) -> Result<(), StepError> {
        let Output::Snapshot(snapshot) = output else {
            return Ok(());
        };
        self.yields(&keys.definition, snapshot);
        let origin = self.origin(&keys.content);
        // A record names nothing that is not there.
        if self.rests_on_imports(snapshot)? {
            let step = known(keys, snapshot, origin, AskedForBy::BothKeys);
            self.found_elsewhere()
                .push((step, Snapshot::clone(snapshot)));
            return Ok(());
        }
        let (index, result) = (self.store.index(), snapshot.encode());
        Ok(index.put_step_of(keys, &result, origin.as_deref())?)
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
