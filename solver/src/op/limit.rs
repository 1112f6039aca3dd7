//! Limits of processes, which a command can see: `ulimit -n` prints one.

use serde::{Deserialize, Serialize};

/// One limit of each process of a command, as in setrlimit(2); `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// What is limited.
    pub resource: Resource,
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far the command may raise `soft`.
    pub hard: Option<u64>,
}

/// What a [`Limit`] is about, each in the unit of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resource {
    /// Bytes of a core dump.
    Core,
    /// Seconds on a processor.
    Cpu,
    /// Bytes of data and heap.
    Data,
    /// Bytes of a file that is written.
    FileSize,
    /// Locks of files.
    Locks,
    /// Bytes of memory that stays in RAM.
    LockedMemory,
    /// Bytes in POSIX message queues, of the whole user.
    MessageQueue,
    /// 20 less the lowest nice value.
    Nice,
    /// One more than the highest number of a descriptor.
    OpenFiles,
    /// Processes and threads, of the whole user.
    Processes,
    /// Bytes in RAM; Linux does not enforce it.
    ResidentSet,
    /// The highest real-time priority.
    RealtimePriority,
    /// Microseconds on a processor at a real-time priority without a blocking call.
    RealtimeTime,
    /// Signals that wait, of the whole user.
    PendingSignals,
    /// Bytes of the stack.
    Stack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::FileSize,
        Self::Locks,
        Self::LockedMemory,
        Self::MessageQueue,
        Self::Nice,
        Self::OpenFiles,
        Self::Processes,
        Self::ResidentSet,
        Self::RealtimePriority,
        Self::RealtimeTime,
        Self::PendingSignals,
        Self::Stack,
    ];

    /// The name that `docker --ulimit` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::FileSize => "fsize",
            Self::Locks => "locks",
            Self::LockedMemory => "memlock",
            Self::MessageQueue => "msgqueue",
            Self::Nice => "nice",
            Self::OpenFiles => "nofile",
            Self::Processes => "nproc",
            Self::ResidentSet => "rss",
            Self::RealtimePriority => "rtprio",
            Self::RealtimeTime => "rttime",
            Self::PendingSignals => "sigpending",
            Self::Stack => "stack",
        }
    }
}
