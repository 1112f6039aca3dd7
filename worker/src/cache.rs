//! The solver's cache, on the store's index.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use kiln_solver::{
    Cache, Claim, Earlier, Event, EventKind, Key, LogStream, Progress, StepError, StepKeys,
    StepReporter,
};

use crate::executor::{LayerSource, Output, is_within_reach};
use crate::snapshot::Snapshot;
use crate::store::{Attempt, ForeignStep, IndexError, StepClaim, Store};

/// How often a step that another build runs is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Remembers snapshots under keys.
pub struct StoreCache {
    store: Store,
    layer_source: Arc<dyn LayerSource>,
    used: Mutex<Vec<Key>>,
}

impl StoreCache {
    /// A cache whose records count as long as their layers are in the store or can be brought there.
    pub fn new(store: Store, layer_source: Arc<dyn LayerSource>) -> Self {
        Self {
            store,
            layer_source,
            used: Mutex::default(),
        }
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

    fn find(&self, key: Key) -> Result<Option<Snapshot>, StepError> {
        let Some(bytes) = self.store.index().record(&key)? else {
            return Ok(None);
        };
        // A record of another version of Kiln is no record.
        let Ok(snapshot) = Snapshot::decode(&bytes) else {
            return Ok(None);
        };
        for layer in &snapshot.layers {
            if !is_within_reach(&self.store, &*self.layer_source, &layer.diff_id)? {
                return Ok(None);
            }
        }
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(key);
        Ok(Some(snapshot))
    }
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

#[async_trait]
impl Cache<Output> for StoreCache {
    async fn look_up(&self, key: Key) -> Result<Option<Output>, StepError> {
        Ok(self
            .find(key)?
            .map(|snapshot| Output::Snapshot(Arc::new(snapshot))))
    }

    async fn record(&self, keys: &StepKeys, output: &Output) -> Result<(), StepError> {
        let Output::Snapshot(snapshot) = output else {
            return Ok(());
        };
        Ok(self.store.index().put_step(keys, &snapshot.encode())?)
    }

    async fn claim(&self, content: Key, reporter: &StepReporter) -> Result<Claim, StepError> {
        let mut foreign: Option<ForeignStep> = None;
        loop {
            if let Some(step) = &mut foreign {
                let runs = step.is_running();
                let log = step.read_log()?;
                if !log.is_empty() {
                    reporter.log(LogStream::Stdout, &log);
                }
                if runs {
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
        Ok(self.store.index().similar_steps(keys)?)
    }
}
