//! Measures a store.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::roots::{Needed, records};
use super::{GcError, Holder, Item, ItemKind};
use crate::io_error::{AtPath, IoError};
use crate::store::Store;

/// All that is in the store and can be removed by itself, the largest of a kind first.
pub fn usage(store: &Store) -> Result<Vec<Item>, GcError> {
    let images = Needed::by_images(store)?;
    let mut cache = Needed::default();
    cache.add_records(store, &records(store)?)?;
    let mut items = Items {
        seen: HashSet::new(),
        items: Vec::new(),
    };
    let root = store.root();
    items.add_all(&root.join("blobs/sha256"), ItemKind::Blob, |name| {
        let digest = format!("sha256:{name}").parse().ok();
        holder(digest.as_ref(), &images.blobs, &cache.blobs)
    })?;
    items.add_all(&root.join("layers"), ItemKind::Layer, |name| {
        let diff_id = format!("sha256:{name}").parse().ok();
        holder(diff_id.as_ref(), &images.layers, &cache.layers)
    })?;
    for (directory, kind) in [
        ("cache-mounts", ItemKind::CacheMount),
        ("contexts", ItemKind::Context),
        ("sources/git", ItemKind::GitMirror),
        ("sources/http", ItemKind::Address),
        ("builds", ItemKind::Build),
    ] {
        items.add_all(&root.join(directory), kind, |_| Holder::Cache)?;
    }
    let mut items = items.items;
    items.sort_by_key(|item| (item.kind, std::cmp::Reverse(item.bytes), item.name.clone()));
    Ok(items)
}

/// A name that is no digest is a file that a write left behind.
fn holder<D: std::hash::Hash + Eq>(
    name: Option<&D>,
    images: &HashSet<D>,
    cache: &HashSet<D>,
) -> Holder {
    match name {
        Some(name) if images.contains(name) => Holder::Image,
        Some(name) if cache.contains(name) => Holder::Cache,
        _ => Holder::Nobody,
    }
}

struct Items {
    /// Devices and inodes of files with several links.
    seen: HashSet<(u64, u64)>,
    items: Vec<Item>,
}

impl Items {
    /// Adds what is directly in a directory, which need not exist.
    fn add_all(
        &mut self,
        directory: &Path,
        kind: ItemKind,
        holder: impl Fn(&str) -> Holder,
    ) -> Result<(), IoError> {
        for name in names(directory)? {
            let path = directory.join(&name);
            let bytes = self.measure(&path)?;
            let name = name.to_string_lossy().into_owned();
            let holder = holder(&name);
            self.items.push(Item {
                kind,
                name,
                path,
                bytes,
                holder,
            });
        }
        Ok(())
    }

    /// The blocks of a tree, in bytes. What goes away meanwhile counts nothing, nor does what lies
    /// so deep in a layer that no path leads there.
    fn measure(&mut self, path: &Path) -> Result<u64, IoError> {
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if is_out_of_reach(&error) => return Ok(0),
            metadata => metadata.at("look at", path)?,
        };
        let mut bytes = self.blocks(&metadata);
        if metadata.is_dir() {
            for name in names(path)? {
                bytes += self.measure(&path.join(name))?;
            }
        }
        Ok(bytes)
    }

    fn blocks(&mut self, metadata: &Metadata) -> u64 {
        let shared = !metadata.is_dir() && metadata.nlink() > 1;
        if shared && !self.seen.insert((metadata.dev(), metadata.ino())) {
            return 0;
        }
        metadata.blocks() * 512
    }
}

fn names(directory: &Path) -> Result<Vec<OsString>, IoError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_out_of_reach(&error) => return Ok(Vec::new()),
        entries => entries.at("list", directory)?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    names.collect::<Result<_, _>>().at("list", directory)
}

fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::InvalidFilename
    )
}
