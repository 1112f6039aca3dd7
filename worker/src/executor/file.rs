//! File operations: COPY, ADD and WORKDIR, from inputs to a packed layer.

use std::path::Path;
use std::sync::Arc;

use kiln_solver::op::{Copy, CopySource, FileAction, FileOp, InputIndex, Owner, Reads, Unpack};
use kiln_solver::{DiffId, RelPath, Step};

use super::Worker;
use super::builder::{LayerBuilder, NewDirectory};
use super::copied::MetadataChange;
use super::copy::Copying;
use super::error::ExecutorError;
use super::layers;
use super::output::{Files, Output, open_layers};
use super::owner::{Ids, number, resolve_owner};
use super::reuse::EarlierLayer;
use crate::context::Context;
use crate::io_error::AtPath;
use crate::layer::{
    Ahead, CommitError, PackEntry, PackError, commit_layer, commit_layer_of_result,
};
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::store::Store;
use crate::tree::{Entry, Timestamp, View};

impl Worker {
    /// Performs a file operation and returns its base with the new layer.
    pub(super) async fn change_files(
        &self,
        operation: &FileOp,
        inputs: &[Output],
        step: &Step<Output>,
    ) -> Result<Snapshot, ExecutorError> {
        self.fetch_inputs(inputs, &step.reporter).await?;
        let base = match operation.base {
            Some(index) => Arc::clone(layers::snapshot(&inputs[index.0])?),
            None => Arc::default(),
        };
        let (operation, inputs) = (operation.clone(), inputs.to_vec());
        let earlier = step.earlier.clone();
        let ahead = self.foresight.ahead(step.vertex).cloned();
        let most_unpacked = self.bounds.disk;
        self.blocking(move |store| {
            let change = Change {
                store,
                operation: &operation,
                inputs: &inputs,
                base: &base,
                most_unpacked,
            };
            let relatives = change.relatives(earlier.as_ref());
            let earlier = EarlierLayer::open(store, earlier.as_ref());
            let layer = change.layer(earlier, ahead.as_deref())?;
            store.layers().relate(&layer.diff_id, relatives.into_iter());
            Ok(base.with(layer))
        })
        .await
    }
}

/// One file operation under way.
struct Change<'c> {
    store: &'c Store,
    operation: &'c FileOp,
    inputs: &'c [Output],
    base: &'c Snapshot,
    /// How much each archive may become, in bytes.
    most_unpacked: Option<u64>,
}

impl Change<'_> {
    /// Makes the layer, with bytes of an earlier one where they are the same. If those turn out to be
    /// damaged, it is made without them.
    fn layer(
        &self,
        earlier: Option<EarlierLayer>,
        ahead: Option<&Ahead>,
    ) -> Result<SnapshotLayer, ExecutorError> {
        let entries = self.entries()?;
        let Some(mut earlier) = earlier else {
            return Ok(commit_layer_of_result(self.store, entries, ahead)?);
        };
        let entries = entries.map(move |mut entry| {
            earlier.provide(&mut entry);
            entry
        });
        match commit_layer_of_result(self.store, entries, ahead) {
            Err(CommitError::Pack(PackError::Changed(_) | PackError::Read(_))) => {
                Ok(commit_layer_of_result(self.store, self.entries()?, ahead)?)
            }
            layer => Ok(layer?),
        }
    }

    fn entries(
        &self,
    ) -> Result<impl ExactSizeIterator<Item = PackEntry> + Send + use<>, ExecutorError> {
        let base = layers::view(self.store, self.base)?;
        let mut layer = LayerBuilder::new(&base);
        let now = Timestamp::now();
        for action in &self.operation.actions {
            layer.settle();
            match action {
                FileAction::MakeDirectory {
                    path,
                    mode,
                    owner,
                    time,
                } => {
                    let owner = self.owner(owner.as_ref(), &base)?;
                    let path = layer.resolve(path)?;
                    layer.make_directories(
                        &path,
                        NewDirectory {
                            mode: *mode,
                            owner,
                            mtime: time.map_or(now, Timestamp::of_seconds),
                        },
                    )?;
                }
                FileAction::Copy(copy) => {
                    let files = match copy.from {
                        Some(from) => self.files(from, copy)?,
                        // A stage without anything in it, or a copy of inline files only.
                        None => Files::of_layers(View::default(), Vec::new()),
                    };
                    let change = MetadataChange {
                        owner: self.owner(copy.owner.as_ref(), &base)?,
                        mode: copy.mode.clone(),
                    };
                    let copying = Copying {
                        store: self.store,
                        copy,
                        files: &Arc::new(files),
                        change,
                        now,
                        most_unpacked: self.most_unpacked,
                    };
                    copying.run(&mut layer)?;
                }
            }
        }
        Ok(layer.finish())
    }

    /// Layers that may have the same files: what an earlier step made, and what is copied from.
    fn relatives(&self, earlier: Option<&Output>) -> Vec<DiffId> {
        let top = |output: &Output| match output {
            Output::Snapshot(snapshot) => snapshot.diff_ids().last().copied(),
            Output::Context(_) => None,
        };
        let copies = self
            .operation
            .actions
            .iter()
            .filter_map(|action| match action {
                FileAction::Copy(copy) => copy.from,
                FileAction::MakeDirectory { .. } => None,
            });
        let copied = copies.flat_map(|InputIndex(index)| match &self.inputs[index] {
            Output::Snapshot(snapshot) => snapshot.diff_ids(),
            Output::Context(_) => Vec::new(),
        });
        // The upper layers of a stage hold what was made in it.
        let mut copied: Vec<DiffId> = copied.collect();
        copied.reverse();
        earlier.and_then(top).into_iter().chain(copied).collect()
    }

    fn files(&self, from: InputIndex, copy: &Copy) -> Result<Files, ExecutorError> {
        match &self.inputs[from.0] {
            Output::Context(context) => {
                Files::of_context(context, &Reads::Selection(copy.selection()))
            }
            Output::Snapshot(snapshot) => {
                let view = layers::view(self.store, snapshot)?;
                open_layers(self.store, snapshot, view)
            }
        }
    }

    fn owner(&self, owner: Option<&Owner>, base: &View) -> Result<Option<Ids>, ExecutorError> {
        let Some(owner) = owner else { return Ok(None) };
        let mut names = owner.group.iter().chain([&owner.user]);
        let files = match names.find(|name| number(name).is_none()) {
            None => Files::of_layers(View::default(), Vec::new()),
            Some(name) if self.operation.base.is_none() => {
                return Err(ExecutorError::NoAccounts(name.clone()));
            }
            Some(_) => open_layers(self.store, self.base, base.clone())?,
        };
        resolve_owner(owner, &files).map(Some)
    }
}

