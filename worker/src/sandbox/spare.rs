//! A helper that waits for the next step, with the enclosure that it will most likely want: what costs most of
//! the time of a short step is done while the one before runs.

use std::fmt::{self, Debug};
use std::io;
use std::sync::{Mutex, MutexGuard};

use super::enclosure::Enclosure;
use super::step::Step;

/// At most one helper in waiting. Dropping it ends that.
#[derive(Default)]
pub(super) struct Spare(Mutex<Option<(Enclosure, Step)>>);

impl Spare {
    /// The helper in waiting, if there is one with just this enclosure.
    pub(super) fn take(&self, enclosure: &Enclosure) -> Option<Step> {
        let (_, mut step) = self.slot().take_if(|(made, _)| made == enclosure)?;
        // One that could not make the enclosure has ended; another try says why.
        step.is_alive().then_some(step)
    }

    /// Starts a helper to wait, unless one does.
    pub(super) fn fill(&self, enclosure: &Enclosure, start: impl FnOnce() -> io::Result<Step>) {
        let mut slot = self.slot();
        if slot.as_ref().is_none_or(|(made, _)| made != enclosure) {
            // Where none can be started now, the next step will say so if it cannot either.
            *slot = start().ok().map(|step| (enclosure.clone(), step));
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Enclosure, Step)>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot();
        f.debug_tuple("Spare")
            .field(&slot.as_ref().map(|(enclosure, _)| enclosure))
            .finish()
    }
}
