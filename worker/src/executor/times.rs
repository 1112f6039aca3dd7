//! Layers whose files have the time that an image wants, not the one that they got when they were made.
//!
//! No key knows a file's time, so the layer that the cache has may tell those of another checkout, or of
//! another day. Only where all files of new layers have one time does an image say nothing of how it came
//! to be.

use std::convert::Infallible;
use std::sync::Arc;

use kiln_solver::Key;

use super::error::ExecutorError;
use super::layers::is_present;
use crate::layer::{Contents, PackEntry, commit_layer, ingest};
use crate::snapshot::{Snapshot, SnapshotLayer};
use crate::store::Store;
use crate::tree::{Entry, EntryKind, LayerTree, Timestamp, View, needed};

/// What becomes of the times of files in the layers that a build made. Those of a base image stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTimes {
    /// All files have the time, and a layer leaves out what those below it show anyway: what is in it
    /// does not depend on times either.
    Exactly,
    /// Files that are younger have the time, the others keep theirs.
    AtMost,
}

/// The same files as in `snapshot` with other times. What came of it is recorded, so that the next build
/// finds it.
pub fn with_times(
    store: &Store,
    snapshot: &Snapshot,
    times: FileTimes,
    time: Timestamp,
) -> Result<Snapshot, ExecutorError> {
    let key = key(snapshot, times, time);
    if let Some(known) = find(store, &key)? {
        return Ok(known);
    }
    let mut rewriting = Rewriting {
        store,
        times,
        time,
        below: View::default(),
    };
    let layers = snapshot.layers.iter().map(|layer| rewriting.layer(layer));
    let layers = layers.collect::<Result<_, _>>()?;
    let rewritten = Snapshot { layers };
    store.index().put_record(&key, &rewritten.encode())?;
    Ok(rewritten)
}

/// Names a rewritten snapshot: a domain, how times are treated, the time in seconds and nanoseconds, and
/// of each layer its diff id and whether a step made it; integers are little-endian.
fn key(snapshot: &Snapshot, times: FileTimes, time: Timestamp) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kiln rewritten times 1");
    hasher.update(match times {
        FileTimes::Exactly => b"=",
        FileTimes::AtMost => b"<",
    });
    hasher.update(&time.seconds.to_le_bytes());
    hasher.update(&time.nanoseconds.to_le_bytes());
    for layer in &snapshot.layers {
        hasher.update(layer.diff_id.as_bytes());
        hasher.update(&[u8::from(layer.created.is_some())]);
    }
    Key::new(*hasher.finalize().as_bytes())
}

fn find(store: &Store, key: &Key) -> Result<Option<Snapshot>, ExecutorError> {
    let Some(bytes) = store.index().record(key)? else {
        return Ok(None);
    };
    // A record of another version of Kiln is no record.
    let Ok(snapshot) = Snapshot::decode(&bytes) else {
        return Ok(None);
    };
    for layer in snapshot.layers.iter().filter(|layer| is_new(layer)) {
        if !is_present(store, &layer.diff_id)? {
            return Ok(None);
        }
    }
    // A later prune should know; the result does not depend on it.
    let _ = store.index().touch_records(&[*key]);
    Ok(Some(snapshot))
}

/// Whether a step made the layer: of a base image's layers nobody knows when they were made.
fn is_new(layer: &SnapshotLayer) -> bool {
    layer.created.is_some()
}

struct Rewriting<'r> {
    store: &'r Store,
    times: FileTimes,
    time: Timestamp,
    /// The layers so far that steps made. Those have the parents of all that they have, so that they
    /// can be seen without the base image, which need not be there.
    below: View,
}

impl Rewriting<'_> {
    fn layer(&mut self, layer: &SnapshotLayer) -> Result<SnapshotLayer, ExecutorError> {
        if !is_new(layer) {
            return Ok(layer.clone());
        }
        let (tree, contents) = self.open(layer)?;
        let entries = self.entries(&tree);
        if entries == tree.entries() {
            self.below.push(tree);
            return Ok(layer.clone());
        }
        let packed = entries.into_iter().map(|entry| PackEntry {
            bytes: contents.bytes(&entry),
            digest_is_known: true,
            entry,
        });
        let packed: Vec<PackEntry> = packed.collect();
        let rewritten = SnapshotLayer {
            created: layer.created,
            ..commit_layer(self.store, packed.into_iter())?
        };
        self.below
            .push(self.store.layers().tree(&rewritten.diff_id)?);
        Ok(rewritten)
    }

    fn open(&self, layer: &SnapshotLayer) -> Result<(Arc<LayerTree>, Contents), ExecutorError> {
        if self.store.layers().contains(&layer.diff_id)
            && let Some(contents) = Contents::open(self.store, &layer.diff_id)?
        {
            return Ok((self.store.layers().tree(&layer.diff_id)?, contents));
        }
        Ok(ingest(self.store, &layer.diff_id)?)
    }

    fn entries(&self, tree: &LayerTree) -> Vec<Entry> {
        let entries = tree.entries();
        let is_wanted = match self.times {
            FileTimes::AtMost => vec![true; entries.len()],
            FileTimes::Exactly => {
                let Ok(needed) = needed(entries, |entry| {
                    Ok::<_, Infallible>(self.below.shows(entry))
                });
                needed
            }
        };
        let wanted = entries.iter().zip(is_wanted).filter(|(_, wanted)| *wanted);
        wanted.map(|(entry, _)| self.dated(entry)).collect()
    }

    fn dated(&self, entry: &Entry) -> Entry {
        let mtime = match self.times {
            // When something was deleted stands nowhere.
            _ if entry.kind == EntryKind::Whiteout => entry.mtime,
            FileTimes::Exactly => self.time,
            FileTimes::AtMost => entry.mtime.min(self.time),
        };
        Entry {
            mtime,
            ..entry.clone()
        }
    }
}
