//! `kiln cache rm`: lets cache mounts go, by the rules of `kiln prune`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};
use jiff::Timestamp;
use kiln_worker::gc::{Filter, Policy, Survey, prune};
use kiln_worker::store::Store;

use super::list::cache_mounts;
use crate::args::CacheRemoveArgs;
use crate::human;
use crate::progress::printable;

pub(super) fn run(
    args: &CacheRemoveArgs,
    store: &Store,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let selection = super::selection(&args.ids);
    let survey = Survey::take(store)?;
    let caches = cache_mounts(&survey, store);
    let ids: BTreeMap<&str, String> = caches
        .iter()
        .filter_map(|(item, cache)| Some((&*item.name, cache.id()?)))
        .collect();
    let known: Vec<&str> = ids.values().map(String::as_str).collect();
    let missing = selection.missing(&known);
    if !missing.is_empty() {
        bail!(
            "there is no cache mount {}; kiln cache ls lists them",
            missing.join(", ")
        );
    }
    let meant = ids.iter().filter(|(_, id)| selection.has(id));
    let filters = meant.map(|(name, _)| format!("type==exec.cachemount,id=={name}").parse());
    let policy = Policy {
        filters: filters.collect::<Result<Vec<Filter>, _>>()?,
        ..Policy::default()
    };
    let wanted = policy.filters.len();
    let pruned = prune(store, &[policy], now.as_second(), false)?;
    for item in &pruned.items {
        let id = ids.get(&*item.name).unwrap_or(&item.name);
        writeln!(
            out,
            "deleted {}: {}",
            printable(id),
            human::size(item.bytes)
        )?;
    }
    if pruned.items.len() < wanted {
        bail!(
            "{} of them stay: builds use them",
            wanted - pruned.items.len()
        );
    }
    Ok(())
}
