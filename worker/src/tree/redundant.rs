//! What a layer can do without, because the layers below show it anyway.

use std::collections::HashSet;

use super::entry::{DirectoryKind, Entry, EntryKind};

/// Which entries a layer needs, of entries in path order. Those that `is_as_below` says of may go, unless
/// something that stays is in them or names them; it is not asked about what is in an opaque directory,
/// where nothing of the layers below is seen.
pub fn needed<E>(
    entries: &[Entry],
    mut is_as_below: impl FnMut(&Entry) -> Result<bool, E>,
) -> Result<Vec<bool>, E> {
    let named = entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::HardLink { target } => Some(target),
        _ => None,
    });
    let named: HashSet<_> = named.collect();
    let mut needed = in_opaque_directories(entries);
    let mut kept: Option<&Entry> = None;
    // From the end, so that what is in a directory comes right before it.
    for (index, entry) in entries.iter().enumerate().rev() {
        needed[index] = needed[index]
            || kept.is_some_and(|kept| kept.path.starts_with(&entry.path))
            || named.contains(&entry.path)
            || !is_as_below(entry)?;
        if needed[index] {
            kept = Some(entry);
        }
    }
    Ok(needed)
}

fn in_opaque_directories(entries: &[Entry]) -> Vec<bool> {
    let mut opaque: Option<&Entry> = None;
    let is_inside = entries.iter().map(|entry| {
        let is_inside = opaque.is_some_and(|opaque| entry.path.starts_with(&opaque.path));
        if !is_inside && entry.kind == EntryKind::Directory(DirectoryKind::Opaque) {
            opaque = Some(entry);
        }
        is_inside
    });
    is_inside.collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kiln_solver::RelPath;

    use super::*;
    use crate::tree::Timestamp;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let path = RelPath::parse(path.as_bytes()).expect("a path");
        let time = Timestamp::default();
        Entry {
            kind,
            ..Entry::directory(path, 0o755, time)
        }
    }

    #[test]
    fn what_is_below_too_may_go_unless_something_needs_it() {
        use DirectoryKind::{Merged, Opaque};
        let link = EntryKind::HardLink {
            target: RelPath::parse(b"named").expect("a path"),
        };
        let entries = [
            entry("emptied", EntryKind::Directory(Merged)),
            entry("emptied/same", EntryKind::Fifo),
            entry("hides", EntryKind::Directory(Opaque)),
            entry("hides/in", EntryKind::Directory(Merged)),
            entry("hides/in/same", EntryKind::Fifo),
            entry("leads", EntryKind::Directory(Merged)),
            entry("leads/new", EntryKind::Fifo),
            entry("named", EntryKind::Fifo),
            entry("other-name", link),
            entry("same", EntryKind::Fifo),
        ];
        let is_new = |entry: &Entry| {
            let path = entry.path.to_string();
            path.ends_with("new") || path.ends_with("hides") || path == "/other-name"
        };
        let needed = needed(&entries, |entry| Ok::<_, Infallible>(!is_new(entry)));
        let Ok(needed) = needed;
        let kept: Vec<String> = entries
            .iter()
            .zip(needed)
            .filter(|(_, needed)| *needed)
            .map(|(entry, _)| entry.path.to_string())
            .collect();
        let expected = [
            "/hides",
            "/hides/in",
            "/hides/in/same",
            "/leads",
            "/leads/new",
            "/named",
            "/other-name",
        ];
        assert_eq!(kept, expected);
    }
}
