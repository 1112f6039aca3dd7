//! The commands that show and clean the store, as typed.

use clap::{Args, Subcommand, ValueEnum};

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
    /// Only what matches, as for kiln prune
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// List everything with what made it and what needs it, not only the sums
    #[arg(short, long)]
    pub verbose: bool,
}

/// What `kiln prune` was asked for.
#[derive(Debug, Clone, Default, Args)]
pub struct PruneArgs {
    /// Also remove records of builds, and the cache of the images that stay
    #[arg(short, long)]
    pub all: bool,
    /// Say what would go, and leave it
    #[arg(long)]
    pub dry_run: bool,
    /// Only what matches all of these: until=24h (not used that long), type=TYPE, id=EXPRESSION, shared, private, mutable, immutable, parents~=EXPRESSION, description~=EXPRESSION
    ///
    /// The types are those of BuildKit: regular (layers), exec.cachemount, source.local (what is
    /// known of contexts), source.git.checkout, internal (records of builds). With != in place of =,
    /// what does not match goes; with ~=, what matches a regular expression.
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove, the longest unused first, until the store has less than SIZE (20GB, 512MiB, 10%)
    #[arg(long, value_name = "SIZE")]
    pub max_used_space: Option<String>,
    /// Remove, the longest unused first, until SIZE of the disk is free
    #[arg(long, value_name = "SIZE")]
    pub min_free_space: Option<String>,
    /// Remove nothing as long as the store has less than SIZE
    #[arg(long, value_name = "SIZE", alias = "keep-storage")]
    pub reserved_space: Option<String>,
    /// Say of each thing what made it
    #[arg(long)]
    pub verbose: bool,
}

/// What `kiln store` was asked for.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// The commands of `kiln store`.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreCommand {
    /// Check every byte in the store against its name
    Verify(VerifyArgs),
}

/// What `kiln store verify` was asked for.
///
/// It ends with 0 if all is whole or all damage was repaired, with 1 if the store could not be
/// checked, with 3 if damage is left.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// How to print the list of what is damaged
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Do not show how far it is
    #[arg(short, long)]
    pub quiet: bool,
    /// Remove what is damaged, so that the next build makes it anew
    #[arg(long)]
    pub repair: bool,
}
