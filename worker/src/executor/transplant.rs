//! A directory that is copied whole to where nothing was: its entries are made one by one when they
//! are packed, since those of 100,000 files would fill the memory.

use std::sync::Arc;

use kiln_solver::RelPath;

use super::copied::{Links, MetadataChange, copied};
use super::output::Files;
use super::select::Selected;
use crate::layer::PackEntry;

/// Everything below a directory of a source, and where it goes. Yields what is to be packed, in path
/// order.
pub(super) struct Transplant {
    files: Arc<Files>,
    from: RelPath,
    to: RelPath,
    change: MetadataChange,
    /// Layer and position in it.
    entries: std::vec::IntoIter<(u32, u32)>,
}

impl Transplant {
    /// Takes all that a selected directory holds to a directory `to`; `None` if it has hard links: which
    /// of a file's names comes first must be known before. The change must have been checked.
    pub(super) fn new(
        files: &Arc<Files>,
        selected: &Selected<'_>,
        to: RelPath,
        change: MetadataChange,
    ) -> Option<Self> {
        let below = || {
            let entries = selected.entries.iter().copied();
            entries.filter(|found| found.entry.path != selected.path)
        };
        if !Links::among(below()).are_none() {
            return None;
        }
        let position = |found: crate::tree::Found<'_>| {
            let layer = u32::try_from(found.layer).ok()?;
            Some((layer, u32::try_from(found.index).ok()?))
        };
        let entries: Vec<(u32, u32)> = below().map(position).collect::<Option<_>>()?;
        Some(Self {
            files: Arc::clone(files),
            from: selected.path.clone(),
            to,
            change,
            entries: entries.into_iter(),
        })
    }

    /// The directory that everything goes into.
    pub(super) fn to(&self) -> &RelPath {
        &self.to
    }
}

impl Iterator for Transplant {
    type Item = PackEntry;

    fn next(&mut self) -> Option<PackEntry> {
        let (layer, index) = self.entries.next()?;
        let found = self.files.view.at(layer as usize, index as usize);
        let below = found.entry.path.strip_prefix(&self.from);
        let path = self.to.join(&below.unwrap_or_default());
        let entry = self.change.apply(copied(found.entry, path));
        Some(PackEntry {
            entry: entry.expect("a change that was checked can be applied"),
            bytes: self.files.bytes(found),
            digest_is_known: true,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Transplant {}
