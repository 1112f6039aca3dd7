//! `kiln du`: what takes up space in the store, in the form of `docker system df`.

use std::io::Write;

use anyhow::Result;
use kiln_worker::gc::{Holder, Item, ItemKind, usage};
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::{DuArgs, Format};
use crate::human;
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
    #[serde(rename = "Type")]
    kind: &'static str,
    holder: &'static str,
    size: String,
}

/// Prints the sums, or every item.
pub fn run(args: &DuArgs, store: &Store, out: &mut dyn Write) -> Result<()> {
    let items = usage(store)?;
    if args.verbose {
        table::print(out, &items.iter().map(row).collect::<Vec<_>>(), args.format)?;
    } else {
        table::print(out, &sums(&items), args.format)?;
    }
    if args.format == Format::Table {
        let total = items.iter().map(|item| item.bytes).sum();
        writeln!(out, "\nTotal: {}", human::size(total))?;
    }
    Ok(())
}

/// What each kind of thing takes up. Bytes that images need are not counted with the cache.
fn sums(items: &[Item]) -> Vec<Sum> {
    use ItemKind::{Address, Blob, Build, CacheMount, Context, GitMirror, Layer};
    let bytes_of =
        |held: Holder| move |item: &&Item| matches!(item.kind, Blob | Layer) && item.holder == held;
    let of_kind = |kind: ItemKind| move |item: &&Item| item.kind == kind;
    vec![
        sum(
            "Images",
            items.iter().filter(bytes_of(Holder::Image)),
            false,
        ),
        sum(
            "Build Cache",
            items.iter().filter(bytes_of(Holder::Cache)),
            true,
        ),
        sum(
            "Cache Mounts",
            items.iter().filter(of_kind(CacheMount)),
            true,
        ),
        sum("Contexts", items.iter().filter(of_kind(Context)), true),
        sum("Git Mirrors", items.iter().filter(of_kind(GitMirror)), true),
        sum("Addresses", items.iter().filter(of_kind(Address)), true),
        sum("Build Records", items.iter().filter(of_kind(Build)), true),
        sum(
            "Unneeded",
            items.iter().filter(bytes_of(Holder::Nobody)),
            true,
        ),
    ]
}

fn sum<'i>(kind: &'static str, items: impl Iterator<Item = &'i Item>, is_reclaimable: bool) -> Sum {
    let (count, bytes) = items.fold((0, 0), |(n, bytes), item| (n + 1, bytes + item.bytes));
    let reclaimable = if is_reclaimable { bytes } else { 0 };
    let reclaimable = human::size(reclaimable);
    Sum {
        kind,
        total_count: count,
        size: human::size(bytes),
        reclaimable,
    }
}

fn row(item: &Item) -> Row {
    let holder = match item.holder {
        Holder::Image => "image",
        Holder::Cache => "cache",
        Holder::Nobody => "nothing",
    };
    Row {
        id: item.name.clone(),
        kind: kind(item.kind),
        holder,
        size: human::size(item.bytes),
    }
}

/// What people call a kind of item.
pub(super) fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Blob => "blob",
        ItemKind::Layer => "layer",
        ItemKind::CacheMount => "cache mount",
        ItemKind::Context => "context",
        ItemKind::GitMirror => "git mirror",
        ItemKind::Address => "address",
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
        vec!["ID", "TYPE", "NEEDED BY", "SIZE"]
    }

    fn cells(&self) -> Vec<String> {
        let Row {
            id,
            kind,
            holder,
            size,
        } = self;
        vec![
            id.clone(),
            (*kind).to_owned(),
            (*holder).to_owned(),
            size.clone(),
        ]
    }
}
