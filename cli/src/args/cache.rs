//! `kiln cache`, as typed.

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::Format;

/// What `kiln cache` was asked for.
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// The commands of `kiln cache`.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheCommand {
    /// List the cache mounts in the store
    Ls(CacheListArgs),
    /// Remove cache mounts from the store
    Rm(CacheRemoveArgs),
    /// Save cache mounts as an OCI image layout
    Export(CacheExportArgs),
    /// Restore cache mounts from an OCI image layout
    Import(CacheImportArgs),
}

/// What `kiln cache ls` was asked for.
#[derive(Debug, Clone, Args)]
pub struct CacheListArgs {
    /// How to print the list
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
}

/// What `kiln cache rm` was asked for.
#[derive(Debug, Clone, Args)]
pub struct CacheRemoveArgs {
    /// IDs of caches, as in RUN --mount=type=cache,id=ID; without an id, that is the target
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

/// What `kiln cache export` was asked for.
///
/// A cache that a build shares is read while the build runs; one that a build has for itself is waited for.
/// Devices and sockets are left out.
#[derive(Debug, Clone, Args)]
pub struct CacheExportArgs {
    /// Directory for an OCI image layout, FILE.tar for an archive of one, or - for one on standard output
    #[arg(value_name = "DEST", value_hint = ValueHint::AnyPath)]
    pub destination: String,
    /// Only the caches of this ID [default: all]
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// How to compress them
    #[arg(long, value_enum, default_value_t, value_name = "ALGORITHM")]
    pub compression: CompressionArg,
    /// How hard to compress
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub compression_level: Option<i32>,
}

/// What `kiln cache import` was asked for.
///
/// All that comes is verified before any of it is seen. A cache that holds something already is kept; one
/// that a build holds is waited for.
#[derive(Debug, Clone, Args)]
pub struct CacheImportArgs {
    /// Directory or archive that kiln cache export wrote, or - for an archive on standard input
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub source: String,
    /// Only the caches of this ID [default: all]
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<String>,
    /// Replace caches that hold something already
    #[arg(long)]
    pub replace: bool,
}

/// The values of `--compression`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CompressionArg {
    /// Zstandard
    #[default]
    Zstd,
    /// gzip
    Gzip,
    /// Not at all
    Uncompressed,
}