/// What an input has at a path, links followed. Nobody said what the root is like.
pub(super) fn entry_of(
    store: &Store,
    inputs: &[Output],
    from: InputIndex,
    source: &RelPath,
) -> Result<Entry, ExecutorError> {
    let copy = copy_of(from, source);
    let base = Snapshot::default();
    let operation = FileOp {
        base: None,
        actions: Vec::new(),
    };
    let change = Change {
        store,
        operation: &operation,
        inputs,
        base: &base,
        most_unpacked: None,
    };
    let files = change.files(from, &copy)?;
    let not_found = || ExecutorError::NotFound(source.clone());
    let resolved = files.view.resolve(source).ok_or_else(not_found)?;
    match files.view.get(&resolved) {
        Some(found) => Ok(found.entry.clone()),
        None if resolved.is_root() => Ok(Entry::directory(resolved, 0o755, Timestamp::now())),
        None => Err(not_found()),
    }
}

/// A layer of its own with what an input has at a path: a directory is its root, and anything else is in
/// it under the name `file`.
pub(super) fn copied(
    store: &Store,
    inputs: &[Output],
    from: InputIndex,
    source: &RelPath,
    file: Option<&RelPath>,
) -> Result<SnapshotLayer, ExecutorError> {
    let mut copy = copy_of(from, source);
    if let Some(file) = file {
        copy.destination = file.clone();
        copy.destination_is_directory = false;
    }
    let operation = FileOp {
        base: None,
        actions: vec![FileAction::Copy(copy)],
    };
    let change = Change {
        store,
        operation: &operation,
        inputs,
        base: &Snapshot::default(),
        most_unpacked: None,
    };
    Ok(commit_layer(store, change.entries()?)?)
}

fn copy_of(from: InputIndex, source: &RelPath) -> Copy {
    Copy {
        from: Some(from),
        sources: vec![CopySource::Path(escaped(source))],
        destination: RelPath::root(),
        destination_is_directory: true,
        owner: None,
        mode: None,
        unpack: Unpack::Never,
        exclude: Vec::new(),
        keep_parents: false,
    }
}

/// A pattern that matches this path only.
fn escaped(path: &RelPath) -> String {
    let mut pattern = String::new();
    for character in path.to_string().chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Sets owner and permissions, in this order: the first change can take some of the latter away.
pub(super) fn give(path: &Path, uid: u32, gid: u32, mode: u32) -> Result<(), ExecutorError> {
    use std::os::unix::fs::{PermissionsExt, chown};
    chown(path, Some(uid), Some(gid)).at("change owner of", path)?;
    let permissions = std::fs::Permissions::from_mode(mode);
    Ok(std::fs::set_permissions(path, permissions).at("set permissions of", path)?)
}

/// A part of a context as a layer of its own, for a step that mounts it.
pub(super) fn context_layer(
    store: &Store,
    context: &Arc<Context>,
    path: &kiln_solver::RelPath,
) -> Result<SnapshotLayer, ExecutorError> {
    let files = Files::of_context(context, &Reads::Subtree(path.clone()))?;
    let entries = files.view.subtree(&kiln_solver::RelPath::root());
    let entries: Vec<PackEntry> = entries
        .into_iter()
        .map(|found| PackEntry {
            bytes: files.bytes(found),
            digest_is_known: true,
            entry: found.entry.clone(),
        })
        .collect();
    Ok(commit_layer(store, entries.into_iter())?)
}
