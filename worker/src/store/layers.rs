//! Layers: what each holds, and its files as a directory that overlayfs can use.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_solver::{ContentDigest, DiffId};

use super::lease::Leases;
use super::scratch::{Scratch, remove_tree};
use crate::io_error::{AtPath, IoError, is_not_found};
use crate::tree::{EncodedTree, LayerTree, TreeError, TreeReader};

/// Why a layer could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file of it could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Its tree is damaged.
    #[error("{}: {source}", path.display())]
    Tree {
        /// The tree's file.
        path: PathBuf,
        /// What is wrong.
        source: TreeError,
    },
    /// It is not in the store.
    #[error("layer {0} is not in the store")]
    Missing(DiffId),
}

/// The layers of a store. Trees that were read stay in memory.
pub struct Layers {
    root: PathBuf,
    scratch: Arc<Scratch>,
    leases: Arc<Leases>,
    trees: Mutex<HashMap<DiffId, Arc<LayerTree>>>,
    relatives: Mutex<HashMap<DiffId, Vec<DiffId>>>,
}

impl Layers {
    pub(super) fn new(store: &Path, scratch: Arc<Scratch>, leases: Arc<Leases>) -> Self {
        Self {
            root: store.join("layers"),
            scratch,
            leases,
            trees: Mutex::default(),
            relatives: Mutex::default(),
        }
    }

    /// Whether the layer is there whole. If so, it stays; what cannot be leased is not there.
    pub fn contains(&self, diff_id: &DiffId) -> bool {
        self.lease(diff_id)
            .is_ok_and(|home| home.join("tree").exists())
    }

    /// Where a layer is, or would be. What a link there leads to is not the store's.
    fn lease(&self, diff_id: &DiffId) -> Result<PathBuf, IoError> {
        let hex = diff_id.hex();
        self.leases.take(format!("layers/{hex}"))?;
        let home = self.root.join(hex);
        match home.is_symlink() {
            true => Err(io::Error::from(io::ErrorKind::NotFound)).at("use the link", &home),
            false => Ok(home),
        }
    }

    /// What a layer holds.
    pub fn tree(&self, diff_id: &DiffId) -> Result<Arc<LayerTree>, LayerError> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(diff_id) {
            return Ok(Arc::clone(tree));
        }
        let path = self.lease(diff_id)?.join("tree");
        let bytes = read_tree_file(diff_id, &path)?;
        let tree = LayerTree::decode(&bytes).map_err(|source| LayerError::Tree { path, source })?;
        let tree = Arc::new(tree);
        trees.insert(*diff_id, Arc::clone(&tree));
        Ok(tree)
    }

    /// The same, an entry at a time.
    pub fn read_tree(&self, diff_id: &DiffId) -> Result<TreeReader<Vec<u8>>, LayerError> {
        let path = self.lease(diff_id)?.join("tree");
        let bytes = read_tree_file(diff_id, &path)?;
        TreeReader::new(bytes).map_err(|source| LayerError::Tree { path, source })
    }

    /// Names what a layer holds, modification times left out.
    pub fn content(&self, diff_id: &DiffId) -> Result<ContentDigest, LayerError> {
        let path = self.lease(diff_id)?.join("tree");
        let content = self.read_tree(diff_id)?.content();
        content.map_err(|source| LayerError::Tree { path, source })
    }

    /// Notes what a layer holds. Its bytes, as a tar or as a directory, must be there already: from
    /// now on the layer counts as whole. A tree that is there stays: it may tell times to the
    /// nanosecond, which a tar does not have, and then the layer's directory has the same ones.
    pub fn put_tree(&self, diff_id: &DiffId, tree: &EncodedTree) -> Result<(), LayerError> {
        let path = self.make_home(diff_id)?.join("tree");
        if !path.exists() {
            self.scratch.put_bytes(&tree.bytes, &path)?;
        }
        Ok(())
    }

    /// Notes, as long as this process lives, which layers may hold much of what a layer holds.
    pub fn relate(&self, diff_id: &DiffId, others: impl Iterator<Item = DiffId>) {
        let mut relatives = self
            .relatives
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = relatives.entry(*diff_id).or_default();
        for other in others {
            if other != *diff_id && !known.contains(&other) {
                known.push(other);
            }
        }
    }

    /// What was noted.
    pub(crate) fn relatives(&self, diff_id: &DiffId) -> Vec<DiffId> {
        let relatives = self
            .relatives
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        relatives.get(diff_id).cloned().unwrap_or_default()
    }

    /// The layer's files, if they are there as a directory. A layer that looks different on
    /// different layers below it has one directory for each `variant`.
    pub fn directory(&self, diff_id: &DiffId, variant: &str) -> Option<PathBuf> {
        let home = self.lease(diff_id).ok()?;
        let path = home.join(format!("fs{variant}"));
        path.is_dir().then_some(path)
    }

    /// Takes over a finished directory with the layer's files and returns where it is now. If
    /// another process was faster, its directory stays.
    pub fn put_directory(
        &self,
        diff_id: &DiffId,
        variant: &str,
        finished: &Path,
    ) -> Result<PathBuf, LayerError> {
        let place = self.make_home(diff_id)?.join(format!("fs{variant}"));
        match self.scratch.put(finished, &place) {
            Ok(()) => {}
            Err(_) if place.exists() => remove_tree(finished),
            Err(error) => Err(error).at("rename a layer to", &place)?,
        }
        Ok(place)
    }

    fn make_home(&self, diff_id: &DiffId) -> Result<PathBuf, IoError> {
        let home = self.root.join(diff_id.hex());
        if home.is_symlink() {
            fs::remove_file(&home).at("remove", &home)?;
        }
        let home = self.lease(diff_id)?;
        fs::create_dir_all(&home).at("create", &home)?;
        Ok(home)
    }
}

fn read_tree_file(diff_id: &DiffId, path: &Path) -> Result<Vec<u8>, LayerError> {
    fs::read(path)
        .at("read", path)
        .map_err(|error| match is_not_found(&error) {
            true => LayerError::Missing(*diff_id),
            false => error.into(),
        })
}
