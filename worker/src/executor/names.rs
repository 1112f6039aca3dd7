//! Files of a layer in the making that have several names: hard links.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kiln_solver::RelPath;

use crate::layer::{FileBytes, PackEntry};
use crate::tree::EntryKind;

/// A layer in the making, by path.
pub(super) type Entries = BTreeMap<RelPath, Box<PackEntry>>;

/// The further names of files, by the name that has the bytes.
#[derive(Default)]
pub(super) struct Names {
    further: HashMap<RelPath, BTreeSet<RelPath>>,
}

impl Names {
    /// Whether each file has one name.
    pub(super) fn are_single(&self) -> bool {
        self.further.is_empty()
    }

    /// Notes that `name` is a hard link to `file`.
    pub(super) fn add(&mut self, file: RelPath, name: RelPath) {
        self.further.entry(file).or_default().insert(name);
    }

    /// All names of a file, that with the bytes first.
    pub(super) fn of(&self, file: &RelPath) -> Vec<RelPath> {
        let further = self.further.get(file).into_iter().flatten();
        std::iter::once(file).chain(further).cloned().collect()
    }

    /// Takes a name from its file, as unlink(2) does. If it is the one that has the bytes, the next one gets
    /// them: what is put at that name afterwards is another file.
    pub(super) fn remove(&mut self, name: &RelPath, entries: &mut Entries) {
        let Some(known) = entries.get(name) else {
            return;
        };
        if let EntryKind::HardLink { target } = &known.entry.kind {
            if let Some(further) = self.further.get_mut(target) {
                further.remove(name);
                if further.is_empty() {
                    self.further.remove(target);
                }
            }
        } else if let Some(mut names) = self.further.remove(name)
            && let Some(first) = names.pop_first()
        {
            give_bytes(name, &first, &names, entries);
            if !names.is_empty() {
                self.further.insert(first, names);
            }
        }
    }

    /// Lets the first name of each file in path order have the bytes: whoever unpacks a layer must meet them
    /// before the links to them.
    pub(super) fn put_bytes_first(self, entries: &mut Entries) {
        for (file, mut names) in self.further {
            if names.first().is_some_and(|first| *first < file)
                && let Some(first) = names.pop_first()
            {
                names.insert(file.clone());
                give_bytes(&file, &first, &names, entries);
            }
        }
    }
}

/// Gives the bytes of a file to another of its names, and lets the `others` be links to that.
fn give_bytes(from: &RelPath, to: &RelPath, others: &BTreeSet<RelPath>, entries: &mut Entries) {
    let Some(file) = entries.get(from) else {
        return;
    };
    let (kind, bytes) = (file.entry.kind.clone(), file.bytes.clone());
    let digest_is_known = file.digest_is_known;
    if let Some(new) = entries.get_mut(to) {
        (new.entry.kind, new.bytes) = (kind, bytes);
        new.digest_is_known = digest_is_known;
    }
    for name in others {
        if let Some(other) = entries.get_mut(name) {
            other.entry.kind = EntryKind::HardLink { target: to.clone() };
            other.bytes = FileBytes::Memory(Arc::from([]));
        }
    }
}
