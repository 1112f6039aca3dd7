//! Part of what a scan found, as a scan of that part alone would have found it.
//!
//! Several steps copy from one context, and which of them scans it first is chance. What a step reads must
//! not depend on that: of a file with several names, only those count that are at the path it asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_solver::RelPath;

use crate::tree::{Entry, EntryKind, LayerTree, View};

/// A scanned tree.
#[derive(Clone)]
pub(super) struct Wide {
    tree: Arc<LayerTree>,
    has_links: bool,
}

impl Wide {
    pub(super) fn new(tree: LayerTree) -> Self {
        let has_links = tree.entries().iter().any(|entry| link(entry).is_some());
        Self {
            tree: Arc::new(tree),
            has_links,
        }
    }

    /// The whole of it.
    pub(super) fn whole(&self) -> Arc<LayerTree> {
        Arc::clone(&self.tree)
    }

    /// What is at `path` and below, symbolic links on the way followed. Of everything else, there may be
    /// more than a scan of `path` finds, but no file that has several names.
    pub(super) fn below(&self, path: &RelPath) -> Arc<LayerTree> {
        if !self.has_links {
            return self.whole();
        }
        let view = View::new(vec![self.whole()]);
        let Some(root) = view.resolve(path) else {
            return self.whole();
        };
        let mut names = Names::of(&self.tree);
        let entries = self.tree.entries().iter().filter_map(|entry| {
            let is_file = matches!(
                entry.kind,
                EntryKind::File { .. } | EntryKind::HardLink { .. }
            );
            match (is_file, entry.path.starts_with(&root)) {
                (true, true) => Some(names.name(entry)),
                (true, false) => None,
                (false, _) => Some(entry.clone()),
            }
        });
        Arc::new(LayerTree::from_sorted(entries.collect()))
    }
}

fn link(entry: &Entry) -> Option<&RelPath> {
    match &entry.kind {
        EntryKind::HardLink { target } => Some(target),
        _ => None,
    }
}

/// The names of files that have several.
struct Names<'t> {
    tree: &'t LayerTree,
    /// The files, by the name that they have in the tree.
    several: HashSet<&'t RelPath>,
    /// The first of the names that were asked for.
    first: HashMap<&'t RelPath, RelPath>,
}

impl<'t> Names<'t> {
    fn of(tree: &'t LayerTree) -> Self {
        Self {
            tree,
            several: tree.entries().iter().filter_map(link).collect(),
            first: HashMap::new(),
        }
    }

    /// An entry as it is if the names so far are all that there are: the first one is the file.
    fn name(&mut self, entry: &'t Entry) -> Entry {
        let file = link(entry).unwrap_or(&entry.path);
        if !self.several.contains(file) {
            return entry.clone();
        }
        let kind = match self.first.get(file) {
            Some(first) => EntryKind::HardLink {
                target: first.clone(),
            },
            None => {
                self.first.insert(file, entry.path.clone());
                let whole = self.tree.get(file).unwrap_or(entry);
                whole.kind.clone()
            }
        };
        Entry {
            kind,
            ..entry.clone()
        }
    }
}
