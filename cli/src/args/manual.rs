//! The commands that print what these definitions say, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

/// What `kiln completions` was asked for.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// What `kiln man` was asked for.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory, instead of one to standard output
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}
