//! The builders: where they are, how they are started, and what command builds with them.

mod buildah;
mod buildkit;
pub(crate) mod daemon;
mod docker;
mod kiln;

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::args::Programs;
use crate::base::BaseImage;
use crate::tools::daemon::Daemon;

/// A builder that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolName {
    /// Kiln, which is what the others are compared with.
    Kiln,
    /// buildctl and a buildkitd of its own.
    Buildkit,
    /// docker buildx with a dockerd of its own, or with the running engine.
    Docker,
    /// buildah.
    Buildah,
}

impl fmt::Display for ToolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kiln => "kiln",
            Self::Buildkit => "buildkit",
            Self::Docker => "docker",
            Self::Buildah => "buildah",
        })
    }
}

/// What becomes of a build's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// What the builder does if it is told nothing but a name; see [`Tool::equal_work`].
    Default,
    /// An OCI archive with its layers so compressed.
    OciArchive(LayerCompression),
}

/// How exported layers are compressed, each builder at its own default level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerCompression {
    Gzip,
    Zstd,
    Uncompressed,
}

impl LayerCompression {
    /// The value of `compression=` in an output option.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Uncompressed => "uncompressed",
        }
    }
}

/// One build to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build<'a> {
    /// The image's name.
    pub(crate) name: &'a str,
    pub(crate) context: &'a Path,
    pub(crate) dockerfile: &'a Path,
    /// What `FROM base` means.
    pub(crate) base: &'a BaseImage,
    pub(crate) output: Output,
    /// Whether nothing may be cached; only asked of builders whose state cannot be made anew.
    pub(crate) ignore_cache: bool,
}

/// Where a builder keeps what it keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The mount point of its disk.
    pub(crate) state: &'a Path,
    /// For sockets and logs.
    pub(crate) run: &'a Path,
    /// A registry that speaks HTTP.
    pub(crate) plain_registry: Option<&'a str>,
}

impl Site<'_> {
    /// Where a build's output goes: on the builder's own disk.
    pub(crate) fn archive(&self) -> std::path::PathBuf {
        self.state.join("image.tar")
    }
}

/// A builder that was found.
pub(crate) trait Tool {
    /// Which one it is.
    fn name(&self) -> ToolName;

    /// What it says its version is.
    fn version(&self) -> String;

    /// How its work with [`Output::Default`] compares with the others'.
    fn equal_work(&self) -> &'static str;

    /// Starts its daemon, if it has one, and waits until it answers.
    fn start(&self, site: &Site<'_>) -> Result<Option<Daemon>>;

    /// The client's command line for a build.
    fn command(&self, build: &Build<'_>, site: &Site<'_>) -> Command;

    /// Whether it can write this; if not, the phase is left out.
    fn can_write(&self, _output: Output) -> bool {
        true
    }

    /// Whether its state is on the disk that it is given; if not, a cold build must ignore the cache.
    fn keeps_state_on_site(&self) -> bool {
        true
    }
}

/// The builders that are there, in the order asked for. One that was asked for and is missing is an error.
pub(crate) fn find(asked: &[ToolName], programs: &Programs) -> Result<Vec<Box<dyn Tool>>> {
    let all = [
        ToolName::Kiln,
        ToolName::Buildkit,
        ToolName::Docker,
        ToolName::Buildah,
    ];
    let names = if asked.is_empty() { &all[..] } else { asked };
    let mut tools = Vec::new();
    for &name in names {
        match find_one(name, programs)? {
            Some(tool) => tools.push(tool),
            None if asked.is_empty() => eprintln!("{name}: not found, left out"),
            None => anyhow::bail!("{name}: not found"),
        }
    }
    anyhow::ensure!(!tools.is_empty(), "no builder was found");
    Ok(tools)
}

fn find_one(name: ToolName, programs: &Programs) -> Result<Option<Box<dyn Tool>>> {
    Ok(match name {
        ToolName::Kiln => boxed(kiln::Kiln::find(programs)?),
        ToolName::Buildkit => boxed(buildkit::Buildkit::find(programs)?),
        ToolName::Docker => boxed(docker::Docker::find(programs)?),
        ToolName::Buildah => boxed(buildah::Buildah::find(programs)?),
    })
}

fn boxed(tool: Option<impl Tool + 'static>) -> Option<Box<dyn Tool>> {
    tool.map(|tool| Box::new(tool) as Box<dyn Tool>)
}
