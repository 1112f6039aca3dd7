//! `kiln builds`, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{Format, ProgressArg};

/// What `kiln builds` was asked for.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "A BUILD is an ID or the beginning of one, or ^N for the build that was N before \
the last; without one, the last build is meant.\n\nThe last 200 builds are kept, none longer than \
30 days, and no more than 500 MB of them; kiln prune removes them, too."
)]
pub struct BuildsArgs {
    /// What to do; none lists.
    #[command(subcommand)]
    pub command: Option<BuildsCommand>,
    /// How to list.
    #[command(flatten)]
    pub list: BuildsListArgs,
}

/// The commands of `kiln builds`.
#[derive(Debug, Clone, Subcommand)]
pub enum BuildsCommand {
    /// List builds, the last one first
    #[command(visible_alias = "list")]
    Ls(BuildsListArgs),
    /// Show steps and logs of a build again
    Show(BuildsShowArgs),
    /// Print what is known of a build and its steps
    Inspect(BuildsInspectArgs),
    /// Print what the steps of a build wrote
    Logs(BuildsLogsArgs),
    /// Write the course of a build in Chrome's trace event format, for Perfetto
    Trace(BuildsWriteArgs),
    /// Write a page for browsers: timeline, parallelism, critical path, logs
    Html(BuildsWriteArgs),
    /// Remove what is kept of builds
    Rm(BuildsRemoveArgs),
}

/// How `kiln builds ls` lists.
#[derive(Debug, Clone, Args)]
pub struct BuildsListArgs {
    /// Only builds that match: status=running|succeeded|failed|canceled|killed, name=PATTERN,
    /// since=DURATION or until=DURATION, such as since=24h for those of the last day
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print names in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `kiln builds show` was asked for.
#[derive(Debug, Clone, Args)]
pub struct BuildsShowArgs {
    /// The build [default: the last one]
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    /// How to show it [default: plain]
    #[arg(long, value_name = "STYLE")]
    pub progress: Option<ProgressArg>,
}

/// What `kiln builds inspect` was asked for.
#[derive(Debug, Clone, Args)]
pub struct BuildsInspectArgs {
    /// The build [default: the last one]
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// What `kiln builds logs` was asked for.
#[derive(Debug, Clone, Args)]
pub struct BuildsLogsArgs {
    /// The build [default: the last one]
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    /// Only the log of one step: its number, or a part of its name
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Print with each line how many seconds the build had taken
    #[arg(short, long)]
    pub timestamps: bool,
}

/// Which build to write, and where to.
#[derive(Debug, Clone, Args)]
pub struct BuildsWriteArgs {
    /// The build [default: the last one]
    #[arg(value_name = "BUILD")]
    pub build: Option<String>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// What `kiln builds rm` was asked for.
#[derive(Debug, Clone, Args)]
pub struct BuildsRemoveArgs {
    /// The builds
    #[arg(value_name = "BUILD", required_unless_present = "all")]
    pub builds: Vec<String>,
    /// Remove all but those that run
    #[arg(long, conflicts_with = "builds")]
    pub all: bool,
}
