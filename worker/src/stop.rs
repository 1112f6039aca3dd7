//! A way to end work that runs on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says whether work should go on. All clones say the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// Stops the work when dropped: when whoever waits for it does not any more.
pub(crate) struct StopOnDrop(pub(crate) Stop);

impl Stop {
    /// The work should end soon.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error once the work should end. Not `Interrupted`, after which much code tries again.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            Err(io::Error::other("canceled"))
        } else {
            Ok(())
        }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
