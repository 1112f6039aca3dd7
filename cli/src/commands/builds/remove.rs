//! `kiln builds rm`.

use std::io::Write;

use anyhow::{Context, Result, bail};

use super::find;
use crate::args::BuildsRemoveArgs;
use crate::record::{Record, Shelf};

/// Removes records and prints their IDs. Nothing is removed if one of several cannot be found.
pub(super) fn run(args: &BuildsRemoveArgs, shelf: &Shelf, out: &mut dyn Write) -> Result<()> {
    if args.all {
        let records = shelf.records();
        let records =
            records.with_context(|| format!("cannot list {}", shelf.directory().display()))?;
        return remove(
            records.into_iter().filter(|record| !record.is_locked()),
            out,
        );
    }
    let mut records = Vec::new();
    for called in &args.builds {
        let record = find(shelf, Some(called))?;
        if record.is_locked() {
            bail!("the build {} is running", record.id());
        }
        records.push(record);
    }
    remove(records.into_iter(), out)
}

fn remove(mut records: impl Iterator<Item = Record>, out: &mut dyn Write) -> Result<()> {
    records.try_for_each(|record| {
        let path = record.directory().display();
        record
            .remove()
            .with_context(|| format!("cannot remove {path}"))?;
        Ok(writeln!(out, "{}", record.id())?)
    })
}
