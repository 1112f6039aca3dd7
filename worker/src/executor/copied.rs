//! One entry on its way from a source to a layer: its path, its metadata, and which of the names of
//! a file becomes the file.

use std::collections::{HashMap, HashSet};

use kiln_solver::RelPath;
use kiln_solver::op::ModeChange;

use super::error::ExecutorError;
use super::mode;
use super::output::Files;
use super::owner::Ids;
use crate::tree::{DirectoryKind, Entry, EntryKind, Found};

/// An entry of a source as it stands at another path.
pub(super) fn copied(source: &Entry, path: RelPath) -> Entry {
    let mut entry = Entry {
        path,
        ..source.clone()
    };
    if entry.is_directory() {
        entry.kind = EntryKind::Directory(DirectoryKind::Merged);
    }
    entry
}

/// What `--chown` and `--chmod` change of everything that is copied.
#[derive(Debug, Clone, Default)]
pub(super) struct MetadataChange {
    /// `--chown`, resolved.
    pub(super) owner: Option<Ids>,
    /// `--chmod`.
    pub(super) mode: Option<ModeChange>,
}

impl MetadataChange {
    /// An error if the mode is none; whether it is does not depend on what it is applied to.
    pub(super) fn check(&self) -> Result<(), ExecutorError> {
        match &self.mode {
            Some(change) => mode::apply(change, 0, false).map(drop),
            None => Ok(()),
        }
    }

    /// The entry as it will be. Symbolic links keep their mode.
    pub(super) fn apply(&self, mut entry: Entry) -> Result<Entry, ExecutorError> {
        if let Some(Ids { uid, gid }) = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(change) = &self.mode
            && !matches!(entry.kind, EntryKind::Symlink { .. })
        {
            entry.mode = mode::apply(change, entry.mode, entry.is_directory())?;
        }
        Ok(entry)
    }
}

/// A file that hard links name: its layer, since a link names what its own layer has there, and its
/// path.
type LinkTarget = (usize, RelPath);

/// Where files that have several names went.
#[derive(Default)]
pub(super) struct Links {
    /// The files that hard links name; few trees have any.
    targets: HashSet<LinkTarget>,
    placed: HashMap<LinkTarget, RelPath>,
}

impl Links {
    /// Looks for hard links among what is copied.
    pub(super) fn among<'v>(entries: impl Iterator<Item = Found<'v>>) -> Self {
        let targets = entries.filter_map(|found| match &found.entry.kind {
            EntryKind::HardLink { target } => Some((found.layer, target.clone())),
            _ => None,
        });
        Self {
            targets: targets.collect(),
            placed: HashMap::new(),
        }
    }

    /// Whether each file has one name.
    pub(super) fn are_none(&self) -> bool {
        self.targets.is_empty()
    }

    /// Where the bytes of what goes to `path` are, and what it is there, if not what it was: the first
    /// of the names that are copied becomes the file.
    pub(super) fn place<'f>(
        &mut self,
        files: &'f Files,
        found: Found<'f>,
        path: &RelPath,
    ) -> Result<(Found<'f>, Option<EntryKind>), ExecutorError> {
        let target = match &found.entry.kind {
            EntryKind::HardLink { target } => target,
            EntryKind::File { .. } => &found.entry.path,
            _ => return Ok((found, None)),
        };
        if self.targets.is_empty() && matches!(found.entry.kind, EntryKind::File { .. }) {
            return Ok((found, None));
        }
        let target = (found.layer, target.clone());
        if let Some(first) = self.placed.get(&target) {
            let target = first.clone();
            return Ok((found, Some(EntryKind::HardLink { target })));
        }
        if !self.targets.contains(&target) {
            return Ok((found, None));
        }
        let (layer, name) = &target;
        let file = files.view.in_layer(*layer, name);
        let file = file.ok_or_else(|| ExecutorError::NotFound(name.clone()))?;
        self.placed.insert(target, path.clone());
        Ok((file, Some(file.entry.kind.clone())))
    }
}
