//! What a stack of layers shows: the union that an overlay mount would show, without a mount.

use std::sync::Arc;

use kiln_solver::RelPath;

use super::entry::{DirectoryKind, Entry, EntryKind};
use super::layer_tree::LayerTree;

/// How many symbolic links a path may lead through (path_resolution(7)).
const MAXIMUM_LINKS: usize = 40;

/// A stack of layers, lowest first.
#[derive(Debug, Clone, Default)]
pub struct View {
    layers: Vec<Arc<LayerTree>>,
}

/// An entry and the layer that it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'v> {
    /// The layer's position in the stack.
    pub layer: usize,
    /// The entry's position in the layer.
    pub index: usize,
    /// The entry.
    pub entry: &'v Entry,
}

impl View {
    /// Shows layers as they are, lowest first; each must have been settled on those below it.
    pub fn new(layers: Vec<Arc<LayerTree>>) -> Self {
        Self { layers }
    }

    /// Puts one more layer on top, settled first: see [`View::settle`].
    pub fn push(&mut self, layer: Arc<LayerTree>) {
        let settled = self.settle(layer);
        self.layers.push(settled);
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Arc<LayerTree>] {
        &self.layers
    }

    /// What is at a path, symbolic links not followed anywhere in it.
    pub fn get(&self, path: &RelPath) -> Option<Found<'_>> {
        for (layer, tree) in self.layers.iter().enumerate().rev() {
            if let Some(index) = tree.position(path) {
                let found = self.at(layer, index);
                return (found.entry.kind != EntryKind::Whiteout).then_some(found);
            }
            if hides_below(tree, path) {
                return None;
            }
        }
        None
    }

    /// What stands at a position of a layer.
    ///
    /// # Panics
    /// If nothing does.
    pub fn at(&self, layer: usize, index: usize) -> Found<'_> {
        let entry = &self.layers[layer].entries()[index];
        Found {
            layer,
            index,
            entry,
        }
    }

    /// What a layer itself has at a path: the file that a hard link of that layer names.
    pub fn in_layer(&self, layer: usize, path: &RelPath) -> Option<Found<'_>> {
        let index = self.layers.get(layer)?.position(path)?;
        Some(self.at(layer, index))
    }

    /// Whether this stack has the very same at an entry's path. Times do not count: no content that
    /// names a layer has any, so what a layer holds must not depend on them either. A further name of
    /// a file is never the same: what it names may differ. That the stack has further names of a file does not
    /// count either, as it does not for BuildKit.
    pub fn shows(&self, entry: &Entry) -> bool {
        let Some(found) = self.get(&entry.path) else {
            return false;
        };
        let below = found.entry;
        let kind = match &below.kind {
            EntryKind::HardLink { target } => self.in_layer(found.layer, target),
            _ => Some(found),
        };
        let kind = kind.map_or(&below.kind, |found| &found.entry.kind);
        let has_same_metadata = (below.mode, below.uid, below.gid)
            == (entry.mode, entry.uid, entry.gid)
            && below.xattrs == entry.xattrs;
        let has_same_content = match (kind, &entry.kind) {
            (EntryKind::Directory(_), EntryKind::Directory(kind)) => *kind == DirectoryKind::Merged,
            (
                EntryKind::File { size, digest, .. },
                EntryKind::File {
                    size: own_size,
                    digest: own_digest,
                    ..
                },
            ) => (size, digest) == (own_size, own_digest),
            (_, EntryKind::HardLink { .. }) => false,
            (kind, own_kind) => kind == own_kind,
        };
        has_same_metadata && has_same_content
    }

    /// Where a path leads, symbolic links followed inside the root. What does not exist is taken
    /// as it is written. `None` if there are too many links.
    pub fn resolve(&self, path: &RelPath) -> Option<RelPath> {
        self.resolve_with(path, true)
    }

    /// As [`View::resolve`], but a link in the last place is not followed.
    pub fn resolve_parent(&self, path: &RelPath) -> Option<RelPath> {
        self.resolve_with(path, false)
    }

    fn resolve_with(&self, path: &RelPath, follow_last: bool) -> Option<RelPath> {
        resolve(path, follow_last, |path| {
            self.get(path).map(|found| &found.entry.kind)
        })
    }

    /// The entry at a path, if it is there, and all below it, in path order. Links are not followed.
    pub fn subtree(&self, path: &RelPath) -> Vec<Found<'_>> {
        let mut shown = Vec::new();
        for (layer, tree) in self.layers.iter().enumerate() {
            if hides_below(tree, path) {
                shown.clear();
            }
            let upper: Vec<Found<'_>> = tree
                .positions_below(path)
                .map(|index| self.at(layer, index))
                .collect();
            shown = match (shown.is_empty(), upper.is_empty()) {
                (_, true) => shown,
                (true, false) => without_whiteouts(upper),
                (false, false) => lay_over(shown, upper),
            };
        }
        shown
    }

    /// A layer as it appears on top of this stack. Implied directories take the metadata of what is
    /// there, and an entry whose parent is a symbolic link goes to where that leads, as with a tar
    /// that is unpacked onto the stack.
    pub fn settle(&self, layer: Arc<LayerTree>) -> Arc<LayerTree> {
        if !layer.needs_settling() {
            return layer;
        }
        let named = layer
            .entries()
            .iter()
            .filter(|entry| !is_implied(entry))
            .cloned();
        let mut unpacked = self.clone();
        unpacked
            .layers
            .push(Arc::new(LayerTree::from_sorted(named.clone().collect())));
        let moved = named.map(|entry| match unpacked.resolve_parent(&entry.path) {
            Some(path) => Entry { path, ..entry },
            None => entry,
        });
        let placed = LayerTree::new(moved);
        let settled = placed
            .entries()
            .iter()
            .map(|entry| self.with_metadata_of_below(entry));
        Arc::new(LayerTree::from_sorted(settled.collect()))
    }

    fn with_metadata_of_below(&self, entry: &Entry) -> Entry {
        if !is_implied(entry) {
            return entry.clone();
        }
        let below = self
            .get(&entry.path)
            .map(|found| found.entry)
            .filter(|e| e.is_directory());
        let kind = EntryKind::Directory(DirectoryKind::Merged);
        Entry {
            kind,
            ..below.unwrap_or(entry).clone()
        }
    }
}

