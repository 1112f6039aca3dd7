//! The lock of a cache mount.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::io_error::{AtPath, IoError, is_not_found};

/// How a cache is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Beside others who hold it so.
    Shared,
    /// Alone.
    Exclusive,
}

/// What happens if somebody else holds it already.
#[derive(Clone, Copy)]
pub(crate) enum WhenHeld<'w> {
    /// Then not.
    GiveUp,
    /// It is waited for, and this is called before.
    Wait(&'w dyn Fn()),
}

/// Holds the cache whose directory is `home` until the file is closed. `None` if others hold it, or if
/// the directory is not there.
pub(crate) fn hold(home: &Path, how: Hold, when: WhenHeld<'_>) -> Result<Option<File>, IoError> {
    let (at_once, waiting) = match how {
        Hold::Shared => (
            FlockOperation::NonBlockingLockShared,
            FlockOperation::LockShared,
        ),
        Hold::Exclusive => (
            FlockOperation::NonBlockingLockExclusive,
            FlockOperation::LockExclusive,
        ),
    };
    let path = home.join("lock");
    loop {
        let file = match open(&path) {
            Err(error) if is_not_found(&error) => return Ok(None),
            file => file?,
        };
        match (rustix::fs::flock(&file, at_once), &when) {
            (Err(Errno::WOULDBLOCK), WhenHeld::GiveUp) => return Ok(None),
            (Err(Errno::WOULDBLOCK), WhenHeld::Wait(tell)) => {
                tell();
                rustix::fs::flock(&file, waiting).at("lock", &path)?;
            }
            (result, _) => result.at("lock", &path)?,
        }
        if is_still_there(&file, &path) {
            return Ok(Some(file));
        }
    }
}

fn open(path: &Path) -> Result<File, IoError> {
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    options.open(path).at("open", path)
}

/// Lets the lock's time say when the cache was last used: a prune goes by it.
pub(crate) fn note_use(lock: &File) -> rustix::io::Result<()> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::futimens(lock, &times)
}

/// Whoever removed the cache while we waited has left us the lock of nothing.
fn is_still_there(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
