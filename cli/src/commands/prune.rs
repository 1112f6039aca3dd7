//! `kiln prune`: lets go of what no image needs.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};
use jiff::Timestamp;
use kiln_worker::gc::{Policy, Shortfall, describe, prune};
use kiln_worker::store::Store;

use super::du;
use crate::args::PruneArgs;
use crate::human;
use crate::progress::printable;
use crate::settings::prune_policy;

/// Where a command that asks gets its answer.
pub struct Terminal<'t> {
    /// What people type.
    pub input: &'t mut dyn BufRead,
    /// What they see.
    pub out: &'t mut dyn Write,
}

/// Asks, unless told not to, and removes, beside builds that run. The store is opened once it is
/// needed.
pub fn run(
    args: &PruneArgs,
    open: &dyn Fn() -> Result<Store>,
    now: Timestamp,
    terminal: &mut Terminal<'_>,
) -> Result<()> {
    let policy = prune_policy(args)?;
    if !args.force && !args.dry_run && !is_wanted(&policy, terminal)? {
        return Ok(());
    }
    let (store, out) = (open()?, &mut *terminal.out);
    let descriptions = |store: &Store, item: &_| match args.verbose {
        true => describe(store, item).map(|text| format!(" ({text})")),
        false => None,
    };
    let pruned = prune(&store, &[policy], now.as_second(), args.dry_run)
        .context("cannot prune the store")?;
    let done = if args.dry_run {
        "would delete"
    } else {
        "deleted"
    };
    for item in &pruned.items {
        let made_by = descriptions(&store, item).unwrap_or_default();
        let (kind, size) = (du::kind(item.kind), human::size(item.bytes));
        let said = format!("{done} {kind}: {} {size}{made_by}", item.name);
        writeln!(out, "{}", printable(&said))?;
    }
    if pruned.records > 0 {
        let forgot = if args.dry_run {
            "would forget"
        } else {
            "forgot"
        };
        writeln!(out, "{forgot} {} cache records", pruned.records)?;
    }
    if let Some(shortfall) = pruned.shortfall {
        writeln!(out, "{}", self::shortfall(shortfall))?;
    }
    let bytes = pruned.items.iter().map(|item| item.bytes).sum();
    writeln!(out, "Total reclaimed space: {}", human::size(bytes))?;
    Ok(())
}

/// Says that a cap could not be kept.
pub fn shortfall(Shortfall { wanted, left }: Shortfall) -> String {
    format!(
        "the store has {}, more than the {} that it may have: images, running builds and what was \
         reserved need the rest (kiln du --verbose tells what each needs)",
        human::size(left),
        human::size(wanted)
    )
}

fn is_wanted(policy: &Policy, terminal: &mut Terminal<'_>) -> Result<bool> {
    let is_limited = policy.keep_duration.is_some()
        || policy.max_used_space.is_some()
        || policy.min_free_space.is_some()
        || policy.reserved_space.is_some()
        || !policy.filters.is_empty();
    let what = match (policy.all, is_limited) {
        (false, false) => "all build cache that no image needs",
        (true, false) => "all build cache and the records of builds",
        (false, true) => "the build cache that was chosen, except what images need",
        (true, true) => "the build cache and the records of builds that were chosen",
    };
    writeln!(terminal.out, "WARNING! This will remove {what}.")?;
    write!(terminal.out, "Are you sure you want to continue? [y/N] ")?;
    terminal.out.flush()?;
    let mut answer = String::new();
    terminal
        .input
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_without_a_yes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("store");
        let args = PruneArgs::default();
        for (answer, is_done) in [("", false), ("n\n", false), ("\n", false), ("y\n", true)] {
            let mut out = Vec::new();
            let mut terminal = Terminal {
                input: &mut answer.as_bytes(),
                out: &mut out,
            };
            let open = || Ok(Store::open(&root)?);
            run(&args, &open, Timestamp::UNIX_EPOCH, &mut terminal).expect("writable");
            assert_eq!(root.exists(), is_done, "{answer:?}");
        }
    }
}
