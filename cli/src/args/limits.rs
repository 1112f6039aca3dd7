//! What the processes of steps may use, as typed.

use clap::Args;

/// Limits of the RUN steps. Those of control groups do not change what the cache knows.
#[derive(Debug, Clone, Default, Args)]
pub struct LimitArgs {
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", help_heading = "Limits of steps")]
    pub shm_size: Option<String>,
    /// Limit of each process, such as nofile=1024:2048
    ///
    /// nproc counts for root as well: a step's root is an ordinary user to the kernel. --pids-limit limits the
    /// processes of each step by itself.
    #[arg(
        long = "ulimit",
        value_name = "NAME=SOFT[:HARD]",
        help_heading = "Limits of steps"
    )]
    pub ulimits: Vec<String>,
    /// Memory of each step
    ///
    /// This and the options below need control groups: of either version, as root, or delegated to the
    /// user. What this machine cannot do is said, and has no effect.
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits of steps")]
    pub memory: Option<String>,
    /// Memory and swap space of each step together; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    #[arg(help_heading = "Limits of steps")]
    pub memory_swap: Option<String>,
    /// Weight of each step against others; 1024 is the usual
    #[arg(short, long, value_name = "WEIGHT", help_heading = "Limits of steps")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits of steps")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub cpu_quota: Option<u64>,
    /// Microseconds of a period [default: 100000]
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits of steps")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub cpu_period: Option<u64>,
    /// Processors that may be used, such as 0-2,4
    #[arg(long, value_name = "LIST", help_heading = "Limits of steps")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST", help_heading = "Limits of steps")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads of each step at a time
    #[arg(long, value_name = "NUMBER", help_heading = "Limits of steps")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub pids_limit: Option<u64>,
    /// Disk space that the changes of each step may take
    ///
    /// A step that takes more is ended, and so is ADD of an archive that becomes larger.
    #[arg(long, value_name = "SIZE", help_heading = "Limits of steps")]
    pub max_step_disk: Option<String>,
    /// Output that each step may write; one that writes more is ended [default: 1g]
    #[arg(long, value_name = "SIZE", help_heading = "Limits of steps")]
    pub max_step_log: Option<String>,
    /// Control group that those of steps are made in [default: kiln]
    #[arg(long, value_name = "PATH", help_heading = "Limits of steps")]
    pub cgroup_parent: Option<String>,
}
