//! Files that similar layers have at the same paths with the same bytes: a layer's directory takes the
//! bytes over from there where the file system can share them (FICLONE of ioctl_ficlone(2)), as XFS and
//! Btrfs can.
//!
//! Never by a hard link: steps would see by its count what else the store holds, and two files of
//! different layers as one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_solver::{DiffId, RelPath};
use rustix::fs::{Mode, OFlags, ioctl_ficlone};

use crate::rooted::open_file_beneath;
use crate::store::Store;
use crate::tree::{Entry, EntryKind, LayerTree};

/// How many layers are looked into.
const MOST_RELATIVES: usize = 16;

/// For each entry of a tree, the layer that has the same bytes.
#[derive(Default)]
pub(super) struct Twins {
    /// The layers' directories.
    directories: Vec<OwnedFd>,
    /// By the entry's position: 0 for nothing, else 1 more than the directory's position.
    of_entry: Vec<u8>,
    /// Set once the file system has said that it cannot share.
    cannot_share: AtomicBool,
}

impl Twins {
    /// Looks into the layers that are said to be similar to one, as far as they are directories. What
    /// cannot be read there is not shared.
    pub(super) fn find(store: &Store, diff_id: &DiffId, tree: &LayerTree) -> Self {
        let mut twins = Self::default();
        let relatives = store.layers().relatives(diff_id);
        // Trees are not read for nothing.
        if relatives.is_empty() || !can_share(store) {
            return twins;
        }
        for relative in relatives {
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
            if *twin == 0 && has_same_bytes(known, entry) {
                *twin = number;
            }
        }
        Some(())
    }

    /// Gives a new file the bytes of the entry at a position of the tree, whose path is `path`, if another
    /// layer has them and they can be shared. Whether it did.
    pub(super) fn share(&self, index: usize, path: &RelPath, file: &File) -> bool {
        let Some(twin @ 1..) = self.of_entry.get(index).copied() else {
            return false;
        };
        if self.cannot_share.load(Ordering::Relaxed) {
            return false;
        }
        let directory = &self.directories[usize::from(twin) - 1];
        let Ok(theirs) = open_file_beneath(directory, path) else {
            return false;
        };
        let shared = ioctl_ficlone(file, &theirs).is_ok();
        if !shared {
            self.cannot_share.store(true, Ordering::Relaxed);
        }
        shared
    }
}

/// Whether the store's file system shares bytes at all.
pub fn can_share(store: &Store) -> bool {
    let files = [(); 2].map(|()| store.scratch().new_unnamed_file());
    matches!(&files, [Ok(to), Ok(from)] if ioctl_ficlone(to.file(), from.file()).is_ok())
}

fn has_same_bytes(a: &Entry, b: &Entry) -> bool {
    match (&a.kind, &b.kind) {
        (
            EntryKind::File { size, digest, .. },
            EntryKind::File {
                size: other_size,
                digest: other_digest,
                ..
            },
        ) => a.path == b.path && *size > 0 && (size, digest) == (other_size, other_digest),
        _ => false,
    }
}
