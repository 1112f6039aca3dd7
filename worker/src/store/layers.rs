//! Layers: what each holds, and its files as a directory that overlayfs can use.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_solver::DiffId;

use super::scratch::remove_tree;
use crate::io_error::{AtPath, IoError, is_not_found};
use crate::tree::{LayerTree, TreeError};

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
    trash: PathBuf,
    trees: Mutex<HashMap<DiffId, Arc<LayerTree>>>,
}

impl Layers {
    pub(super) fn new(store: &Path, scratch: &Path) -> Self {
        Self {
            root: store.join("layers"),
            trash: scratch.to_owned(),
            trees: Mutex::default(),
        }
    }

    /// Whether the layer is there whole.
    pub fn contains(&self, diff_id: &DiffId) -> bool {
        self.tree_path(diff_id).exists()
    }

    /// What a layer holds.
    pub fn tree(&self, diff_id: &DiffId) -> Result<Arc<LayerTree>, LayerError> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(diff_id) {
            return Ok(Arc::clone(tree));
        }
        let path = self.tree_path(diff_id);
        let bytes = fs::read(&path).at("read", &path).map_err(|error| {
            if is_not_found(&error) {
                LayerError::Missing(*diff_id)
            } else {
                error.into()
            }
        })?;
        let tree = LayerTree::decode(&bytes).map_err(|source| LayerError::Tree { path, source })?;
        let tree = Arc::new(tree);
        trees.insert(*diff_id, Arc::clone(&tree));
        Ok(tree)
    }

    /// Notes what a layer holds. Its bytes, as a tar or as a directory, must be there already: from
    /// now on the layer counts as whole.
    pub fn put_tree(&self, diff_id: &DiffId, tree: Arc<LayerTree>) -> Result<(), LayerError> {
        let path = self.tree_path(diff_id);
        if !path.exists() {
            self.make_home(diff_id)?;
            super::write_new(&path, &tree.encode())?;
        }
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.insert(*diff_id, tree);
        Ok(())
    }

    /// The layer's files, if they are there as a directory. A layer that looks different on
    /// different layers below it has one directory for each `variant`.
    pub fn directory(&self, diff_id: &DiffId, variant: &str) -> Option<PathBuf> {
        let path = self.directory_path(diff_id, variant);
        path.exists().then_some(path)
    }

    /// Takes over a finished directory with the layer's files and returns where it is now. If
    /// another process was faster, its directory stays.
    pub fn put_directory(
        &self,
        diff_id: &DiffId,
        variant: &str,
        finished: &Path,
    ) -> Result<PathBuf, LayerError> {
        self.make_home(diff_id)?;
        let place = self.directory_path(diff_id, variant);
        match fs::rename(finished, &place) {
            Ok(()) => {}
            Err(_) if place.exists() => remove_tree(finished),
            Err(error) => Err(error).at("rename a layer to", &place)?,
        }
        Ok(place)
    }

    /// Removes a layer: first what says that it is whole.
    pub(crate) fn remove(&self, diff_id: &DiffId) -> Result<(), IoError> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.remove(diff_id);
        let tree = self.tree_path(diff_id);
        match fs::remove_file(&tree).at("remove", &tree) {
            Err(error) if !is_not_found(&error) => return Err(error),
            _ => {}
        }
        let home = self.root.join(diff_id.hex());
        let trash = self.trash.join(format!("layer-{}", diff_id.hex()));
        match fs::rename(&home, &trash).at("remove", &home) {
            Err(error) if !is_not_found(&error) => return Err(error),
            _ => remove_tree(&trash),
        }
        Ok(())
    }

    fn make_home(&self, diff_id: &DiffId) -> Result<(), IoError> {
        let home = self.root.join(diff_id.hex());
        fs::create_dir_all(&home).at("create", &home)
    }

    fn tree_path(&self, diff_id: &DiffId) -> PathBuf {
        self.root.join(diff_id.hex()).join("tree")
    }

    fn directory_path(&self, diff_id: &DiffId, variant: &str) -> PathBuf {
        self.root.join(diff_id.hex()).join(format!("fs{variant}"))
    }
}
