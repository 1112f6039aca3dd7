//! `kiln fmt`, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What `kiln fmt` was asked for.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 done, or nothing to do; 1 with --check: a file would change; \
                        2 a file cannot be read or has errors, and was left as it is."
)]
pub struct FmtArgs {
    /// Dockerfiles to format in place; - formats standard input to standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "Dockerfile")]
    pub files: Vec<PathBuf>,
    /// Only list the files that would change, and fail if there are any
    #[arg(long)]
    pub check: bool,
    /// Only show what would change, as a unified diff
    #[arg(long)]
    pub diff: bool,
}
