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

/// What a [`Limit`] is about.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resource {
    Core,
    Cpu,
    Data,
    FileSize,
    Locks,
    LockedMemory,
    MessageQueue,
    Nice,
    OpenFiles,
    Processes,
    ResidentSet,
    RealtimePriority,
    RealtimeTime,
    PendingSignals,
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
