//! A layer's directory that is filled while the layer's tar is packed, from the bytes that are read for that:
//! a step that must see the layer finds it ready.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_solver::DiffId;

use super::contents::Contents;
use super::lower::{Lower, copy_with_holes};
use super::twins::can_share;
use crate::rooted::Parents;
use crate::store::{Store, remove_tree};
use crate::tree::{DirectoryKind, EncodedTree, Entry, EntryKind, TreeReader};

/// The directory in the making. What fails here is given up: whoever needs the directory makes it, and says why
/// that fails.
pub(super) struct DirectoryAhead {
    lower: Lower,
    path: PathBuf,
    is_given_up: AtomicBool,
}

impl DirectoryAhead {
    /// Begins one. Not where the file system lets directories share the bytes of others: that is cheaper.
    pub(super) fn new(store: &Store) -> Option<Self> {
        if can_share(store) {
            return None;
        }
        let path = store.scratch().new_directory().ok()?;
        let lower = Lower::new(&path, store.scratch().disk()).ok()?;
        Some(Self {
            lower,
            path,
            is_given_up: AtomicBool::new(false),
        })
    }

    /// Comes to the next entry in path order, before it is filled: directories are made here.
    pub(super) fn come_to(&self, entry: &Entry) {
        self.attempt(|| match &entry.kind {
            // What is other on other layers is not for here.
            EntryKind::Directory(DirectoryKind::Implied) => None,
            EntryKind::Directory(_) => self
                .lower
                .make_directory(entry, &mut self.lower.parents())
                .ok(),
            _ => Some(()),
        });
    }

    /// Makes an entry that is no directory; a file that comes without its bytes is made at the end.
    pub(super) fn fill(&self, entry: &Entry, bytes: Option<&[u8]>) {
        self.attempt(|| match (&entry.kind, bytes) {
            (EntryKind::File { size, .. }, Some(bytes)) => {
                self.make_file(entry, &mut self.lower.parents(), bytes, *size)
            }
            (EntryKind::File { .. }, None) => Some(()),
            _ => self
                .lower
                .make_special(entry, &mut self.lower.parents())
                .ok(),
        });
    }

    /// Puts the directory of a packed layer, of which `tree` tells and whose tar is at a path, into the store.
    /// `late` says which files have been left for now, by their sizes.
    pub(super) fn finish(
        self,
        store: &Store,
        diff_id: &DiffId,
        tree: &EncodedTree,
        tar: &Path,
        late: impl Fn(u64) -> bool,
    ) {
        self.attempt(|| self.complete(tree, tar, late));
        if !self.is_given_up() {
            // If it cannot be moved now, it is made when it is needed.
            let _ = store.layers().put_directory(diff_id, "", &self.path);
        }
    }

    fn complete(&self, tree: &EncodedTree, tar: &Path, late: impl Fn(u64) -> bool) -> Option<()> {
        let contents = Contents::Tar(Arc::new(File::open(tar).ok()?));
        let (mut directories, mut parents) = (Vec::new(), self.lower.parents());
        for entry in TreeReader::new(&tree.bytes).ok()? {
            let entry = entry.ok()?;
            match entry.kind {
                EntryKind::Directory(_) => directories.push(entry),
                EntryKind::File { size, .. } if late(size) => {
                    let bytes = contents.bytes(&entry).open(size).ok()?;
                    self.make_file(&entry, &mut parents, bytes, size)?;
                }
                _ => self.lower.make_link(&entry, &mut parents).ok()?,
            }
        }
        // Last, since making what is in a directory changes its times, and its mode may forbid it.
        let mut directories = directories.iter().rev();
        directories.try_for_each(|entry| self.lower.set_metadata(entry, &mut parents).ok())
    }

    fn make_file(
        &self,
        entry: &Entry,
        parents: &mut Parents<'_>,
        bytes: impl Read,
        size: u64,
    ) -> Option<()> {
        let write = |file: &mut _| copy_with_holes(bytes, file, size);
        self.lower.make_file(entry, parents, write).ok()
    }

    fn attempt(&self, work: impl FnOnce() -> Option<()>) {
        if !self.is_given_up() && work().is_none() {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }
}

impl Drop for DirectoryAhead {
    fn drop(&mut self) {
        // It is there only if it was given up, or if the layer was.
        remove_tree(&self.path);
    }
}
