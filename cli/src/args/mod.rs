//! The command line as typed: names, short forms and value syntax of `docker buildx build`.
//!
//! Nothing is interpreted here beyond what clap checks; [`crate::settings`] makes sense of it. The
//! completions and the manual come out of the same definitions.

mod attestation;
mod build;
mod builds;
mod buildx;
mod cache;
mod check;
mod dockerfile;
mod doctor;
mod explain;
mod fmt;
mod limits;
mod manual;
mod slip;
mod store;

use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand};

pub use attestation::AttestationArgs;
pub use build::{BuildArgs, NetworkArg, ProgressArg};
pub use builds::{
    BuildsArgs, BuildsCommand, BuildsInspectArgs, BuildsListArgs, BuildsLogsArgs, BuildsRemoveArgs,
    BuildsShowArgs, BuildsWriteArgs,
};
pub use buildx::BuildxArgs;
pub use cache::{
    CacheArgs, CacheCommand, CacheExportArgs, CacheImportArgs, CacheListArgs, CacheRemoveArgs,
    CompressionArg,
};
pub use check::{CheckArgs, CheckFormat, FailOn};
pub use dockerfile::{DockerfileArgs, SecretArgs};
pub use doctor::DoctorArgs;
pub use explain::ExplainArgs;
pub use fmt::FmtArgs;
pub use limits::LimitArgs;
pub use manual::{CompletionsArgs, ManArgs};
pub use slip::explain as explain_slip;
pub use store::{
    DuArgs, Format, HistoryArgs, ImagesArgs, InspectArgs, PruneArgs, StoreArgs, StoreCommand,
    VerifyArgs,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Builds container images from Dockerfiles, without a daemon
#[derive(Debug, Parser)]
#[command(name = "kiln", version, styles = STYLES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// What every command knows.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The options that every command knows.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Directory that holds images and cache
    ///
    /// Any number of builds may use one directory at once. Without this option it is /var/lib/kiln
    /// for root, and $XDG_DATA_HOME/kiln or ~/.local/share/kiln for everybody else.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KILN_ROOT",
        hide_env_values = true
    )]
    #[arg(help_heading = "Global options")]
    pub root: Option<PathBuf>,
    /// File with settings
    ///
    /// Without this option it is /etc/kiln/kiln.toml for root, and $XDG_CONFIG_HOME/kiln/kiln.toml
    /// or ~/.config/kiln/kiln.toml for everybody else, if there is one.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KILN_CONFIG",
        hide_env_values = true
    )]
    #[arg(help_heading = "Global options")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Find what is wrong or unwise in a Dockerfile, without building it
    Check(Box<CheckArgs>),
    /// List past builds and show what happened in them
    Builds(BuildsArgs),
    /// Say why the steps of a build ran
    Explain(ExplainArgs),
    /// Format Dockerfiles without changing what they mean
    Fmt(FmtArgs),
    /// List the images in the store
    Images(ImagesArgs),
    /// Show all that is known about images, as JSON
    Inspect(InspectArgs),
    /// Show the layers of an image and the instructions that made them
    History(HistoryArgs),
    /// Show what takes up space in the store
    Du(DuArgs),
    /// Remove what no image needs from the store
    Prune(PruneArgs),
    /// List, remove, save and restore what RUN --mount=type=cache keeps
    Cache(CacheArgs),
    /// Check the store
    Store(StoreArgs),
    /// Find out whether this machine can run builds, and what would mend it
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_a_help_text() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = (command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{name:?}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
