//! The commands that show and clean the store, as typed.

use clap::{Args, ValueEnum};

/// How a table is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns under headers
    #[default]
    Table,
    /// One JSON object a line
    Json,
}

/// What `kiln images` was asked for.
#[derive(Debug, Clone, Args)]
pub struct ImagesArgs {
    /// Only images of this name, with or without a tag; * and ? match as in a shell
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Show the manifests' digests
    #[arg(long)]
    pub digests: bool,
    /// Only images that match: reference=PATTERN
    #[arg(short, long = "filter", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print IDs in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `kiln inspect` was asked for.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// Names, IDs or digests of images
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// What `kiln history` was asked for.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Name, ID or digest of an image
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print instructions and IDs in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `kiln du` was asked for.
#[derive(Debug, Clone, Args)]
pub struct DuArgs {
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// List every record, not only the sums
    #[arg(short, long)]
    pub verbose: bool,
}

/// What `kiln prune` was asked for.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Also remove the cache of the images that stay
    #[arg(short, long)]
    pub all: bool,
    /// Only what matches: until=DURATION, such as until=24h, for what was not used that long
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}
