//! Bytes that an earlier layer of the same kind holds already: one long tar is read faster than the
//! many files that it was made of.

use std::iter::Peekable;

use super::output::Output;
use crate::layer::{Contents, PackEntry};
use crate::store::Store;
use crate::tree::{Entry, EntryKind, TreeError, TreeReader};

/// The layer that an earlier step made.
pub(super) struct EarlierLayer {
    /// What is left of it; everything before comes before what was looked for last.
    entries: Peekable<TreeReader<Vec<u8>>>,
    contents: Contents,
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
                entries: store.layers().read_tree(&layer.diff_id).ok()?.peekable(),
                contents,
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
        let wanted = &entry.entry;
        // What cannot be read is the same as nothing.
        let is_before = |known: &Result<Entry, TreeError>| {
            known.as_ref().is_ok_and(|known| known.path < wanted.path)
        };
        while self.entries.next_if(is_before).is_some() {}
        if let Some(Ok(known)) = self.entries.peek()
            && known.path == wanted.path
            && is_same_file(known, wanted)
        {
            entry.bytes = self.contents.bytes(known);
        }
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