/// Where a path leads in a tree that `kind_at` looks things up in, symbolic links followed inside
/// the root, the one in the last place only on request. `None` if there are too many links.
pub fn resolve<'t>(
    path: &RelPath,
    follow_last: bool,
    kind_at: impl Fn(&RelPath) -> Option<&'t EntryKind>,
) -> Option<RelPath> {
    let mut pending: Vec<Box<[u8]>> = path.components().rev().map(Into::into).collect();
    let mut resolved = RelPath::root();
    let mut links = 0;
    while let Some(component) = pending.pop() {
        if &*component == b".." {
            resolved = resolved.parent().unwrap_or_default();
            continue;
        }
        let next = resolved.join_name(&component);
        let link = match kind_at(&next) {
            Some(EntryKind::Symlink { target }) if follow_last || !pending.is_empty() => target,
            _ => {
                resolved = next;
                continue;
            }
        };
        links += 1;
        if links > MAXIMUM_LINKS {
            return None;
        }
        if link.first() == Some(&b'/') {
            resolved = RelPath::root();
        }
        let names = link
            .split(|b| *b == b'/')
            .filter(|c| !matches!(*c, b"" | b"."))
            .rev();
        pending.extend(names.map(Into::into));
    }
    Some(resolved)
}

fn is_implied(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied))
}

/// Whether a layer hides what the layers below have at a path that it does not have itself.
fn hides_below(tree: &LayerTree, path: &RelPath) -> bool {
    let mut ancestor = tree.deepest_known_ancestor(path);
    while let Some(path) = ancestor {
        match tree.get(&path).map(|entry| &entry.kind) {
            None | Some(EntryKind::Directory(DirectoryKind::Merged | DirectoryKind::Implied)) => {}
            Some(_) => return true,
        }
        ancestor = path.parent();
    }
    false
}

