//! What tells one layer's tree from another's.

use kiln_solver::RelPath;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, EntryKind};
use super::layer_tree::LayerTree;

/// A path at which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// The path.
    pub path: RelPath,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How two trees differ at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Only the later one has something there.
    Added,
    /// Only the earlier one has something there.
    Removed,
    /// A file's bytes, a link's target, or what kind of thing is there.
    Content,
    /// Mode, owner or extended attributes alone.
    Metadata,
}

/// Where two trees differ, in path order. Times do not count.
pub fn changes(before: &LayerTree, after: &LayerTree) -> Vec<PathChange> {
    let mut found = Vec::new();
    let (mut old, mut new) = (before.entries().iter(), after.entries().iter());
    let (mut left, mut right) = (old.next(), new.next());
    loop {
        let (path, kind) = match (left, right) {
            (None, None) => return found,
            (Some(a), Some(b)) if a.path == b.path => {
                (left, right) = (old.next(), new.next());
                match change(a, b) {
                    Some(kind) => (&b.path, kind),
                    None => continue,
                }
            }
            (Some(a), b) if b.is_none_or(|b| a.path < b.path) => {
                left = old.next();
                (&a.path, ChangeKind::Removed)
            }
            (_, Some(b)) => {
                right = new.next();
                (&b.path, ChangeKind::Added)
            }
            (Some(_), None) => unreachable!("what has no counterpart was removed"),
        };
        found.push(PathChange {
            path: path.clone(),
            kind,
        });
    }
}

fn change(a: &Entry, b: &Entry) -> Option<ChangeKind> {
    let is_same = match (&a.kind, &b.kind) {
        (
            EntryKind::File { size, digest, .. },
            EntryKind::File {
                size: other_size,
                digest: other_digest,
                ..
            },
        ) => (size, digest) == (other_size, other_digest),
        (a, b) => a == b,
    };
    if !is_same {
        return Some(ChangeKind::Content);
    }
    let metadata = |entry: &Entry| (entry.mode, entry.uid, entry.gid);
    let differs = metadata(a) != metadata(b) || a.xattrs != b.xattrs;
    differs.then_some(ChangeKind::Metadata)
}

#[cfg(test)]
mod tests {
    use kiln_solver::ContentDigest;

    use super::*;
    use crate::tree::Timestamp;

    fn file(path: &str, content: u8) -> Entry {
        Entry {
            path: RelPath::parse(path.as_bytes()).expect("a path"),
            kind: EntryKind::File {
                size: 1,
                digest: ContentDigest::new([content; 32]),
                offset: 0,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            xattrs: Vec::new(),
        }
    }

    fn compared(before: Vec<Entry>, after: Vec<Entry>) -> Vec<(String, ChangeKind)> {
        let found = changes(&LayerTree::new(before), &LayerTree::new(after));
        let found = found.into_iter();
        found
            .map(|change| (change.path.to_string(), change.kind))
            .collect()
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let mut executable = file("mode", 1);
        executable.mode = 0o755;
        let mut touched = file("same", 1);
        touched.mtime.seconds = 7;
        let before = vec![
            file("gone", 1),
            file("mode", 1),
            file("same", 1),
            file("text", 1),
        ];
        let after = vec![executable, file("new", 1), touched, file("text", 2)];
        let expected = [
            ("/gone", ChangeKind::Removed),
            ("/mode", ChangeKind::Metadata),
            ("/new", ChangeKind::Added),
            ("/text", ChangeKind::Content),
        ];
        let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
        assert_eq!(compared(before, after), expected);
    }

    #[test]
    fn the_longer_tree_is_read_to_its_end() {
        let many = || vec![file("a", 1), file("b", 1), file("c", 1)];
        let counted = |found: Vec<(String, ChangeKind)>, kind| {
            found.iter().filter(|(_, other)| *other == kind).count()
        };
        assert_eq!(
            counted(compared(many(), Vec::new()), ChangeKind::Removed),
            3
        );
        assert_eq!(counted(compared(Vec::new(), many()), ChangeKind::Added), 3);
    }
}
