//! A layer in the making: what file operations put on a base, without touching a disk.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, IntoValues};
use std::ops::Bound;
use std::sync::Arc;

use kiln_solver::RelPath;

use super::error::ExecutorError;
use super::names::{Entries, Names};
use super::owner::Ids;
use super::transplant::Transplant;
use crate::layer::{FileBytes, PackEntry};
use crate::tree::{DirectoryKind, Entry, EntryKind, Timestamp, View, resolve};

const SET_GROUP_ID: u32 = 0o2000;

/// The owner and mode of directories that are made on the way to something.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewDirectory {
    pub(super) mode: u32,
    /// Root's where nobody says, or, with the bit that says so, the group of the directory that it is made in.
    pub(super) owner: Option<Ids>,
    pub(super) mtime: Timestamp,
}

/// Entries on a base.
pub(super) struct LayerBuilder<'b> {
    base: &'b View,
    /// Boxed, since the map's nodes are half empty after entries came in order.
    entries: Entries,
    /// Which of them are names of one file.
    names: Names,
    /// A directory below which the base shows nothing. Most of what is copied goes into one.
    fresh: Option<RelPath>,
    /// The directory that something was put into last.
    current: Option<RelPath>,
    /// What a copy put below a directory of `entries` that had nothing below; not looked into before it
    /// is settled.
    transplant: Option<Transplant>,
}

impl<'b> LayerBuilder<'b> {
    pub(super) fn new(base: &'b View) -> Self {
        Self {
            base,
            entries: BTreeMap::new(),
            names: Names::default(),
            fresh: None,
            current: None,
            transplant: None,
        }
    }

    /// What is at a path, links not followed.
    pub(super) fn get(&self, path: &RelPath) -> Option<&Entry> {
        if let Some(known) = self.entries.get(path) {
            return (known.entry.kind != EntryKind::Whiteout).then_some(&known.entry);
        }
        if self.is_fresh(path) {
            return None;
        }
        let mut ancestor = path.parent();
        while let Some(path) = ancestor {
            match self.entries.get(&path).map(|known| &known.entry.kind) {
                None | Some(EntryKind::Directory(DirectoryKind::Merged)) => {}
                Some(_) => return None,
            }
            ancestor = path.parent();
        }
        self.base.get(path).map(|found| found.entry)
    }

