//! The store: everything that outlives a build, named by its hash.
//!
//! ```text
//! ROOT/version              the layout's version
//! ROOT/lock                 shared by builds, exclusive for prune
//! ROOT/index.db             SQLite: cache records, images, which blobs hold which layer
//! ROOT/blobs/sha256/HEX     manifests, configs, layers as they travel, layers as plain tars
//! ROOT/layers/HEX/tree      what the layer of that diff id holds; its presence says that it is whole
//! ROOT/layers/HEX/fs*       its files, as a lower directory for overlayfs
//! ROOT/contexts/HEX         what is known of a context's files (see [`crate::context`])
//! ROOT/builds/TIME-ID       the record of a build; its `record.jsonl` is locked while it runs
//! ROOT/cache-mounts/HEX     directories of `RUN --mount=type=cache`
//! ROOT/running/HEX         the step of that content key while it runs: locked, with its log
//! ROOT/tmp/NAME             work in progress, removed once its process is gone
//! ```
//!
//! Any number of processes share a store, and any may be killed at any instant: things are written
//! under `tmp`, renamed to their place, and named by a record last.

mod blobs;
mod claims;
mod index;
mod layers;
mod scratch;
mod steps;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

pub use blobs::{BlobError, BlobWriter, sha256};
pub use claims::{Attempt, ForeignStep, StepClaim};
pub use index::{ImageRecord, Index, IndexError, LayerBlob};
pub use layers::{LayerError, Layers};
pub use scratch::Scratch;
pub(crate) use scratch::random;

use crate::io_error::{AtPath, IoError};

/// The version of the layout described in this module.
const VERSION: &str = "1\n";

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of it could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Its index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Another version of Kiln wrote it.
    #[error("the store at {} has layout version {found}, and this Kiln knows version 1 only; choose another with --root", path.display())]
    Version {
        /// The store's root.
        path: PathBuf,
        /// What its `version` file says.
        found: String,
    },
    /// A blob could not be used.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer could not be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// An open store. Cheap to clone; all clones share one scratch directory and one connection.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    index: Index,
    layers: Layers,
    scratch: Scratch,
    /// Held, shared, for as long as the store is open: prune waits for it.
    _lease: File,
}

impl Store {
    /// Opens the store at `root`, or makes one there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = prepare(root)?;
        let lease = lock(&root, FlockOperation::LockShared)?;
        Self::assemble(root, lease)
    }

    /// Opens the store at `root` with nobody else in it, so that things can be removed. While builds
    /// run, it calls `on_busy` once and waits for them.
    pub fn open_exclusively(root: &Path, on_busy: impl FnOnce()) -> Result<Self, StoreError> {
        let root = prepare(root)?;
        let lease = match lock(&root, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.source.kind() == std::io::ErrorKind::WouldBlock => {
                on_busy();
                lock(&root, FlockOperation::LockExclusive)?
            }
            result => result?,
        };
        Self::assemble(root, lease)
    }

    fn assemble(root: PathBuf, lease: File) -> Result<Self, StoreError> {
        let scratch = Scratch::create(&root.join("tmp"))?;
        let index = Index::open(&root.join("index.db"), &scratch.new_path())?;
        let layers = Layers::new(&root, scratch.path());
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                index,
                layers,
                scratch,
                _lease: lease,
            }),
        })
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Records of what is where.
    pub fn index(&self) -> &Index {
        &self.inner.index
    }

    /// Layers as trees and directories.
    pub fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    /// A place for work in progress, on the same file system.
    pub fn scratch(&self) -> &Scratch {
        &self.inner.scratch
    }

    /// The directory of one kind of thing, made if need be.
    pub fn directory(&self, name: &str) -> Result<PathBuf, IoError> {
        let path = self.inner.root.join(name);
        fs::create_dir_all(&path).at("create", &path)?;
        Ok(path)
    }
}

/// Makes the root directory and checks its version.
fn prepare(root: &Path) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(root).at("create the store", root)?;
    let root = root.canonicalize().at("resolve", root)?;
    let version = root.join("version");
    match fs::read_to_string(&version) {
        Ok(found) if found == VERSION => {}
        Ok(found) => {
            return Err(StoreError::Version {
                path: root,
                found: found.trim().to_owned(),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::os::unix::fs::PermissionsExt;
            // What images hold must not be within reach of other users: setuid programs, say.
            fs::set_permissions(&root, fs::Permissions::from_mode(0o700))
                .at("set permissions of", &root)?;
            for directory in ["blobs/sha256", "layers", "tmp"] {
                let path = root.join(directory);
                fs::create_dir_all(&path).at("create", &path)?;
            }
            write_new(&version, VERSION.as_bytes())?;
        }
        Err(error) => Err(error).at("read", &version)?,
    }
    Ok(root)
}

/// Writes a small file whole or not at all; several processes may do so at once.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let name = format!(".new-{}-{:x}", std::process::id(), scratch::random());
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written.at("write", path)
}

fn lock(root: &Path, operation: FlockOperation) -> Result<File, IoError> {
    let path = root.join("lock");
    let mut options = File::options();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .at("open", &path)?;
    rustix::fs::flock(&file, operation).at("lock", &path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_make_the_same_store_at_once() {
        for _ in 0..30 {
            let parent = tempfile::tempdir().expect("a temporary directory");
            let root = parent.path().join("store");
            let together = std::sync::Barrier::new(8);
            let open = || {
                together.wait();
                Store::open(&root)
                    .expect("a store")
                    .scratch()
                    .path()
                    .exists()
            };
            std::thread::scope(|scope| {
                let opened: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                assert!(opened.into_iter().all(|one| one.join().expect("no panic")));
            });
            let left: Vec<_> = fs::read_dir(root.join("tmp"))
                .expect("a directory")
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
