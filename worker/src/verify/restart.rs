//! After the machine was started anew: what was written last before may never have reached the disk,
//! though a record names it, for nothing in a store is synced (that would wait for all that others write).
//! Whoever uses the store first looks at it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Damage, check_bytes, entries, repair};
use crate::gc::GcError;
use crate::io_error::AtPath;
use crate::store::Store;

/// Where the kernel names the machine's run.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file of the store that says in which run it was used last.
const LAST_RUN: &str = "boot";

/// How old data certainly is on the disk, in seconds: the kernel writes it after half a minute
/// (`vm.dirty_expire_centisecs`), and a file system commits within seconds.
const WRITTEN_AFTER: i64 = 600;

/// Checks what came into the store shortly before it was last used, if the machine was started anew
/// since, and removes what is damaged. Records that name it are of no use then, which a look-up sees.
pub fn after_restart(store: &Store) -> Result<Vec<Damage>, GcError> {
    let run = fs::read_to_string(BOOT_ID).at("read", BOOT_ID)?;
    let note = store.root().join(LAST_RUN);
    let last_run = fs::read_to_string(&note).ok();
    if last_run.as_ref() == Some(&run) {
        return Ok(Vec::new());
    }
    let damage = match last_run {
        Some(_) => check_last(store)?,
        // Nobody has used it yet.
        None => Vec::new(),
    };
    if !damage.is_empty() {
        repair(store, &damage)?;
    }
    // Else the next one looks once more.
    let _ = store.scratch().put_bytes(run.as_bytes(), &note);
    Ok(damage)
}

fn check_last(store: &Store) -> Result<Vec<Damage>, GcError> {
    let blobs = with_times(store, "blobs/sha256")?;
    let layers = with_times(store, "layers")?;
    let newest = blobs.iter().chain(&layers).map(|(_, time)| *time).max();
    let since = newest.unwrap_or_default() - WRITTEN_AFTER;
    let last = |all: Vec<(String, i64)>| -> Vec<String> {
        let last = all.into_iter().filter(|(_, time)| *time >= since);
        last.map(|(name, _)| name).collect()
    };
    let claims = store.index().all_layer_blobs()?;
    let mut damage = Vec::new();
    check_bytes(
        store,
        &last(blobs),
        &last(layers),
        claims,
        &mut damage,
        &|_, _| {},
    )?;
    Ok(damage)
}

/// The names in a directory of the store, and when each came, in seconds since 1970.
fn with_times(store: &Store, kind: &str) -> Result<Vec<(String, i64)>, GcError> {
    let directory = store.root().join(kind);
    let mut found = Vec::new();
    for name in entries(store, kind)? {
        // Not its modification time, which may be that of what it holds.
        if let Ok(metadata) = fs::symlink_metadata(directory.join(&name)) {
            found.push((name, metadata.ctime()));
        }
    }
    Ok(found)
}
