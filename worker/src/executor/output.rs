//! What steps yield, and how what one yields is read by another.

use std::sync::Arc;

use kiln_solver::op::{Reads, Selection};
use kiln_solver::{ContentDigest, RelPath};

use super::error::ExecutorError;
use super::pivot::{self, select_with_parents};
use super::select::{self, Selected, select};
use crate::context::Context;
use crate::layer::{Contents, FileBytes};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::{EntryKind, Found, LayerTree, Timestamp, View};

/// What a step yields.
#[derive(Clone)]
pub enum Output {
    /// A file system state.
    Snapshot(Arc<Snapshot>),
    /// A client's directory.
    Context(Arc<Context>),
}

/// A tree together with its files' bytes.
pub(super) struct Files {
    pub(super) view: View,
    bytes: Bytes,
    /// When steps made the view's layers, the lowest first.
    created: Vec<Option<Timestamp>>,
}

enum Bytes {
    /// One for each layer of the view.
    Layers(Vec<Contents>),
    Context(Arc<Context>),
}

impl Files {
    /// A view and the contents of each of its layers.
    pub(super) fn of_layers(view: View, contents: Vec<Contents>) -> Self {
        Self {
            view,
            bytes: Bytes::Layers(contents),
            created: Vec::new(),
        }
    }

    /// What a read needs of a context.
    pub(super) fn of_context(context: &Arc<Context>, reads: &Reads) -> Result<Self, ExecutorError> {
        let view = view_of_context(context, reads)?;
        Ok(Self {
            view,
            bytes: Bytes::Context(Arc::clone(context)),
            created: Vec::new(),
        })
    }

    /// When something in a directory came or went last; `None` if nobody knows. What an image says of its
    /// root does not count, as in BuildKit.
    pub(super) fn modified(&self, directory: &RelPath) -> Option<Timestamp> {
        match &self.bytes {
            Bytes::Layers(_) if directory.is_root() => root_changed(&self.view, &self.created),
            _ => self.view.get(directory).map(|found| found.entry.mtime),
        }
    }

    /// Where the bytes of a file are.
    pub(super) fn bytes(&self, found: Found<'_>) -> FileBytes {
        match (&found.entry.kind, &self.bytes) {
            (EntryKind::File { size: 0, .. }, _) => FileBytes::Memory(Arc::from([])),
            (_, Bytes::Layers(contents)) => contents[found.layer].bytes(found.entry),
            (_, Bytes::Context(context)) => context.bytes(found.entry),
        }
    }
}

/// What must be looked at in a context to answer a read.
pub(super) fn view_of_context(context: &Context, reads: &Reads) -> Result<View, ExecutorError> {
    let mut paths = paths_read(reads);
    let view = context.view(&paths)?;
    let Reads::Selection(selection) = reads else {
        return Ok(view);
    };
    // Where a link leads that only a wildcard names is known now.
    let mut links = Vec::new();
    for pattern in &selection.patterns {
        let pattern = match selection.keep_parents {
            true => pivot::before_pivot(pattern),
            false => pattern,
        };
        links.extend(select::links_matched(&view, pattern)?);
    }
    let targets = links.iter().filter_map(|link| view.resolve(link));
    let unknown = targets.filter(|path| path.is_root() || view.get(path).is_none());
    let before = paths.len();
    paths.extend(unknown);
    match paths.len() == before {
        true => Ok(view),
        false => Ok(context.view(&paths)?),
    }
}

/// The paths that must be looked at to answer a read, as far as it names them.
fn paths_read(reads: &Reads) -> Vec<RelPath> {
    match reads {
        Reads::Everything => vec![RelPath::root()],
        Reads::Subtree(path) => vec![path.clone()],
        Reads::Selection(selection) => paths_selected(selection),
    }
}

/// The paths that must be looked at to find what a copy selects.
fn paths_selected(selection: &Selection) -> Vec<RelPath> {
    let prefix = match selection.keep_parents {
        true => pivot::literal_prefix,
        false => select::literal_prefix,
    };
    selection
        .patterns
        .iter()
        .map(|pattern| prefix(pattern))
        .collect()
}

