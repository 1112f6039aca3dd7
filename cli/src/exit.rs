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
    /// Ctrl-C ended it.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed | Exit::Unformatted => ExitCode::from(1),
            Exit::Usage | Exit::Unreadable => ExitCode::from(2),
            Exit::Damaged => ExitCode::from(3),
            // 128 and the number of SIGINT, as a shell reports it.
            Exit::Interrupted => ExitCode::from(130),
        }
    }
}
