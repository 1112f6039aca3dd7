//! Leases: what a process has found in a store or put there stays until the process ends.
//!
//! Each process appends the names of what it uses to the lock file of its scratch directory, and the
//! kernel lets go of that lock when the process dies, however it dies: a lease needs no one to end
//! it. A prune marks what images, records and leases need and moves everything else out of the way;
//! from its first look at the leases to its last rename it holds `ROOT/lock` exclusively, and a name
//! is appended under the same lock, held shared. So each lease is either seen by a prune, or comes
//! after its last rename; and since all that tells whether something is there takes the lease first,
//! the answer stays true for as long as the process lives:
//!
//! - A build that looks up a record leases its layers one by one. A prune in between takes the
//!   layers that are not leased yet: then the build finds one of them missing, and that is a miss.
//! - A layer or blob in the making lies in the scratch directory, which no prune looks into, and is
//!   leased before it is moved to its place.
//! - A pull leases the blob, then the layer, before it notes in the index that one holds the other.
//! - An exporter reads only what its build leased, and its documents are leased before an image's
//!   name comes to stand for them.
//! - A cache mount is leased before it is made or locked.
//! - A record is only as good as its layers: whoever writes one has leased them. A prune that lets a
//!   layer go forgets the records that name it before, so that a prune killed half way leaves bytes
//!   that nobody needs, and never a record without its layers.
//!
//! The lock is held for as long as it takes to append a line, or to mark and rename: nobody waits
//! for a build, nor for bytes to be removed. It is the kernel's, so no death leaves it locked.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

use super::scratch;
use crate::io_error::{AtPath, IoError};

/// What this process uses.
pub(super) struct Leases {
    gate: PathBuf,
    state: Mutex<State>,
}

struct State {
    gate: File,
    /// The lock file of the scratch directory, one name a line.
    file: File,
    held: HashSet<String>,
}

impl Leases {
    /// Leases that are written to `file`, which others take as void once it is not locked.
    pub(super) fn new(root: &Path, file: File) -> Result<Self, IoError> {
        let gate = root.join("lock");
        let state = State {
            gate: open_gate(&gate)?,
            file,
            held: HashSet::new(),
        };
        Ok(Self {
            gate,
            state: Mutex::new(state),
        })
    }

    /// Sees to it that what is called so, a path below the root, is not removed by anyone.
    pub(super) fn take(&self, name: String) -> Result<(), IoError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.held.contains(&name) {
            return Ok(());
        }
        rustix::fs::flock(&state.gate, FlockOperation::LockShared).at("lock", &self.gate)?;
        let written = state.file.write_all(format!("{name}\n").as_bytes());
        let unlocked = rustix::fs::flock(&state.gate, FlockOperation::Unlock);
        written.at("write a lease beside", &self.gate)?;
        unlocked.at("unlock", &self.gate)?;
        state.held.insert(name);
        Ok(())
    }
}

/// Nobody takes a lease while this lives.
pub struct Gate(#[expect(dead_code, reason = "its lock counts")] File);

impl Gate {
    /// Waits for those who are taking a lease, and for another prune that marks.
    pub(super) fn close(root: &Path) -> Result<Self, IoError> {
        let path = root.join("lock");
        let file = open_gate(&path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(Self(file))
    }
}

fn open_gate(path: &Path) -> Result<File, IoError> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(path);
    file.at("open", path)
}

/// A process that uses the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub process: u32,
    /// What it leased, as paths below the store's root.
    pub names: BTreeSet<String>,
}

/// The processes below `scratches` that live, except the one whose scratch directory is `own`.
pub(super) fn tenants(scratches: &Path, own: &Path) -> Result<Vec<Tenant>, IoError> {
    let mut tenants = Vec::new();
    for entry in fs::read_dir(scratches).at("list", scratches)? {
        let path = entry.at("list", scratches)?.path();
        let Some(process) = path.file_name().and_then(scratch::maker) else {
            continue;
        };
        if path == own {
            continue;
        }
        let lock = path.join("lock");
        let file = match File::open(&lock) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.at("open", &lock)?,
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            // Whoever had it is dead, or has no lease yet.
            continue;
        }
        let text = std::io::read_to_string(file).at("read", &lock)?;
        tenants.push(Tenant {
            process,
            names: text.lines().map(str::to_owned).collect(),
        });
    }
    tenants.sort_by_key(|tenant| tenant.process);
    Ok(tenants)
}
