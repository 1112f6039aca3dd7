//! COPY and ADD: from what is selected to entries of a layer, with the rules of `cp -a` as BuildKit
//! applies them.

use std::sync::Arc;

use kiln_solver::op::{Copy, CopySource, ModeChange, Unpack};
use kiln_solver::{ContentDigest, RelPath};

use super::archive;
use super::builder::{LayerBuilder, NewDirectory};
use super::copied::{Links, MetadataChange, copied};
use super::error::ExecutorError;
use super::output::Files;
use super::pivot::{Pivoted, select_with_parents};
use super::select::{Selected, select};
use super::transplant::Transplant;
use crate::layer::FileBytes;
use crate::store::Store;
use crate::tree::{Entry, EntryKind, Found, Timestamp, Xattrs};

/// Mode of a file whose content stands in the Dockerfile.
const INLINE_MODE: u32 = 0o644;

/// Everything that a copy needs beside the layer it goes into.
pub(super) struct Copying<'c> {
    pub(super) store: &'c Store,
    pub(super) copy: &'c Copy,
    /// Where paths come from.
    pub(super) files: &'c Arc<Files>,
    /// What `--chown` and `--chmod` make of them.
    pub(super) change: MetadataChange,
    /// The time of what is made new.
    pub(super) now: Timestamp,
    /// How much an archive may become, in bytes.
    pub(super) most_unpacked: Option<u64>,
}

