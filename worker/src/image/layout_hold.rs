//! Who reads a layout in a directory keeps its blobs there: Kiln removes what no entry of an index names only
//! where nobody reads. Other programs know nothing of it, and remove nothing.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Holds the blobs of a layout, as long as it lives.
#[derive(Debug)]
pub(crate) struct LayoutHold(File);

/// That nobody else holds them, as long as it lives.
pub(crate) struct Alone<'h>(&'h LayoutHold);

impl LayoutHold {
    /// Before anything of the layout is read. `None` if it has no blobs, or if its file system knows no locks.
    pub(crate) fn new(layout: &Path) -> Option<Self> {
        let file = File::open(layout.join("blobs")).ok()?;
        flock(&file, FlockOperation::LockShared).ok()?;
        Some(Self(file))
    }

    /// Lets go for a while, so that another hold of this process may be the only one.
    pub(crate) fn rest(&self) -> Resting<'_> {
        // Where that fails, nobody is alone.
        let _ = flock(&self.0, FlockOperation::Unlock);
        Resting(self)
    }

    /// Whether nobody else holds the blobs.
    pub(crate) fn alone(&self) -> Option<Alone<'_>> {
        let alone = flock(&self.0, FlockOperation::NonBlockingLockExclusive);
        // What was held is let go of even if that fails.
        let alone_or_held = Alone(self);
        alone.is_ok().then_some(alone_or_held)
    }
}

/// A hold that does not hold; it does again when this is dropped.
pub(crate) struct Resting<'h>(&'h LayoutHold);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        let _ = flock(&self.0.0, FlockOperation::LockShared);
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // Without it, somebody else may remove what is not needed any more.
        let _ = flock(&self.0.0, FlockOperation::LockShared);
    }
}
