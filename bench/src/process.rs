//! What `/proc` tells of a process and its descendants.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// A process id as the kernel prints it.
pub(crate) type ProcessId = u32;

/// What a daemon and its descendants have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time, with children that have been waited for.
    pub(crate) cpu_seconds: f64,
    /// The peak of the largest process since [`reset_peaks`].
    pub(crate) largest_peak_bytes: u64,
    /// The sum of all processes' peaks since then.
    pub(crate) sum_of_peaks_bytes: u64,
}

/// The usage of `root` and its living descendants.
pub(crate) fn usage_of_tree(root: ProcessId) -> Result<Usage> {
    let mut usage = Usage::default();
    for process in tree(root)? {
        // A process that ends meanwhile is counted by its parent, which has waited for it.
        let Some(stat) = Stat::read(process) else {
            continue;
        };
        let peak = peak_bytes(process).unwrap_or(0);
        usage.cpu_seconds += stat.ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        usage.largest_peak_bytes = usage.largest_peak_bytes.max(peak);
        usage.sum_of_peaks_bytes += peak;
    }
    Ok(usage)
}

/// Sets the peak memory of `root` and its descendants back to what they use now.
pub(crate) fn reset_peaks(root: ProcessId) -> Result<()> {
    for process in tree(root)? {
        reset_peak(process).or_else(|error| if exists(process) { Err(error) } else { Ok(()) })?;
    }
    Ok(())
}

/// Sets one process's `VmHWM` back (proc_pid_clear_refs(5), value 5).
pub(crate) fn reset_peak(process: ProcessId) -> Result<()> {
    let file = format!("/proc/{process}/clear_refs");
    fs::write(&file, "5").with_context(|| file)
}

fn exists(process: ProcessId) -> bool {
    fs::exists(format!("/proc/{process}")).unwrap_or(false)
}

fn peak_bytes(process: ProcessId) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `root` and its living descendants, parents before children.
fn tree(root: ProcessId) -> Result<Vec<ProcessId>> {
    let children = children_by_parent()?;
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend(children.get(&process).into_iter().flatten());
        next += 1;
    }
    Ok(found)
}

fn children_by_parent() -> Result<BTreeMap<ProcessId, Vec<ProcessId>>> {
    let mut children: BTreeMap<ProcessId, Vec<ProcessId>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let name = entry.context("/proc")?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = Stat::read(process) {
            children.entry(stat.parent).or_default().push(process);
        }
    }
    Ok(children)
}

/// The fields of `/proc/PID/stat` that matter here (proc_pid_stat(5)).
struct Stat {
    parent: ProcessId,
    /// utime, stime, cutime and cstime, summed.
    ticks: u64,
}

impl Stat {
    fn read(process: ProcessId) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The command's name may hold blanks and parentheses; the fields follow its last `)`.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let times = fields.get(11..15)?;
        let ticks = times
            .iter()
            .map(|field| field.parse::<u64>().unwrap_or(0))
            .sum();
        Some(Self { parent, ticks })
    }
}
