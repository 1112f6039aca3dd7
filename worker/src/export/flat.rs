//! The root file system of an image as one list of entries, each with its bytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_solver::{DiffId, RelPath};

use super::{BuiltImage, ExportError};
use crate::layer::{Contents, DirectoryError, FileBytes, directory, ingest};
use crate::store::Store;
use crate::tree::{DirectoryKind, Entry, EntryKind, Found, LayerTree, View};

/// What an image shows: entries in path order, the root itself left out.
pub(super) struct FlatEntry {
    pub(super) entry: Entry,
    pub(super) bytes: FileBytes,
}

/// Puts the layers on top of each other. All of them must be in the store.
pub(super) fn flatten(store: &Store, image: &BuiltImage) -> Result<Vec<FlatEntry>, ExportError> {
    let layers = &image.layers;
    let mut view = View::default();
    let mut contents = Vec::with_capacity(layers.len());
    for layer in layers {
        contents.push(open(store, &mut view, &layer.diff_id)?);
    }
    let shown = view.subtree(&RelPath::root());
    let mut links = Links::new(&view, &shown);
    let flat = shown.iter().filter(|found| !found.entry.path.is_root());
    Ok(flat
        .map(|found| {
            let mut flat = links.flatten(found, &contents[found.layer]);
            flat.entry.mtime = image.file_time.unwrap_or(flat.entry.mtime);
            flat
        })
        .collect())
}

/// Puts one more layer onto a view and opens its files.
fn open(store: &Store, view: &mut View, diff_id: &DiffId) -> Result<Contents, ExportError> {
    let failed = |source| ExportError::Ingest {
        layer: *diff_id,
        source,
    };
    let (tree, contents) = if store.layers().contains(diff_id) {
        let contents = Contents::open(store, diff_id)?;
        (store.layers().tree(diff_id)?, contents)
    } else {
        let (tree, contents) = ingest(store, diff_id).map_err(failed)?;
        (tree, Some(contents))
    };
    let settled = view.settle(Arc::clone(&tree));
    let is_moved = !Arc::ptr_eq(&tree, &settled);
    let contents = match contents {
        // In this view the layer's files are in other places than in its own directory.
        Some(Contents::Directory { .. }) if is_moved => {
            Contents::open_directory(laid_out(store, view, diff_id)?)?
        }
        Some(contents) => contents,
        None => ingest(store, diff_id).map_err(failed)?.1,
    };
    view.push(settled);
    Ok(contents)
}

fn laid_out(
    store: &Store,
    below: &View,
    diff_id: &DiffId,
) -> Result<std::path::PathBuf, ExportError> {
    directory(store, below, diff_id).map_err(|error| match error {
        DirectoryError::Ingest(source) => ExportError::Ingest {
            layer: *diff_id,
            source,
        },
        other => ExportError::Layer {
            layer: *diff_id,
            source: std::io::Error::other(other),
        },
    })
}

/// Names of files that have several. A layer on top may have hidden the one that the others link to,
/// so the first name that is shown becomes the file.
struct Links<'v> {
    trees: &'v [Arc<LayerTree>],
    /// Files that other names link to, by layer.
    targets: HashSet<(usize, &'v RelPath)>,
    /// Under which name a file was shown first.
    first: HashMap<(usize, &'v RelPath), RelPath>,
}

impl<'v> Links<'v> {
    fn new(view: &'v View, shown: &[Found<'v>]) -> Self {
        let trees = view.layers();
        let links = shown.iter().filter(|found| is_link(found.entry));
        let targets =
            links.map(|found| (found.layer, &file(&trees[found.layer], found.entry).path));
        Self {
            trees,
            targets: targets.collect(),
            first: HashMap::new(),
        }
    }

    fn flatten(&mut self, found: &Found<'v>, contents: &Contents) -> FlatEntry {
        let file = file(&self.trees[found.layer], found.entry);
        let mut entry = Entry {
            path: found.entry.path.clone(),
            ..file.clone()
        };
        if let EntryKind::Directory(kind) = &mut entry.kind {
            *kind = DirectoryKind::Merged;
        }
        let key = (found.layer, &file.path);
        if self.targets.contains(&key) {
            if let Some(first) = self.first.get(&key) {
                let target = first.clone();
                entry.kind = EntryKind::HardLink { target };
            } else {
                self.first.insert(key, entry.path.clone());
            }
        }
        let bytes = match entry.kind {
            EntryKind::File { size, .. } if size > 0 => contents.bytes(file),
            _ => FileBytes::Memory(Arc::from([])),
        };
        FlatEntry { entry, bytes }
    }
}

fn is_link(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::HardLink { .. })
}

/// The file that an entry is, or is one more name of.
fn file<'t>(tree: &'t LayerTree, entry: &'t Entry) -> &'t Entry {
    let mut file = entry;
    // Links to links are few; a loop of them, which no tar can make, must not hang.
    for _ in 0..8 {
        match &file.kind {
            EntryKind::HardLink { target } => match tree.get(target) {
                Some(next) => file = next,
                None => break,
            },
            _ => break,
        }
    }
    file
}