/// Names what `reads` selects of a view by its content.
pub(super) fn content_of(view: &View, reads: &Reads) -> Result<ContentDigest, ExecutorError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kiln selected content 1");
    match reads {
        Reads::Everything => hash_below(view, &RelPath::root(), &mut hasher),
        Reads::Subtree(path) => {
            let resolved = view.resolve(path).unwrap_or_default();
            hash_below(view, &resolved, &mut hasher);
        }
        Reads::Selection(selection) if selection.keep_parents => {
            for pivoted in select_with_parents(view, selection)? {
                hash_selected(view, &pivoted.selected, &mut hasher);
                hash_all(view, &pivoted.parents, &mut hasher);
            }
        }
        Reads::Selection(selection) => {
            for selected in select(view, selection)? {
                hash_selected(view, &selected, &mut hasher);
            }
        }
    }
    Ok(ContentDigest::new(*hasher.finalize().as_bytes()))
}

fn hash_below(view: &View, path: &RelPath, hasher: &mut blake3::Hasher) {
    for found in view.subtree(path) {
        hash_found(view, found, hasher);
    }
}

fn hash_selected(view: &View, selected: &Selected<'_>, hasher: &mut blake3::Hasher) {
    hasher.update(&(selected.pattern as u64).to_le_bytes());
    hasher.update(&(selected.name.len() as u64).to_le_bytes());
    hasher.update(&selected.name);
    hash_all(view, &selected.entries, hasher);
}

fn hash_all(view: &View, entries: &[Found<'_>], hasher: &mut blake3::Hasher) {
    hasher.update(&(entries.len() as u64).to_le_bytes());
    for found in entries {
        hash_found(view, *found, hasher);
    }
}

/// Hashes an entry; of a hard link, also the file that it names, which may not be selected itself, and
/// whether it is still to be seen under that name.
fn hash_found(view: &View, found: Found<'_>, hasher: &mut blake3::Hasher) {
    found.entry.hash_content(hasher);
    let EntryKind::HardLink { target } = &found.entry.kind else {
        return;
    };
    let tree = view.layers().get(found.layer);
    if let Some(file) = tree.and_then(|tree| tree.get(target)) {
        file.hash_content(hasher);
    }
    let is_seen = view
        .get(target)
        .is_some_and(|seen| seen.layer == found.layer);
    hasher.update(&[u8::from(is_seen)]);
}

/// Opens the files of a snapshot's layers; all of them must be in the store.
pub(super) fn open_layers(
    store: &Store,
    snapshot: &Snapshot,
    view: View,
) -> Result<Files, ExecutorError> {
    let mut contents = Vec::with_capacity(snapshot.layers.len());
    for (index, layer) in snapshot.layers.iter().enumerate() {
        contents.push(match Contents::open(store, &layer.diff_id)? {
            Some(contents) => contents,
            None => {
                let below = View::new(view.layers()[..index].to_vec());
                let path = crate::layer::directory(store, &below, &layer.diff_id)?;
                Contents::open_directory(path)?
            }
        });
    }
    let created = snapshot.layers.iter().map(|layer| layer.created).collect();
    Ok(Files {
        created,
        ..Files::of_layers(view, contents)
    })
}

/// When a step last made something directly in the root, or took it away. Layers of steps have no entry
/// for the root, as BuildKit's have none, so that its time is that of the step.
fn root_changed(view: &View, created: &[Option<Timestamp>]) -> Option<Timestamp> {
    let layers = view.layers();
    let by_steps = created.iter().copied().enumerate().rev();
    let mut by_steps = by_steps.map_while(|(index, created)| created.map(|time| (index, time)));
    let changing = by_steps.find(|(index, _)| {
        let below = View::new(layers[..*index].to_vec());
        changes_root(&layers[*index], &below)
    });
    changing.map(|(_, time)| time)
}

fn changes_root(layer: &LayerTree, below: &View) -> bool {
    let root = RelPath::root();
    let mut in_root = layer.entries().iter();
    in_root.any(|entry| {
        let was_directory = || {
            below
                .get(&entry.path)
                .is_some_and(|it| it.entry.is_directory())
        };
        entry.path.is_directly_in(&root)
            && !(entry.is_directory() && was_directory())
            && !below.shows(entry)
    })
}