    /// Whether something stands in the layer itself.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.entries.contains_key(path)
    }

    fn is_fresh(&self, path: &RelPath) -> bool {
        self.fresh
            .as_ref()
            .is_some_and(|fresh| path.starts_with(fresh))
    }

    /// Whether a directory is at a path; the root always is one.
    pub(super) fn is_directory(&self, path: &RelPath) -> bool {
        path.is_root() || self.get(path).is_some_and(Entry::is_directory)
    }

    /// Where a path leads, links followed inside the root.
    pub(super) fn resolve(&self, path: &RelPath) -> Result<RelPath, ExecutorError> {
        resolve(path, true, |path| self.get(path).map(|entry| &entry.kind))
            .ok_or_else(|| ExecutorError::TooManyLinks(path.clone()))
    }

    /// Makes a resolved directory and its parents where they are missing; what exists stays as it
    /// is, but for the time of the directory that something new is in. An error if something else is
    /// in the way.
    pub(super) fn make_directories(
        &mut self,
        path: &RelPath,
        new: NewDirectory,
    ) -> Result<(), ExecutorError> {
        check_length(path)?;
        let mut at = RelPath::root();
        let mut is_new = false;
        for name in path.components() {
            at = at.join_name(name);
            // Below what was just made there is nothing.
            match if is_new { None } else { self.get(&at) } {
                Some(entry) if entry.is_directory() => self.carry_up(&at),
                Some(_) => return Err(ExecutorError::NotADirectory(at)),
                None => {
                    if !is_new {
                        self.touch_parent(&at, new.mtime);
                    }
                    is_new = true;
                    self.insert_directory(&at, new);
                }
            }
        }
        Ok(())
    }

    /// Makes a directory as mkdir(2) does: below one with the set-group-ID bit it has that, too, and the group.
    fn insert_directory(&mut self, path: &RelPath, new: NewDirectory) {
        let parent = path.parent().and_then(|parent| self.get(&parent));
        let heir_of = parent.filter(|parent| parent.mode & SET_GROUP_ID != 0);
        let inherited = Ids {
            uid: 0,
            gid: heir_of.map_or(0, |parent| parent.gid),
        };
        let mode = heir_of.map_or(new.mode, |_| new.mode | SET_GROUP_ID);
        let Ids { uid, gid } = new.owner.unwrap_or(inherited);
        let entry = Entry {
            uid,
            gid,
            ..Entry::directory(path.clone(), mode, new.mtime)
        };
        self.insert(entry, FileBytes::Memory(Arc::from([])));
    }

    /// Lets a directory of the base stand in the layer, too, as it is. The root never does, even where the
    /// base says what it is like: nothing that is done to a layer changes more of it than its time.
    fn carry_up(&mut self, path: &RelPath) {
        if path.is_root() || self.entries.contains_key(path) {
            return;
        }
        if let Some(below) = self.base.get(path) {
            let kind = EntryKind::Directory(DirectoryKind::Merged);
            let entry = Entry {
                kind,
                ..below.entry.clone()
            };
            self.insert(entry, FileBytes::Memory(Arc::from([])));
        }
    }

    /// Says when a directory changed last; the root has no time.
    pub(super) fn touch(&mut self, path: &RelPath, time: Timestamp) {
        self.carry_up(path);
        if let Some(known) = self.entries.get_mut(path) {
            known.entry.mtime = time;
        }
    }

    /// Gives a directory that is there other permission bits.
    pub(super) fn change_mode(&mut self, path: &RelPath, mode: u32) {
        self.carry_up(path);
        if let Some(known) = self.entries.get_mut(path) {
            known.entry.mode = mode;
        }
    }

    /// Something comes into the directory above a path, or goes from there.
    pub(super) fn touch_parent(&mut self, path: &RelPath, time: Timestamp) {
        if let Some(parent) = path.parent() {
            self.touch(&parent, time);
        }
    }

    /// Gives a file of this layer a further name, at a path whose parents exist. As with link(2) and what is
    /// done to the new name then, `entry` says whose all of its names are, and which time and mode they
    /// have.
    ///
    /// Symbolic links and special files get no further names, but others like them.
    pub(super) fn link(&mut self, target: &RelPath, entry: Entry) {
        let was = self.entries.get(&entry.path);
        if was.is_some_and(|was| !was.entry.is_directory()) && entry.path != *target {
            // It may be the name that has the bytes.
            self.names.remove(&entry.path, &mut self.entries);
            self.entries.remove(&entry.path);
        }
        let Some(known) = self.entries.get(target) else {
            return;
        };
        let file = match &known.entry.kind {
            EntryKind::HardLink { target } => target.clone(),
            EntryKind::File { .. } => target.clone(),
            kind => {
                let mut entry = Entry {
                    kind: kind.clone(),
                    ..entry
                };
                if let EntryKind::Symlink { .. } = entry.kind {
                    (entry.mode, entry.mtime) = (known.entry.mode, known.entry.mtime);
                }
                return self.put(entry, FileBytes::Memory(Arc::from([])));
            }
        };
        let mut xattrs = known.entry.xattrs.clone();
        xattrs.retain(|(name, _)| !entry.xattrs.iter().any(|(new, _)| new == name));
        xattrs.extend(entry.xattrs.iter().cloned());
        xattrs.sort();
        for name in self.names.of(&file) {
            if let Some(known) = self.entries.get_mut(&name) {
                known.entry = Entry {
                    path: known.entry.path.clone(),
                    kind: known.entry.kind.clone(),
                    xattrs: xattrs.clone(),
                    ..entry.clone()
                };
            }
        }
        let kind = EntryKind::HardLink { target: file };
        let entry = Entry {
            kind,
            xattrs,
            ..entry
        };
        self.put(entry, FileBytes::Memory(Arc::from([])));
    }

    /// Puts something at a path whose parents exist, in place of what was there.
    pub(super) fn put(&mut self, entry: Entry, bytes: FileBytes) {
        let is_in_current = |current: &RelPath| entry.path.is_directly_in(current);
        if !self.current.as_ref().is_some_and(is_in_current) {
            self.current = entry.path.parent().filter(|parent| !parent.is_root());
            let mut parent = self.current.clone();
            while let Some(path) = parent.filter(|path| !path.is_root()) {
                self.carry_up(&path);
                parent = path.parent();
            }
        }
        let was = self.get(&entry.path);
        let hides_directory = was.is_some_and(Entry::is_directory) && !entry.is_directory();
        if hides_directory {
            self.forget_below(&entry.path);
        }
        if entry.is_directory() && self.hides_below(&entry.path) {
            self.delete_below(&entry.path);
        }
        self.insert(entry, bytes);
    }

    /// Whether this layer has something at a path that hides a directory of the base.
    fn hides_below(&self, path: &RelPath) -> bool {
        let own = self.entries.get(path);
        let hides = own.is_some_and(|known| !known.entry.is_directory());
        let below = || self.base.get(path).map(|found| found.entry);
        hides && below().is_some_and(Entry::is_directory)
    }

    /// Deletes what the base has in a directory, which is about to show again.
    fn delete_below(&mut self, directory: &RelPath) {
        let below = self.base.subtree(directory);
        let paths = below.into_iter().map(|found| found.entry.path.clone());
        for path in paths.filter(|path| path.is_directly_in(directory)) {
            let entry = Entry {
                kind: EntryKind::Whiteout,
                ..Entry::directory(path, 0, Timestamp::default())
            };
            self.insert(entry, FileBytes::Memory(Arc::from([])));
        }
    }

    fn insert(&mut self, entry: Entry, bytes: FileBytes) {
        let path = entry.path.clone();
        if entry.is_directory() && !self.is_fresh(&path) && self.get(&path).is_none() {
            self.fresh = Some(path.clone());
        }
        if !self.names.are_single() {
            self.names.remove(&path, &mut self.entries);
        }
        if let EntryKind::HardLink { target } = &entry.kind {
            self.names.add(target.clone(), path.clone());
        }
        self.entries.insert(
            path,
            Box::new(PackEntry {
                entry,
                bytes,
                digest_is_known: true,
            }),
        );
    }

    fn forget_below(&mut self, path: &RelPath) {
        (self.fresh, self.current) = (None, None);
        let behind = (Bound::Excluded(path), Bound::Unbounded);
        let gone = self.entries.range::<RelPath, _>(behind);
        let gone = gone.map(|(below, _)| below);
        let gone = gone.take_while(|below| below.starts_with(path)).cloned();
        for below in gone.collect::<Vec<_>>() {
            self.names.remove(&below, &mut self.entries);
            self.entries.remove(&below);
        }
    }

    /// Whether nothing is below a directory, neither in the base nor here.
    pub(super) fn shows_nothing_below(&self, directory: &RelPath) -> bool {
        let below = (Bound::Excluded(directory), Bound::Unbounded);
        let next = self.entries.range::<RelPath, _>(below).next();
        let is_empty_here = next.is_none_or(|(path, _)| !path.starts_with(directory));
        let is_empty_below = self.is_fresh(directory) || self.base.layers().is_empty();
        is_empty_here && is_empty_below && self.transplant.is_none()
    }

    /// Puts all of a copy below a directory under which nothing is. Before anything else is done to this
    /// layer than to that directory, it must be settled.
    pub(super) fn put_below(&mut self, transplant: Transplant) {
        self.transplant = Some(transplant);
    }

    /// Makes what was put below a directory as open to changes as everything else.
    pub(super) fn settle(&mut self) {
        for PackEntry { entry, bytes, .. } in self.transplant.take().into_iter().flatten() {
            self.insert(entry, bytes);
        }
    }

    /// The entries, ready to be packed: what differs from the base, and the directories that it is in.
    pub(super) fn finish(mut self) -> impl ExactSizeIterator<Item = PackEntry> + Send + use<> {
        std::mem::take(&mut self.names).put_bytes_first(&mut self.entries);
        for path in self.redundant() {
            self.entries.remove(&path);
        }
        let after = match &self.transplant {
            None => BTreeMap::new(),
            Some(transplant) => {
                let behind = (Bound::Excluded(transplant.to()), Bound::Unbounded);
                let next = self.entries.range::<RelPath, _>(behind).next();
                match next.map(|(path, _)| path.clone()) {
                    Some(path) => self.entries.split_off(&path),
                    None => BTreeMap::new(),
                }
            }
        };
        InOrder {
            before: self.entries.into_values(),
            transplant: self.transplant,
            after: after.into_values(),
        }
    }

    /// Paths at which the base has the same, and nothing else in this layer needs them.
    fn redundant(&self) -> Vec<RelPath> {
        let named = self.files_with_other_names();
        let mut redundant = Vec::new();
        let mut kept: Option<&RelPath> = None;
        // From the end, so that what is in a directory comes right before it.
        for (path, known) in self.entries.iter().rev() {
            let file = match &known.entry.kind {
                EntryKind::HardLink { target } => target,
                _ => path,
            };
            let is_shown = match named.get(file) {
                Some(all_are_shown) => *all_are_shown,
                None => self.base.shows(&known.entry),
            };
            if is_shown && !kept.is_some_and(|kept| kept.starts_with(path)) {
                redundant.push(path.clone());
            } else {
                kept = Some(path);
            }
        }
        redundant
    }

    /// The files of this layer that have further names in it, and whether the base has the same under all of
    /// them: a name stays as long as another of its file does.
    fn files_with_other_names(&self) -> HashMap<&RelPath, bool> {
        let mut files = HashMap::new();
        for PackEntry { entry, .. } in self.entries.values().map(|known| &**known) {
            let EntryKind::HardLink { target } = &entry.kind else {
                continue;
            };
            let Some(file) = self.entries.get(target).map(|known| &known.entry) else {
                continue;
            };
            let as_file = Entry {
                kind: file.kind.clone(),
                ..entry.clone()
            };
            let are_shown = files
                .entry(&file.path)
                .or_insert_with(|| self.base.shows(file));
            *are_shown = *are_shown && self.base.shows(&as_file);
        }
        files
    }
}

/// A layer's entries in the order of their paths: what is below a directory follows it at once.
struct InOrder {
    before: IntoValues<RelPath, Box<PackEntry>>,
    transplant: Option<Transplant>,
    after: IntoValues<RelPath, Box<PackEntry>>,
}

impl Iterator for InOrder {
    type Item = PackEntry;

    fn next(&mut self) -> Option<PackEntry> {
        if let Some(entry) = self.before.next() {
            return Some(*entry);
        }
        let transplanted = self.transplant.as_mut().and_then(Transplant::next);
        transplanted.or_else(|| self.after.next().map(|entry| *entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let transplanted = self.transplant.as_ref().map_or(0, Transplant::len);
        let left = self.before.len() + transplanted + self.after.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for InOrder {}

/// Linux takes no longer paths and names (PATH_MAX and NAME_MAX of limits.h), so no layer should have
/// any.
fn check_length(path: &RelPath) -> Result<(), ExecutorError> {
    let too_long = path.as_bytes().len() >= 4096 || path.components().any(|name| name.len() > 255);
    if too_long {
        Err(ExecutorError::LongPath(path.as_bytes().len()))
    } else {
        Ok(())
    }
}
