//! `kiln du`: what takes up space in the store, in the form of `docker system df`; with `--verbose`,
//! of each thing what made it and what needs it.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_worker::gc::{Holder, Item, ItemKind, Policy, Survey, describe};
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::{DuArgs, Format};
use crate::human;
use crate::settings::filters;
use crate::table::{self, Listed};

/// The sum of several items.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sum {
    #[serde(rename = "Type")]
    kind: &'static str,
    total_count: usize,
    size: String,
    reclaimable: String,
}

/// One item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    kind: &'static str,
    /// What BuildKit calls records of this kind.
    #[serde(rename = "Type")]
    record_type: &'static str,
    /// Whether `kiln prune` would remove it.
    reclaimable: bool,
    /// In bytes.
    bytes: u64,
    size: String,
    created_at: String,
    last_used_at: String,
    #[serde(skip)]
    last_used_since: String,
    mutable: bool,
    parents: Vec<String>,
    /// How many cache records have it on top.
    records: usize,
    images: Vec<String>,
    processes: Vec<u32>,
    #[serde(skip)]
    needed_by: String,
    description: String,
}

/// Prints the sums, or every item.
pub fn run(args: &DuArgs, store: &Store, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let (age, filters) = filters(&args.filters)?;
    let survey = Survey::take(store)?;
    let describe = |item: &Item| describe(store, item);
    let choice = survey.choose(&[Policy::default()], now.as_second(), &describe);
    let before = age.map_or(i64::MAX, |age| {
        now.as_second()
            .saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
    });
    let is_shown = |item: &Item| {
        item.used < before
            && (filters.is_empty() || filters.iter().any(|filter| filter.matches(item, &describe)))
    };
    let items = survey.items.iter().enumerate();
    let mut items: Vec<(bool, &Item)> = items
        .filter(|(_, item)| is_shown(item))
        .map(|(index, item)| (choice.items.contains(&index), item))
        .collect();
    items.sort_by_key(|(_, item)| (item.kind, std::cmp::Reverse(item.bytes), &item.name));
    if args.verbose {
        let rows = items
            .iter()
            .map(|(goes, item)| row(item, *goes, describe(item), now));
        table::print(out, &rows.collect::<Vec<_>>(), args.format)?;
    } else {
        table::print(out, &sums(&items), args.format)?;
    }
    if args.format == Format::Table {
        let total: u64 = items.iter().map(|(_, item)| item.bytes).sum();
        let going = items.iter().filter(|(goes, _)| *goes);
        let going: u64 = going.map(|(_, item)| item.bytes).sum();
        writeln!(out, "\nReclaimable: {}", human::size(going))?;
        writeln!(out, "Index: {}", human::size(survey.overhead))?;
        writeln!(out, "Total: {}", human::size(total + survey.overhead))?;
    }
    Ok(())
}

/// What each kind of thing takes up. Bytes that images need are not counted with the cache.
fn sums(items: &[(bool, &Item)]) -> Vec<Sum> {
    use ItemKind::{Blob, Build, CacheMount, Checkout, Context, Layer};
    let held = |holder: Holder| {
        move |item: &Item| matches!(item.kind, Blob | Layer) && item.holder() == holder
    };
    let of_kind = |kind: ItemKind| move |item: &Item| item.kind == kind;
    vec![
        sum("Images", items, &held(Holder::Image)),
        sum("Running Builds", items, &held(Holder::Process)),
        sum("Build Cache", items, &held(Holder::Cache)),
        sum("Cache Mounts", items, &of_kind(CacheMount)),
        sum("Contexts", items, &of_kind(Context)),
        sum("Checkouts", items, &of_kind(Checkout)),
        sum("Build Records", items, &of_kind(Build)),
        sum("Unneeded", items, &held(Holder::Nobody)),
    ]
}

fn sum(kind: &'static str, items: &[(bool, &Item)], is_meant: &dyn Fn(&Item) -> bool) -> Sum {
    let meant = items.iter().filter(|(_, item)| is_meant(item));
    let (mut count, mut bytes, mut going) = (0, 0, 0);
    for (goes, item) in meant {
        count += 1;
        bytes += item.bytes;
        going += if *goes { item.bytes } else { 0 };
    }
    Sum {
        kind,
        total_count: count,
        size: human::size(bytes),
        reclaimable: human::size(going),
    }
}

fn row(item: &Item, goes: bool, description: Option<String>, now: Timestamp) -> Row {
    let moment = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Row {
        id: item.name.clone(),
        kind: kind(item.kind),
        record_type: item.kind.record_type(),
        reclaimable: goes,
        bytes: item.bytes,
        size: human::size(item.bytes),
        created_at: human::time(moment(item.created)),
        last_used_at: human::time(moment(item.used)),
        last_used_since: human::age(moment(item.used), now),
        mutable: item.kind.is_mutable(),
        parents: item.parents.clone(),
        records: item.records.len(),
        images: item.images.clone(),
        processes: item.processes.clone(),
        needed_by: needed_by(item),
        description: description.unwrap_or_default(),
    }
}

fn needed_by(item: &Item) -> String {
    let mut needs = item.images.clone();
    needs.extend(item.processes.iter().map(|id| format!("process {id}")));
    match item.records.len() {
        0 if item.is_cache => needs.push("layers above".to_owned()),
        0 => {}
        1 => needs.push("1 record".to_owned()),
        count => needs.push(format!("{count} records")),
    }
    if needs.is_empty() && item.holder() == Holder::Nobody {
        needs.push("nothing".to_owned());
    }
    needs.join(", ")
}

/// What people call a kind of item.
pub(super) fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Blob => "blob",
        ItemKind::Layer => "layer",
        ItemKind::CacheMount => "cache mount",
        ItemKind::Context => "context",
        ItemKind::Checkout => "checkout",
        ItemKind::Build => "build record",
    }
}

impl Listed for Sum {
    fn headers() -> Vec<&'static str> {
        vec!["TYPE", "ITEMS", "SIZE", "RECLAIMABLE"]
    }

    fn cells(&self) -> Vec<String> {
        let Sum {
            kind,
            total_count,
            size,
            reclaimable,
        } = self;
        vec![
            (*kind).to_owned(),
            total_count.to_string(),
            size.clone(),
            reclaimable.clone(),
        ]
    }
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec![
            "ID",
            "TYPE",
            "RECLAIMABLE",
            "SIZE",
            "LAST USED",
            "NEEDED BY",
            "MADE BY",
        ]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.chars().take(12).collect(),
            self.kind.to_owned(),
            self.reclaimable.to_string(),
            self.size.clone(),
            self.last_used_since.clone(),
            self.needed_by.clone(),
            self.description.chars().take(60).collect(),
        ]
    }
}