impl Copying<'_> {
    /// Performs the copy.
    pub(super) fn run(&self, layer: &mut LayerBuilder<'_>) -> Result<(), ExecutorError> {
        let files = self.files;
        if self.copy.keep_parents {
            for Pivoted { selected, .. } in
                select_with_parents(&files.view, &self.copy.selection())?
            {
                match selected.is_directory() {
                    true => self.copy_with_parents(files, &selected, layer)?,
                    false => self.copy_selected(files, &selected, layer)?,
                }
            }
        } else {
            for selected in select(&files.view, &self.copy.selection())? {
                layer.settle();
                self.copy_selected(files, &selected, layer)?;
            }
        }
        for source in &self.copy.sources {
            if let CopySource::Inline { name, data } = source {
                layer.settle();
                self.copy_inline(name, data, layer)?;
            }
        }
        Ok(())
    }

    fn copy_selected(
        &self,
        files: &Files,
        selected: &Selected<'_>,
        layer: &mut LayerBuilder<'_>,
    ) -> Result<(), ExecutorError> {
        if !selected.is_directory()
            && self.copy.unpack == Unpack::Archives
            && let Some(found) = selected.entries.first()
            && archive::unpack(self, files, *found, layer)?
        {
            return Ok(());
        }
        let target = self.target(selected.is_directory(), &selected.name, layer)?;
        if let Some(transplant) = self.transplant(selected, &target, layer)? {
            layer.put_below(transplant);
            self.set_time(files, selected, &target, layer);
            return Ok(());
        }
        let mut links = Links::among(selected.entries.iter().copied());
        for found in &selected.entries {
            let below = found
                .entry
                .path
                .strip_prefix(&selected.path)
                .unwrap_or_default();
            if !(below.is_root() && selected.is_directory()) {
                if !self.copy.exclude.is_empty() {
                    self.copy_parents(files, &selected.path, &below, &target, layer)?;
                }
                self.put(files, *found, target.join(&below), &mut links, layer)?;
            }
        }
        self.set_time(files, selected, &target, layer);
        Ok(())
    }

    /// A directory that goes whole to where nothing is needs no look at each of its entries now.
    fn transplant(
        &self,
        selected: &Selected<'_>,
        target: &RelPath,
        layer: &LayerBuilder<'_>,
    ) -> Result<Option<Transplant>, ExecutorError> {
        let is_whole = selected.is_directory() && self.copy.exclude.is_empty();
        if !is_whole || !layer.shows_nothing_below(target) {
            return Ok(None);
        }
        self.change.check()?;
        Ok(Transplant::new(
            self.files,
            selected,
            target.clone(),
            self.change.clone(),
        ))
    }

    /// A directory as destination takes the time of the one that was copied, and nothing else of it.
    /// The directory that a file was put in changed just now.
    fn set_time(
        &self,
        files: &Files,
        selected: &Selected<'_>,
        target: &RelPath,
        layer: &mut LayerBuilder<'_>,
    ) {
        if !selected.is_directory() {
            return layer.touch_parent(target, self.now);
        }
        let modified = files.modified(&selected.path);
        layer.touch(target, modified.unwrap_or(self.now));
    }

    /// Where a source goes: into the destination if that is a directory, else to its very path. The
    /// parents are made.
    fn target(
        &self,
        source_is_directory: bool,
        name: &[u8],
        layer: &mut LayerBuilder<'_>,
    ) -> Result<RelPath, ExecutorError> {
        let destination = layer.resolve(&self.copy.destination)?;
        if self.copy.destination_is_directory || source_is_directory {
            layer.make_directories(&destination, self.new_directory())?;
        } else if let Some(parent) = destination.parent() {
            layer.make_directories(&parent, self.new_directory())?;
        }
        if source_is_directory {
            return Ok(destination);
        }
        if layer.is_directory(&destination) && !name.is_empty() {
            return Ok(destination.join_name(name));
        }
        Ok(destination)
    }

    /// `--parents`: everything that a pattern matches, with the directories that lead to it from the
    /// pivot on.
    fn copy_with_parents(
        &self,
        files: &Files,
        selected: &Selected<'_>,
        layer: &mut LayerBuilder<'_>,
    ) -> Result<(), ExecutorError> {
        let root = &selected.path;
        let destination = layer.resolve(&self.copy.destination)?;
        layer.make_directories(&destination, self.new_directory())?;
        self.set_time(files, selected, &destination, layer);
        let mut links = Links::among(selected.entries.iter().copied());
        for found in &selected.entries {
            let below = found.entry.path.strip_prefix(root).unwrap_or_default();
            if !below.is_root() {
                self.copy_parents(files, root, &below, &destination, layer)?;
                self.put(files, *found, destination.join(&below), &mut links, layer)?;
            }
        }
        Ok(())
    }

    /// Makes the directories between a destination and something below it like those of the source.
    /// Those that are there keep all but their mode.
    fn copy_parents(
        &self,
        files: &Files,
        root: &RelPath,
        below: &RelPath,
        destination: &RelPath,
        layer: &mut LayerBuilder<'_>,
    ) -> Result<(), ExecutorError> {
        let mut at = RelPath::root();
        for name in below.parent().unwrap_or_default().components() {
            at = at.join_name(name);
            let target = destination.join(&at);
            let Some(found) = files.view.get(&root.join(&at)) else {
                continue;
            };
            if layer.get(&target).is_none() {
                self.put(files, found, target.clone(), &mut Links::default(), layer)?;
                layer.touch(&target, self.now);
            } else if !layer.has(&target) {
                layer.change_mode(&target, found.entry.mode);
            }
        }
        Ok(())
    }

    fn copy_inline(
        &self,
        name: &str,
        data: &Arc<[u8]>,
        layer: &mut LayerBuilder<'_>,
    ) -> Result<(), ExecutorError> {
        let path = RelPath::resolve(&RelPath::root(), name);
        let target = self.target(false, path.file_name().unwrap_or_default(), layer)?;
        let digest = ContentDigest::new(*blake3::hash(data).as_bytes());
        let entry = Entry {
            path: target,
            kind: EntryKind::File {
                size: data.len() as u64,
                digest,
                offset: 0,
            },
            mode: INLINE_MODE,
            uid: 0,
            gid: 0,
            mtime: self.now,
            xattrs: Xattrs::new(),
        };
        let entry = self.change.apply(entry)?;
        self.check_target(&entry, layer)?;
        layer.touch_parent(&entry.path, self.now);
        layer.put(entry, FileBytes::Memory(Arc::clone(data)));
        Ok(())
    }

    /// Puts one entry at a path. `links` knows where files that have several names went.
    pub(super) fn put(
        &self,
        files: &Files,
        found: Found<'_>,
        path: RelPath,
        links: &mut Links,
        layer: &mut LayerBuilder<'_>,
    ) -> Result<(), ExecutorError> {
        let (file, kind) = links.place(files, found, &path)?;
        let mut entry = copied(found.entry, path);
        if let Some(kind) = kind {
            entry.kind = kind;
        }
        let entry = self.change.apply(entry)?;
        self.check_target(&entry, layer)?;
        layer.put(entry, files.bytes(file));
        Ok(())
    }

    fn check_target(&self, entry: &Entry, layer: &LayerBuilder<'_>) -> Result<(), ExecutorError> {
        match layer.get(&entry.path) {
            Some(was) if was.is_directory() && !entry.is_directory() => {
                Err(ExecutorError::IsADirectory(entry.path.clone()))
            }
            Some(was) if !was.is_directory() && entry.is_directory() => {
                Err(ExecutorError::NotADirectory(entry.path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Parents that are made get the owner of `--chown` and the mode of an octal `--chmod`, but not
    /// its special bits.
    pub(super) fn new_directory(&self) -> NewDirectory {
        let mode = match &self.change.mode {
            Some(ModeChange::Octal(bits)) => bits & 0o777,
            Some(ModeChange::Symbolic(_)) | None => 0o755,
        };
        NewDirectory {
            mode,
            owner: self.change.owner,
            mtime: self.now,
        }
    }
}
