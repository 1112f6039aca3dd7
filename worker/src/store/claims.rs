//! Which process runs which step: a file for each step under way, locked by whoever runs it. It holds the
//! number of that process, in [`HEADER`] bytes, and what the step's command has written so far.
//!
//! The kernel lets go of the lock when its process dies, so nobody waits for the dead. The file goes
//! with the claim; whoever waited sees by its link count that it opened one that is gone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use kiln_solver::Key;
use rustix::fs::FlockOperation;

use super::Store;
use crate::io_error::{AtPath, IoError};

/// How many bytes of a claim's file say which process runs the step: its number in decimal digits, filled with
/// spaces.
const HEADER: usize = 16;

/// A step that this process may run. Dropping it gives it up.
pub struct StepClaim {
    path: PathBuf,
    file: File,
}

/// A step that is run elsewhere, in another process or another build of this one.
pub struct ForeignStep {
    file: File,
    read: u64,
}

/// Whoever runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub process: u32,
    /// Whether it does nothing until somebody lets it go on: SIGSTOP, Ctrl-Z, a debugger.
    pub is_stopped: bool,
}

/// What came of an attempt to claim a step.
pub enum Attempt {
    /// Nobody else runs it.
    Claimed(StepClaim),
    /// Somebody does.
    Taken(ForeignStep),
}

impl Store {
    /// Claims the step of a content key, unless somebody runs it.
    pub fn claim_step(&self, key: &Key) -> Result<Attempt, IoError> {
        let path = self.directory("running")?.join(key.hex());
        loop {
            let mut options = File::options();
            let options = options.create(true).truncate(false).read(true).write(true);
            let file = options.open(&path).at("open", &path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => {
                    // Its last owner may have died.
                    file.set_len(0).at("truncate", &path)?;
                    // Those who wait do not learn whom for, if the disk is full.
                    let _ = (&file).write_all(header().as_bytes());
                    return Ok(Attempt::Claimed(StepClaim { path, file }));
                }
                // Its owner was done between the two calls.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Ok(Attempt::Taken(ForeignStep {
                        file,
                        read: HEADER as u64,
                    }));
                }
                Err(errno) => return Err(io::Error::from(errno)).at("lock", &path),
            }
        }
    }
}

impl Store {
    /// Removes what is left of the steps of processes that died.
    pub(crate) fn sweep_claims(&self) -> Result<(), IoError> {
        let directory = self.root().join("running");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.at("list", &directory)?,
        };
        for entry in entries {
            let path = entry.at("list", &directory)?.path();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            // Whoever opened it meanwhile sees that it is gone.
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && is_at(&file, &path)
            {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}

fn header() -> String {
    format!("{:<HEADER$}", std::process::id())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

impl StepClaim {
    /// Lets those who wait see what the step's command wrote.
    pub fn publish(&self, bytes: &[u8]) {
        // Those who wait see less, if the disk is full, and the result all the same.
        let _ = (&self.file).write_all(bytes);
    }
}

impl Drop for StepClaim {
    fn drop(&mut self) {
        // Before the lock is gone, so that nobody removes another's.
        let _ = fs::remove_file(&self.path);
    }
}

impl ForeignStep {
    /// Whether it is still run.
    pub fn is_running(&self) -> bool {
        if rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockShared).is_err() {
            return true;
        }
        // Whoever died has left the file, which nobody could claim while others hold the lock.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        false
    }

    /// The process that runs it, as this one knows it: whoever waits may want to end it. `None` if it cannot
    /// be told, as across containers, and if it is this process.
    pub fn owner(&self) -> Option<Owner> {
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, 0).ok()?;
        let process: u32 = std::str::from_utf8(&header).ok()?.trim().parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before the state may have anything in it (proc(5)).
        let (_, state) = status.rsplit_once(") ")?;
        (process != std::process::id()).then(|| Owner {
            process,
            is_stopped: state.starts_with(['T', 't']),
        })
    }

    /// What its command has written since the last call.
    pub fn read_log(&mut self) -> io::Result<Vec<u8>> {
        let mut log = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.file.read_at(&mut buffer, self.read)? {
                0 => return Ok(log),
                length => {
                    log.extend_from_slice(&buffer[..length]);
                    self.read += length as u64;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        (directory, store)
    }

    fn claimed(store: &Store) -> Option<StepClaim> {
        match store.claim_step(&Key::new([1; 32])).expect("writable") {
            Attempt::Claimed(claim) => Some(claim),
            Attempt::Taken(_) => None,
        }
    }

    #[test]
    fn a_step_has_one_owner_and_others_see_its_log() {
        let (_directory, store) = store();
        let claim = claimed(&store).expect("nobody runs it");
        claim.publish(b"one\n");
        let Attempt::Taken(mut foreign) = store.claim_step(&Key::new([1; 32])).expect("writable")
        else {
            panic!("two own it");
        };
        assert!(foreign.is_running());
        assert_eq!(foreign.read_log().expect("readable"), b"one\n");
        claim.publish(b"two\n");
        drop(claim);
        assert!(!foreign.is_running());
        assert_eq!(foreign.read_log().expect("readable"), b"two\n");
        assert!(claimed(&store).is_some());
        let left = fs::read_dir(store.root().join("running")).expect("a directory");
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn the_step_of_one_that_died_is_claimed_by_one_that_waited() {
        let (_directory, store) = store();
        let path = store.directory("running").expect("writable");
        let path = path.join(Key::new([1; 32]).hex());
        let owner = File::create(&path).expect("writable");
        rustix::fs::flock(&owner, FlockOperation::LockExclusive).expect("nobody else has it");
        let wait = || match store.claim_step(&Key::new([1; 32])).expect("writable") {
            Attempt::Taken(foreign) => foreign,
            Attempt::Claimed(_) => panic!("two own it"),
        };
        let waiting = [wait(), wait()];
        assert!(waiting.iter().all(ForeignStep::is_running));
        drop(owner);
        assert!(!waiting.iter().any(ForeignStep::is_running));
        assert!(claimed(&store).is_some());
    }

    #[test]
    fn of_many_that_want_it_at_once_one_has_it_at_a_time() {
        let (_directory, store) = store();
        let owners = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            let mut had = 0;
            while had < 50 {
                let Some(claim) = claimed(&store) else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!(owners.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                std::thread::yield_now();
                owners.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(claim);
                had += 1;
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    }

    #[test]
    fn the_dead_own_nothing() {
        let (_directory, store) = store();
        let left = store.directory("running").expect("writable");
        let left = left.join(Key::new([1; 32]).hex());
        fs::write(&left, "half a log").expect("writable");
        let other = match store.claim_step(&Key::new([2; 32])).expect("writable") {
            Attempt::Claimed(other) => other,
            Attempt::Taken(_) => panic!("nobody runs it"),
        };
        store.sweep_claims().expect("writable");
        assert!(other.path.exists() && !left.exists());
        drop(other);
        fs::write(&left, "half a log").expect("writable");
        assert!(claimed(&store).is_some());
        assert!(!left.exists());
    }
}