fn without_whiteouts(mut entries: Vec<Found<'_>>) -> Vec<Found<'_>> {
    entries.retain(|found| found.entry.kind != EntryKind::Whiteout);
    entries
}

/// What two sorted lists show, one over the other.
fn lay_over<'v>(lower: Vec<Found<'v>>, upper: Vec<Found<'v>>) -> Vec<Found<'v>> {
    let mut shown = Vec::with_capacity(lower.len() + upper.len());
    let mut lower = lower.into_iter().peekable();
    for found in upper {
        let path = &found.entry.path;
        while let Some(below) = lower.next_if(|below| below.entry.path < *path) {
            shown.push(below);
        }
        let hidden = lower.next_if(|below| below.entry.path == *path);
        let keeps_what_is_below = matches!(
            found.entry.kind,
            EntryKind::Directory(DirectoryKind::Merged | DirectoryKind::Implied)
        ) && hidden.is_none_or(|below| below.entry.is_directory());
        if !keeps_what_is_below {
            while lower
                .next_if(|below| below.entry.path.starts_with(path))
                .is_some()
            {}
        }
        if found.entry.kind != EntryKind::Whiteout {
            shown.push(found);
        }
    }
    shown.extend(lower);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Timestamp, Xattrs};

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    fn entry(text: &str, kind: EntryKind) -> Entry {
        Entry {
            path: path(text),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: Xattrs::new(),
        }
    }

    fn directory(text: &str) -> Entry {
        entry(text, EntryKind::Directory(DirectoryKind::Merged))
    }

    fn link(text: &str, target: &str) -> Entry {
        entry(
            text,
            EntryKind::Symlink {
                target: target.as_bytes().into(),
            },
        )
    }

    fn view(layers: impl IntoIterator<Item = Vec<Entry>>) -> View {
        let mut view = View::default();
        for layer in layers {
            view.push(Arc::new(LayerTree::new(layer)));
        }
        view
    }

    fn shown(view: &View, root: &str) -> Vec<String> {
        view.subtree(&path(root))
            .iter()
            .map(|found| found.entry.path.to_string())
            .collect()
    }

    #[test]
    fn whiteouts_opaque_directories_and_replacements_hide_what_is_below() {
        let base = || {
            vec![
                directory("a"),
                entry("a/x", EntryKind::Fifo),
                directory("b"),
            ]
        };
        let cases = [
            (vec![entry("a", EntryKind::Whiteout)], vec!["/b"]),
            (vec![entry("a", EntryKind::Fifo)], vec!["/a", "/b"]),
            (
                vec![
                    entry("a", EntryKind::Directory(DirectoryKind::Opaque)),
                    entry("a/y", EntryKind::Fifo),
                ],
                vec!["/a", "/a/y", "/b"],
            ),
            (
                vec![directory("a"), entry("a/y", EntryKind::Fifo)],
                vec!["/a", "/a/x", "/a/y", "/b"],
            ),
        ];
        for (layer, expected) in cases {
            let view = view([base(), layer]);
            assert_eq!(shown(&view, ""), expected);
            let x_is_there = view.get(&path("a/x")).is_some();
            assert_eq!(x_is_there, expected.contains(&"/a/x"));
        }
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let view = view([vec![
            directory("usr"),
            directory("usr/lib"),
            link("lib", "usr/lib"),
            link("out", "../../../usr"),
            link("loop", "loop"),
        ]]);
        assert_eq!(view.resolve(&path("lib/x")), Some(path("usr/lib/x")));
        assert_eq!(view.resolve(&path("out/lib")), Some(path("usr/lib")));
        assert_eq!(view.resolve_parent(&path("lib")), Some(path("lib")));
        assert_eq!(view.resolve(&path("loop")), None);
    }

    #[test]
    fn implied_directories_keep_the_metadata_and_links_of_the_layers_below() {
        let mut tmp = directory("tmp");
        tmp.mode = 0o1777;
        let base = vec![
            tmp,
            directory("usr"),
            directory("usr/lib"),
            link("lib", "usr/lib"),
        ];
        let view = view([
            base,
            vec![
                entry("tmp/f", EntryKind::Fifo),
                entry("lib/g", EntryKind::Fifo),
            ],
        ]);
        assert_eq!(
            view.get(&path("tmp")).map(|found| found.entry.mode),
            Some(0o1777)
        );
        assert!(view.get(&path("usr/lib/g")).is_some());
        assert!(matches!(
            view.get(&path("lib")).map(|found| &found.entry.kind),
            Some(EntryKind::Symlink { .. })
        ));
    }
}
