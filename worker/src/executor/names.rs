//! Files of a layer in the making that have several names: hard links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_solver::RelPath;

use crate::layer::{FileBytes, PackEntry};
use crate::tree::EntryKind;

/// A layer in the making, by path.
pub(super) type Entries = BTreeMap<RelPath, Box<PackEntry>>;

/// The further names of files, by the name that has the bytes.
#[derive(Default)]
pub(super) struct Names {
    further: BTreeMap<RelPath, BTreeSet<RelPath>>,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::builder::LayerBuilder;
    use super::*;
    use crate::layer::pack;
    use crate::tree::{Entry, Timestamp, View};

    const NAMES: [&str; 5] = ["a", "b/c", "b/d", "m", "z/a"];

    /// What is done to a layer.
    #[derive(Debug, Clone)]
    enum Act {
        /// A new file, whose one byte is its number.
        Put(usize),
        /// A name for the file that has another.
        Link { from: usize, to: usize },
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let name = || 0..NAMES.len();
        let act = prop_oneof![
            name().prop_map(Act::Put),
            (name(), name()).prop_map(|(from, to)| Act::Link { from, to }),
        ];
        proptest::collection::vec(act, 1..20)
    }

    fn path(name: usize) -> RelPath {
        RelPath::parse(NAMES[name].as_bytes()).expect("a path")
    }

    fn file(path: RelPath, content: u8) -> (Entry, FileBytes) {
        let digest = kiln_solver::ContentDigest::new(*blake3::hash(&[content]).as_bytes());
        let kind = EntryKind::File {
            size: 1,
            digest,
            offset: 0,
        };
        let entry = Entry {
            kind,
            ..Entry::directory(path, 0o644, Timestamp::default())
        };
        (entry, FileBytes::Memory(Arc::from([content])))
    }

    proptest! {
        /// As in a file system: whatever is put and linked in whatever order, each name shows what it should,
        /// names of one file are of one file, and the layer can be packed.
        #[test]
        fn names_are_as_in_a_file_system(acts in acts()) {
            let base = View::default();
            let mut layer = LayerBuilder::new(&base);
            let mut expected: BTreeMap<RelPath, u8> = BTreeMap::new();
            for (number, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Put(name) => {
                        let number = u8::try_from(number).expect("few");
                        let (entry, bytes) = file(path(name), number);
                        layer.put(entry, bytes);
                        expected.insert(path(name), number);
                    }
                    Act::Link { from, to } => {
                        let Some(number) = expected.get(&path(from)).copied() else {
                            continue;
                        };
                        if from != to {
                            layer.link(&path(from), file(path(to), number).0);
                            expected.insert(path(to), number);
                        }
                    }
                }
            }
            let entries: Vec<PackEntry> = layer.finish().collect();
            let mut contents = BTreeMap::new();
            let mut files: BTreeMap<RelPath, Vec<u8>> = BTreeMap::new();
            for PackEntry { entry, bytes, .. } in &entries {
                let content = match &entry.kind {
                    EntryKind::HardLink { target } => files[target].clone(),
                    _ => {
                        let mut content = Vec::new();
                        let mut reader = bytes.open(1).expect("memory");
                        std::io::Read::read_to_end(&mut reader, &mut content).expect("memory");
                        files.insert(entry.path.clone(), content.clone());
                        content
                    }
                };
                contents.insert(entry.path.clone(), content[0]);
            }
            prop_assert_eq!(&contents, &expected);
            let distinct: BTreeSet<u8> = expected.values().copied().collect();
            prop_assert_eq!(files.len(), distinct.len());
            prop_assert!(pack(entries.into_iter(), &mut std::io::sink()).is_ok());
        }
    }
}
