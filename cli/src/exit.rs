//! How the program ends.

use std::process::ExitCode;

/// What the caller of `kiln` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done,
    /// The build failed, or what was asked for could not be had.
    Failed,
    /// What was typed makes no sense.
    Usage,
    /// The store is damaged.
    Damaged,
    /// A file is not formatted as it should be.
    Unformatted,
    /// A file could not be read or written, or has errors.
    Unreadable,
    /// A signal ended it.
    Interrupted(Interruption),
}

/// A signal that asks a build to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The terminal is gone: SIGHUP.
    HangUp,
    /// Ctrl-C: SIGINT.
    Interrupt,
    /// What `kill`, service managers and CI systems send: SIGTERM.
    Terminate,
}

impl Interruption {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HangUp, Self::Interrupt, Self::Terminate];

    /// The signal's number, the same on all architectures of Linux.
    pub fn signal(self) -> u8 {
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed | Exit::Unformatted => ExitCode::from(1),
            Exit::Usage | Exit::Unreadable => ExitCode::from(2),
            Exit::Damaged => ExitCode::from(3),
            // As a shell reports a program that a signal ended.
            Exit::Interrupted(by) => ExitCode::from(128 + by.signal()),
        }
    }
}
