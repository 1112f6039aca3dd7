//! `kiln explain`, as typed.

use clap::Args;

use super::Format;

/// What `kiln explain` was asked for.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A BUILD is an ID or the beginning of one, or ^N for the build that was N before \
the last (see kiln builds). Without a STEP, all steps that ran are explained; with one, also what its \
key consists of.\n\nkiln build --explain says the same while it builds."
)]
pub struct ExplainArgs {
    /// The build [default: the last one]
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    /// Only one step: its number, or a part of its name
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Compare with the steps of another build instead of what was in the cache
    #[arg(long, value_name = "BUILD")]
    pub against: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}
