//! Lets go of what no image needs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::roots::{CacheRecord, Needed, records};
use super::usage::usage;
use super::{GcError, Holder, Item, ItemKind};
use crate::io_error::{AtPath, IoError};
use crate::store::Store;

/// What may go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Whether the cache goes whose layers images need anyway: that frees next to nothing, but the
    /// next build runs every step again.
    pub all: bool,
    /// The moment, in seconds since 1970, since which cache must not have been used to go.
    pub unused_since: Option<i64>,
}

/// What went.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What was removed from the disk.
    pub items: Vec<Item>,
    /// How many cache records were forgotten.
    pub records: usize,
}

/// Removes what `policy` lets go from the store at `root`; waits for builds that run. Killed half
/// way, it leaves a store whose cache knows less: records go before what they name.
pub fn prune(root: &Path, policy: PrunePolicy, on_busy: impl FnOnce()) -> Result<Pruned, GcError> {
    let store = Store::open_exclusively(root, on_busy)?;
    let images = Needed::by_images(&store)?;
    let going: Vec<_> = records(&store)?
        .into_iter()
        .filter(|record| policy.lets_go(record, &images))
        .map(|record| record.key)
        .collect();
    store.index().remove_records(&going)?;
    let mut pruned = Pruned {
        items: Vec::new(),
        records: going.len(),
    };
    let mut items = usage(&store)?;
    // What says that a layer is whole goes before the layer's bytes.
    items.sort_by_key(|item| item.kind != ItemKind::Layer);
    for item in items {
        if policy.lets_item_go(&item)? {
            remove(&store, &item)?;
            pruned.items.push(item);
        }
    }
    Ok(pruned)
}

impl PrunePolicy {
    fn lets_go(&self, record: &CacheRecord, images: &Needed) -> bool {
        let Some(layers) = &record.layers else {
            return true;
        };
        let is_old = self.unused_since.is_none_or(|moment| record.used < moment);
        let is_held = layers.iter().all(|diff_id| images.layers.contains(diff_id));
        is_old && (self.all || !is_held)
    }

    fn lets_item_go(&self, item: &Item) -> Result<bool, IoError> {
        match (item.kind, item.holder) {
            (ItemKind::Blob | ItemKind::Layer, holder) => Ok(holder == Holder::Nobody),
            (ItemKind::CacheMount | ItemKind::Build | ItemKind::GitMirror, _) => {
                self.is_old(&item.path)
            }
            (ItemKind::Context | ItemKind::Address, _) => Ok(self.all && self.is_old(&item.path)?),
        }
    }

    /// Directories tell by their change time when something was last put into them.
    fn is_old(&self, path: &Path) -> Result<bool, IoError> {
        let Some(moment) = self.unused_since else {
            return Ok(true);
        };
        Ok(fs::symlink_metadata(path).at("look at", path)?.ctime() < moment)
    }
}

fn remove(store: &Store, item: &Item) -> Result<(), GcError> {
    if item.kind == ItemKind::Layer
        && let Ok(diff_id) = format!("sha256:{}", item.name).parse()
    {
        return Ok(store.layers().remove(&diff_id)?);
    }
    if item.kind == ItemKind::GitMirror {
        // What says that it is whole goes first.
        let _ = fs::remove_file(item.path.join("remote"));
    }
    let is_directory = fs::symlink_metadata(&item.path).is_ok_and(|metadata| metadata.is_dir());
    let removed = match is_directory {
        true => fs::remove_dir_all(&item.path),
        false => fs::remove_file(&item.path),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => Ok(removed.at("remove", &item.path)?),
    }
}
