//! The store: everything that outlives a build, named by its hash.
//!
//! ```text
//! ROOT/version              the layout's version
//! ROOT/lock                 held for a moment: shared to lease, exclusively to prune (see `lease`)
//! ROOT/index.db             SQLite: cache records, images, which blobs hold which layer
//! ROOT/blobs/sha256/HEX     manifests, configs, layers as they travel, layers as plain tars
//! ROOT/layers/HEX/tree      what the layer of that diff id holds; its presence says that it is whole
//! ROOT/layers/HEX/fs*       its files, as a lower directory for overlayfs
//! ROOT/contexts/HEX         what is known of a context's files (see [`crate::context`])
//! ROOT/addresses/HEX        what is known of a file behind an address (see [`crate::source`])
//! ROOT/git/HEX              a mirror of a repository (see [`crate::source`])
//! ROOT/known_hosts          keys of ssh servers that repositories were fetched from
//! ROOT/builds/TIME-ID       the record of a build; its `record.jsonl` is locked while it runs
//! ROOT/cache-mounts/HEX     directories of `RUN --mount=type=cache`
//! ROOT/running/HEX         the step of that content key while it runs: locked, with its log
//! ROOT/tmp/NAME             work in progress, removed once its process is gone
//! ROOT/tmp/NAME/lock        what that process uses, locked while it lives
//! ```
//!
//! Any number of processes share a store, and any may be killed at any instant: things are written
//! under `tmp`, renamed to their place, and named by a record last.

mod blobs;
mod claims;
mod disk;
mod index;
mod layers;
mod lease;
mod salvage;
mod schema;
mod scratch;
mod steps;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blobs::{BlobError, BlobWriter, sha256, sha256_of};
pub use claims::{Attempt, ForeignStep, Owner, StepClaim};
pub use disk::{Disk, DiskFile};
pub use index::{ImageRecord, Index, IndexError, LayerBlob, Recorded, StoredRecord};
pub use layers::{LayerError, Layers};
pub use lease::{Gate, Tenant};
pub use salvage::{Salvaged, salvage};
pub use scratch::Scratch;
pub(crate) use scratch::{random, remove_tree};
pub use steps::{AskedForBy, KnownStep};

use kiln_solver::DiffId;

use crate::io_error::{AtPath, IoError};
use disk::RealDisk;
use lease::Leases;

/// The version of the layout described in this module.
const VERSION: &str = "1\n";

/// What the names of files begin with that are written before there is a scratch directory.
const UNFINISHED: &str = ".new-";

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
    /// What is there is something else.
    #[error("{} is no store of Kiln's: {} is in it, and there is no file `version`; choose an empty directory, or one that does not exist yet", path.display(), found.to_string_lossy())]
    NotAStore {
        /// What was given as the store's root.
        path: PathBuf,
        /// A name in it.
        found: OsString,
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
    scratch: Arc<Scratch>,
    leases: Arc<Leases>,
}

impl StoreError {
    /// Whether the database of the index is damaged, so that it should be salvaged.
    pub fn is_damaged_index(&self) -> bool {
        matches!(self, Self::Index(error) if error.is_damaged())
    }
}

impl Store {
    /// Opens the store at `root`, or makes one there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_on(root, Arc::new(RealDisk))
    }

    /// The same, on a disk that may fail.
    pub fn open_on(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let root = prepare(root)?;
        let scratch = Arc::new(Scratch::create(&root.join("tmp"), Arc::clone(&disk))?);
        let leases = Arc::new(Leases::new(&root, scratch.lock()?)?);
        let index = Index::open(&root.join("index.db"), &scratch.new_path(), disk)?;
        let layers = Layers::new(&root, Arc::clone(&scratch), Arc::clone(&leases));
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                index,
                layers,
                scratch,
                leases,
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

    /// Whether a layer was looked into, and its bytes are there as a tar or as a directory. If so, it stays.
    pub fn has_layer(&self, diff_id: &DiffId) -> bool {
        // The lease on the layer is one on its tar, too.
        let has_tar = || self.blob_path(&(*diff_id).into()).is_file();
        self.layers().contains(diff_id)
            && (self.layers().directory(diff_id, "").is_some() || has_tar())
    }

    /// A place for work in progress, on the same file system.
    pub fn scratch(&self) -> &Scratch {
        &self.inner.scratch
    }

    /// The path of a thing of one kind, which nobody removes from now on while this process lives.
    pub fn lease(&self, kind: &str, name: &str) -> Result<PathBuf, IoError> {
        self.inner.leases.take(format!("{kind}/{name}"))?;
        let mut path = self.inner.root.join(kind);
        path.push(name);
        Ok(path)
    }

    /// Keeps others from leasing anything, and so from relying on what is there, until it is dropped.
    pub fn close_gate(&self) -> Result<Gate, IoError> {
        Gate::close(&self.inner.root)
    }

    /// The other processes that use the store, and what they use. Complete while the gate is closed.
    pub fn tenants(&self) -> Result<Vec<Tenant>, IoError> {
        lease::tenants(&self.inner.root.join("tmp"), self.inner.scratch.path())
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
            if let Some(found) = foreign_entry(&root)? {
                // Another process may just have made the store.
                if version.exists() {
                    return prepare(&root);
                }
                return Err(StoreError::NotAStore { path: root, found });
            }
            // What images hold must not be within reach of other users: setuid programs, say.
            fs::set_permissions(&root, fs::Permissions::from_mode(0o700))
                .at("set permissions of", &root)?;
            write_new(&version, VERSION.as_bytes())?;
        }
        Err(error) => Err(error).at("read", &version)?,
    }
    // What somebody removed is made anew: records of what was in it are misses.
    make_directories(&root)?;
    Ok(root)
}

/// Something in a directory that is not what a store begins with: whatever else it is must not be taken for one,
/// whose `tmp` is swept and whose files are collected.
fn foreign_entry(directory: &Path) -> Result<Option<OsString>, IoError> {
    // The second is what a new file system has.
    let is_own = |name: &OsStr| {
        name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) || name == "lost+found"
    };
    for entry in fs::read_dir(directory).at("list", directory)? {
        let name = entry.at("list", directory)?.file_name();
        if !is_own(&name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn make_directories(root: &Path) -> Result<(), IoError> {
    for directory in ["blobs/sha256", "layers", "tmp"] {
        let path = root.join(directory);
        if !path.is_dir() {
            fs::create_dir_all(&path).at("create", &path)?;
        }
    }
    Ok(())
}

/// Writes a small file whole or not at all, before there is a scratch directory; several processes
/// may do so at once.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let name = format!("{UNFINISHED}{}-{:x}", std::process::id(), scratch::random());
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written.at("write", path)
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
