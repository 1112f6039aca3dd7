//! `kiln prune`: lets go of what no image needs.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use kiln_worker::gc::{PrunePolicy, prune};

use super::du;
use crate::args::PruneArgs;
use crate::human;
use crate::settings::UsageError;

/// Where a command that asks gets its answer.
pub struct Terminal<'t> {
    /// What people type.
    pub input: &'t mut dyn BufRead,
    /// What they see.
    pub out: &'t mut dyn Write,
}

/// Asks, unless told not to, and removes. Waits for builds that run.
pub fn run(
    args: &PruneArgs,
    root: &Path,
    now: Timestamp,
    terminal: &mut Terminal<'_>,
) -> Result<()> {
    let policy = policy(args, now)?;
    if !args.force && !is_wanted(policy, terminal)? {
        return Ok(());
    }
    let out = &mut *terminal.out;
    let say_that_builds_run = || {
        // Only a courtesy: whoever cannot be told waits all the same.
        let _ = writeln!(out, "Waiting for the builds that use the store to end ...");
    };
    let pruned = prune(root, policy, say_that_builds_run).context("cannot prune the store")?;
    for item in &pruned.items {
        writeln!(out, "deleted {}: {}", du::kind(item.kind), item.name)?;
    }
    if pruned.records > 0 {
        writeln!(out, "forgot {} cache records", pruned.records)?;
    }
    let bytes = pruned.items.iter().map(|item| item.bytes).sum();
    writeln!(out, "Total reclaimed space: {}", human::size(bytes))?;
    Ok(())
}

fn policy(args: &PruneArgs, now: Timestamp) -> Result<PrunePolicy, UsageError> {
    let mut policy = PrunePolicy {
        all: args.all,
        unused_since: None,
    };
    for filter in &args.filters {
        let wrong = |problem: &str| {
            UsageError::new("--filter", filter, problem).hint("write it as in --filter until=24h")
        };
        let Some(("until", age)) = filter.split_once('=') else {
            return Err(wrong("there is no such filter"));
        };
        let age = duration(age).ok_or_else(|| wrong("it is not a duration"))?;
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let moment = now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        policy.unused_since = Some(moment.as_second());
    }
    Ok(policy)
}

/// Numbers with units one after the other, such as `1h30m`, as Go writes durations; and days, which
/// Go does not know.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        total = total.checked_add(Duration::from_secs(part))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn is_wanted(policy: PrunePolicy, terminal: &mut Terminal<'_>) -> Result<bool> {
    let what = match (policy.all, policy.unused_since.is_some()) {
        (false, false) => "all build cache that no image needs",
        (true, false) => "all build cache",
        (false, true) => "build cache that no image needs and nobody has used lately",
        (true, true) => "build cache that nobody has used lately",
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
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("24h", Some(86_400)),
            ("1h30m", Some(5400)),
            ("7d", Some(604_800)),
            ("90s", Some(90)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1w", None),
            ("99999999999999999999h", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn nothing_happens_without_a_yes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("store");
        let args = PruneArgs {
            all: false,
            filters: Vec::new(),
            force: false,
        };
        for (answer, is_done) in [("", false), ("n\n", false), ("\n", false), ("y\n", true)] {
            let mut out = Vec::new();
            let mut terminal = Terminal {
                input: &mut answer.as_bytes(),
                out: &mut out,
            };
            run(&args, &root, Timestamp::UNIX_EPOCH, &mut terminal).expect("writable");
            assert_eq!(root.exists(), is_done, "{answer:?}");
        }
    }
}
