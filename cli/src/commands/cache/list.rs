//! `kiln cache ls`: the cache mounts in the store.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_worker::cache_mount::{StoredCacheMount, find_cache_mount};
use kiln_worker::gc::{Item, ItemKind, Survey};
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::CacheListArgs;
use crate::human;
use crate::progress::printable;
use crate::table::{self, Listed};

/// A cache mount.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    /// What the store calls it; `kiln du` and `kiln prune` do, too.
    name: String,
    /// Permission bits and owner that it began with, if that is known.
    mode: Option<String>,
    owner: Option<String>,
    /// In bytes.
    bytes: u64,
    size: String,
    last_used_at: String,
    #[serde(skip)]
    last_used_since: String,
    processes: Vec<u32>,
}

pub(super) fn run(
    args: &CacheListArgs,
    store: &Store,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows: Vec<Row> = cache_mounts(&Survey::take(store)?, store)
        .into_iter()
        .map(|(item, cache)| row(item, &cache, now))
        .collect();
    rows.sort_by(|a, b| (&a.id, &a.name).cmp(&(&b.id, &b.name)));
    if args.quiet {
        let mut ids: Vec<&str> = rows.iter().map(|row| &*row.id).collect();
        ids.dedup();
        for id in ids {
            writeln!(out, "{}", printable(id))?;
        }
        return Ok(());
    }
    Ok(table::print(out, &rows, args.format)?)
}

/// The items of a survey that are cache mounts.
pub(super) fn cache_mounts<'s>(
    survey: &'s Survey,
    store: &Store,
) -> Vec<(&'s Item, StoredCacheMount)> {
    let items = survey.items.iter();
    let items = items.filter(|item| item.kind == ItemKind::CacheMount);
    items
        .map(|item| (item, find_cache_mount(store, &item.name)))
        .collect()
}

fn row(item: &Item, cache: &StoredCacheMount, now: Timestamp) -> Row {
    let used = Timestamp::from_second(item.used).unwrap_or(Timestamp::UNIX_EPOCH);
    let identity = cache.identity.as_ref();
    Row {
        id: cache.id().unwrap_or_default(),
        name: item.name.clone(),
        mode: identity.map(|identity| format!("{:04o}", identity.mode)),
        owner: identity.map(|identity| format!("{}:{}", identity.uid, identity.gid)),
        bytes: item.bytes,
        size: human::size(item.bytes),
        last_used_at: human::time(used),
        last_used_since: human::age(used, now),
        processes: item.processes.clone(),
    }
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec!["ID", "SIZE", "LAST USED", "IN USE BY", "NAME"]
    }

    fn cells(&self) -> Vec<String> {
        let processes = self.processes.iter().map(|id| format!("process {id}"));
        vec![
            self.id.clone(),
            self.size.clone(),
            self.last_used_since.clone(),
            processes.collect::<Vec<_>>().join(", "),
            self.name.chars().take(12).collect(),
        ]
    }
}
