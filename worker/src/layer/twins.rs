//! Files that other layers have at the same paths and that are the very same, down to their times: a
//! layer's directory can share them with those layers' directories, which nobody changes.
//!
//! Only files at the same path are shared. In every stack of layers one of them hides the other, so
//! that no step sees two names of one file that are none.

use std::os::fd::OwnedFd;

use kiln_solver::{DiffId, RelPath};
use rustix::fs::{AtFlags, Mode, OFlags, linkat};

use crate::store::Store;
use crate::tree::{Entry, EntryKind, LayerTree};

/// How many layers are looked into.
const MOST_RELATIVES: usize = 16;

/// For each entry of a tree, the layer that has the same file.
#[derive(Default)]
pub(super) struct Twins {
    /// The layers' directories.
    directories: Vec<OwnedFd>,
    /// By the entry's position: 0 for nothing, else 1 more than the directory's position.
    of_entry: Vec<u8>,
}

impl Twins {
    /// Looks into the layers that are said to be similar to one, as far as they are directories. What
    /// cannot be read there is not shared.
    pub(super) fn find(store: &Store, diff_id: &DiffId, tree: &LayerTree) -> Self {
        let mut twins = Self::default();
        for relative in store.layers().relatives(diff_id) {
            if twins.directories.len() == MOST_RELATIVES {
                break;
            }
            let _ = twins.look_into(store, &relative, tree);
        }
        twins
    }

    fn look_into(&mut self, store: &Store, relative: &DiffId, tree: &LayerTree) -> Option<()> {
        let path = store.layers().directory(relative, "")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let mut theirs = store.layers().read_tree(relative).ok()?.peekable();
        self.directories.push(directory);
        let number = u8::try_from(self.directories.len()).ok()?;
        self.of_entry.resize(tree.entries().len(), 0);
        for (entry, twin) in tree.entries().iter().zip(&mut self.of_entry) {
            while theirs
                .next_if(|known| known.as_ref().is_ok_and(|known| known.path < entry.path))
                .is_some()
            {}
            let known = theirs.peek()?.as_ref().ok()?;
            if *twin == 0 && is_same_file(known, entry) {
                *twin = number;
            }
        }
        Some(())
    }

    /// Gives the entry at a position of the tree, whose path is `path`, a name below `root`, if another
    /// layer has the same. Whether it did.
    pub(super) fn share(&self, index: usize, path: &RelPath, root: &OwnedFd) -> bool {
        let Some(twin @ 1..) = self.of_entry.get(index).copied() else {
            return false;
        };
        let directory = &self.directories[usize::from(twin) - 1];
        let path = path.as_os_path();
        // File systems bound the names of a file.
        linkat(directory, path, root, path, AtFlags::empty()).is_ok()
    }
}

/// Whether nothing tells two files at the same path apart but where their bytes lie.
fn is_same_file(a: &Entry, b: &Entry) -> bool {
    let is_same_content = match (&a.kind, &b.kind) {
        (
            EntryKind::File { size, digest, .. },
            EntryKind::File {
                size: other_size,
                digest: other_digest,
                ..
            },
        ) => (size, digest) == (other_size, other_digest),
        _ => false,
    };
    is_same_content
        && a.path == b.path
        && (a.mode, a.uid, a.gid, a.mtime) == (b.mode, b.uid, b.gid, b.mtime)
        && a.xattrs == b.xattrs
}
