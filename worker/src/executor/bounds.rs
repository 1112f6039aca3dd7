//! What a step may write: to disk and as its log. One that goes beyond it is ended.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kiln_solver::Exceeded;
use tokio::sync::Notify;

use crate::gc::measure;

/// The most that each step may write; nothing is no bound. It changes no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepBounds {
    /// Bytes of the disk that its changes take.
    pub disk: Option<u64>,
    /// Bytes of output.
    pub log: Option<u64>,
}

/// How long after a look at what a step has written the next one is taken at least.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many times longer than a look the time between two looks is.
const IDLE_SHARE: u32 = 10;

/// Watches one step.
pub(super) struct Watch {
    bounds: StepBounds,
    logged: AtomicU64,
    log_is_full: Notify,
    exceeded: OnceLock<Exceeded>,
}

impl Watch {
    pub(super) fn new(bounds: StepBounds) -> Self {
        Self {
            bounds,
            logged: AtomicU64::new(0),
            log_is_full: Notify::new(),
            exceeded: OnceLock::new(),
        }
    }

    /// Counts output, and returns how much of it is still to be shown.
    pub(super) fn log(&self, bytes: usize) -> usize {
        let Some(most) = self.bounds.log else {
            return bytes;
        };
        let before = self.logged.fetch_add(bytes as u64, Ordering::Relaxed);
        let left = usize::try_from(most.saturating_sub(before)).unwrap_or(usize::MAX);
        if left < bytes {
            self.log_is_full.notify_one();
        }
        bytes.min(left)
    }

    /// Ready once the step must end: it has logged too much, or what is in `changes` takes too much room.
    pub(super) async fn until_exceeded(&self, changes: &Path) {
        let exceeded = tokio::select! {
            () = self.log_is_full.notified() => Exceeded::Log(self.bounds.log.unwrap_or_default()),
            most = self.until_disk_exceeded(changes) => Exceeded::Disk(most),
        };
        // There is only one who sets it.
        let _ = self.exceeded.set(exceeded);
    }

    async fn until_disk_exceeded(&self, changes: &Path) -> u64 {
        let Some(most) = self.bounds.disk else {
            return std::future::pending().await;
        };
        loop {
            let (path, began) = (changes.to_owned(), Instant::now());
            // What cannot be looked at is not counted; the step goes on meanwhile.
            let taken = tokio::task::spawn_blocking(move || measure(&path)).await;
            if let Ok(Ok(taken)) = taken
                && taken > most
            {
                return most;
            }
            tokio::time::sleep(INTERVAL.max(began.elapsed() * IDLE_SHARE)).await;
        }
    }

    /// Why the step was ended, if it was.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get().copied()
    }
}
