//! Bytes that an earlier layer of the same kind holds already: one long tar is read faster than the
//! many files that it was made of.

use std::sync::Arc;

use kiln_solver::RelPath;

use super::output::Output;
use crate::layer::{Contents, PackEntry};
use crate::store::Store;
use crate::tree::{Entry, EntryKind, LayerTree};

/// The layer that an earlier step made.
pub(super) struct EarlierLayer {
    tree: Arc<LayerTree>,
    contents: Contents,
    /// Everything before this position comes before what was looked for last.
    at: usize,
}

impl EarlierLayer {
    /// Opens the layer that a step put on its base, if its tar is still in the store. One that cannot
    /// be read is no help, and no reason to fail.
    pub(super) fn open(store: &Store, earlier: Option<&Output>) -> Option<Self> {
        let Some(Output::Snapshot(snapshot)) = earlier else {
            return None;
        };
        let layer = snapshot.layers.last()?;
        // From then on it stays.
        if !store.layers().contains(&layer.diff_id) {
            return None;
        }
        match Contents::open(store, &layer.diff_id) {
            Ok(Some(contents @ Contents::Tar(_))) => Some(Self {
                tree: store.layers().tree(&layer.diff_id).ok()?,
                contents,
                at: 0,
            }),
            _ => None,
        }
    }

    /// Takes a file's bytes from this layer if it holds the same ones under the same path. Entries
    /// come in the order of their paths.
    pub(super) fn provide(&mut self, entry: &mut PackEntry) {
        if !entry.digest_is_known {
            return;
        }
        self.go_to(&entry.entry.path);
        if let Some(known) = self.tree.entries().get(self.at)
            && known.path == entry.entry.path
            && is_same_file(known, &entry.entry)
        {
            entry.bytes = self.contents.bytes(known);
        }
    }

    fn go_to(&mut self, path: &RelPath) {
        let rest = &self.tree.entries()[self.at..];
        self.at += rest.iter().take_while(|known| known.path < *path).count();
    }
}

fn is_same_file(a: &Entry, b: &Entry) -> bool {
    match (&a.kind, &b.kind) {
        (
            EntryKind::File { size, digest, .. },
            EntryKind::File {
                size: other_size,
                digest: other_digest,
                ..
            },
        ) => *size > 0 && (size, digest) == (other_size, other_digest),
        _ => false,
    }
}
