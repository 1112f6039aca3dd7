//! What can be asked for, and the files of either version that say it to the kernel.

/// What steps may use of memory, processors and processes; nothing is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap space together; `None` inside is no limit.
    pub memory_and_swap: Option<Option<u64>>,
    /// Weight against others, of which 1024 is the usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time that may be used in each period.
    pub cpu_quota: Option<u64>,
    /// Microseconds of a period.
    pub cpu_period: Option<u64>,
    /// Processors that may be used, as in `0-2,4`.
    pub cpus: Option<String>,
    /// Memory nodes that may be used.
    pub memory_nodes: Option<String>,
    /// Processes and threads at a time.
    pub processes: Option<u64>,
}

/// One limit in the kernel's terms: files and what is written to them.
pub(super) struct Setting {
    pub(super) controller: &'static str,
    /// The option that asks for it.
    pub(super) option: &'static str,
    pub(super) unified: Vec<(String, String)>,
    pub(super) legacy: Vec<(String, String)>,
}

/// Whether a file of either version limits memory.
pub(super) fn limits_memory(file: &str) -> bool {
    matches!(file, "memory.max" | "memory.limit_in_bytes")
}

/// The file of both versions that limits processes.
pub(super) const PROCESS_LIMIT: &str = "pids.max";

fn files(pairs: &[(&str, String)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

impl Resources {
    /// All that is asked for, in the order in which it must be written.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let all = [
            self.memory(),
            self.swap(),
            self.shares(),
            self.bandwidth(),
            set("--cpuset-cpus", "cpuset.cpus", self.cpus.as_ref()),
            set("--cpuset-mems", "cpuset.mems", self.memory_nodes.as_ref()),
            self.processes(),
        ];
        all.into_iter().flatten().collect()
    }

    fn memory(&self) -> Option<Setting> {
        let bytes = self.memory?.to_string();
        Some(Setting {
            controller: "memory",
            option: "--memory",
            unified: files(&[("memory.max", bytes.clone())]),
            legacy: files(&[("memory.limit_in_bytes", bytes)]),
        })
    }

    fn processes(&self) -> Option<Setting> {
        let most = files(&[(PROCESS_LIMIT, self.processes?.to_string())]);
        Some(Setting {
            controller: "pids",
            option: "--pids-limit",
            unified: most.clone(),
            legacy: most,
        })
    }

    /// The second version counts swap space alone, the first both together, and only once memory has its
    /// limit.
    fn swap(&self) -> Option<Setting> {
        let both = self.memory_and_swap?;
        let memory = self.memory.unwrap_or(0);
        let alone = both.map_or("max".to_owned(), |both| {
            both.saturating_sub(memory).to_string()
        });
        let together = both.map_or("-1".to_owned(), |both| both.to_string());
        let before = self
            .memory
            .map(|bytes| ("memory.limit_in_bytes", bytes.to_string()));
        let legacy: Vec<_> = before
            .into_iter()
            .chain([("memory.memsw.limit_in_bytes", together)])
            .collect();
        Some(Setting {
            controller: "memory",
            option: "--memory-swap",
            unified: files(&[("memory.swap.max", alone)]),
            legacy: files(&legacy),
        })
    }

    fn shares(&self) -> Option<Setting> {
        let shares = self.cpu_shares?;
        Some(Setting {
            controller: "cpu",
            option: "--cpu-shares",
            unified: files(&[("cpu.weight", weight(shares).to_string())]),
            legacy: files(&[("cpu.shares", shares.to_string())]),
        })
    }

    fn bandwidth(&self) -> Option<Setting> {
        if self.cpu_quota.is_none() && self.cpu_period.is_none() {
            return None;
        }
        let period = self.cpu_period.unwrap_or(100_000);
        let quota = self.cpu_quota.map(|quota| quota.to_string());
        let unified = format!("{} {period}", quota.as_deref().unwrap_or("max"));
        let quota = quota.map(|quota| ("cpu.cfs_quota_us", quota));
        let legacy: Vec<_> = std::iter::once(("cpu.cfs_period_us", period.to_string()))
            .chain(quota)
            .collect();
        Some(Setting {
            controller: "cpu",
            option: if self.cpu_quota.is_some() {
                "--cpu-quota"
            } else {
                "--cpu-period"
            },
            unified: files(&[("cpu.max", unified)]),
            legacy: files(&legacy),
        })
    }
}

fn set(option: &'static str, file: &str, list: Option<&String>) -> Option<Setting> {
    let files = files(&[(file, list?.clone())]);
    Some(Setting {
        controller: "cpuset",
        option,
        unified: files.clone(),
        legacy: files,
    })
}

/// Shares of 2 to 262,144 as a weight of 1 to 10,000, as container runtimes translate them
/// (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2254-cgroup-v2>).
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resources: &Resources, unified: bool) -> String {
        let lines = resources.settings().into_iter().flat_map(|setting| {
            let files = if unified {
                setting.unified
            } else {
                setting.legacy
            };
            files
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_version_has_its_own_words() {
        let resources = Resources {
            memory: Some(1 << 20),
            memory_and_swap: Some(Some(3 << 20)),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: None,
            cpus: Some("0-1".into()),
            memory_nodes: Some("0".into()),
            processes: Some(9),
        };
        assert_eq!(
            written(&resources, true),
            "memory.max=1048576 memory.swap.max=2097152 cpu.weight=39 cpu.max=50000 100000 cpuset.cpus=0-1 cpuset.mems=0 pids.max=9"
        );
        assert_eq!(
            written(&resources, false),
            "memory.limit_in_bytes=1048576 memory.limit_in_bytes=1048576 memory.memsw.limit_in_bytes=3145728 \
             cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 cpuset.cpus=0-1 cpuset.mems=0 pids.max=9"
        );
        let unlimited = Resources {
            memory_and_swap: Some(None),
            ..Resources::default()
        };
        assert_eq!(written(&unlimited, true), "memory.swap.max=max");
        assert_eq!(written(&unlimited, false), "memory.memsw.limit_in_bytes=-1");
        assert_eq!(written(&Resources::default(), true), "");
    }

    #[test]
    fn weights_span_the_whole_scale() {
        let cases = [
            (1, 1),
            (2, 1),
            (1024, 39),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, expected) in cases {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
