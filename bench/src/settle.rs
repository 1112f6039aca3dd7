//! A quiet machine before a run: written-back pages and idle CPUs.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt;

/// CPUs count as idle when less than this share of their time is used.
const IDLE_BELOW: f64 = 0.08;
const WINDOW: Duration = Duration::from_millis(300);

/// What all CPUs have done since boot, in clock ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTicks {
    busy: u64,
    total: u64,
}

impl CpuTicks {
    /// Reads the `cpu` line of `/proc/stat` (proc_stat(5)).
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        let total = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok(Self {
            busy: total - idle,
            total,
        })
    }

    /// CPU seconds that were used between `earlier` and this.
    pub(crate) fn busy_seconds_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy) as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    fn busy_share_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy) as f64 / (self.total - earlier.total).max(1) as f64
    }
}

/// Syncs, then waits for idle CPUs for at most `limit`; tells whether they became idle.
pub(crate) fn settle(limit: Duration) -> Result<bool> {
    rustix::fs::sync();
    let start = Instant::now();
    loop {
        let before = CpuTicks::now()?;
        interrupt::sleep(WINDOW)?;
        if CpuTicks::now()?.busy_share_since(before) < IDLE_BELOW {
            return Ok(true);
        }
        if start.elapsed() >= limit {
            return Ok(false);
        }
    }
}
