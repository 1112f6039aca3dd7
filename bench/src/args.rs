//! The command line, as typed.

use std::path::PathBuf;

use clap::Parser;

use crate::tools::ToolName;
use crate::workloads::WorkloadName;

/// Times Kiln and other Dockerfile builders in turn on the same work.
///
/// Needs root, for each builder keeps its state on a fresh ext4 in a sparse loop file. Builders that
/// are not found are left out.
#[derive(Debug, Parser)]
#[command(name = "kiln-bench", version)]
pub(crate) struct Arguments {
    /// What to build; everything if none is named.
    #[arg(value_enum)]
    pub(crate) workloads: Vec<WorkloadName>,

    /// Where base image, contexts, state disks and logs are kept between runs.
    #[arg(long, value_name = "DIR")]
    pub(crate) work: PathBuf,

    /// How often each builder does each workload.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// The builders to measure, in this order; all that are found if none is named.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TOOL")]
    pub(crate) tools: Vec<ToolName>,

    /// Also write every run, the medians and the ratios to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// How long to wait for idle CPUs before a run, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) settle: u64,

    /// When to give a build up, in seconds.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub(crate) timeout: u64,

    /// Which Debian release the base image is made of.
    #[arg(long, default_value = "bookworm")]
    pub(crate) suite: String,

    /// Where to get Debian's packages, if not from the default mirror.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,

    /// Use the image `latest` of this OCI layout as the base instead of making one.
    #[arg(long, value_name = "DIR")]
    pub(crate) base: Option<PathBuf>,

    /// Where the programs are.
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// Programs that are looked for on PATH unless a path is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Programs {
    /// Path of `kiln`.
    #[arg(long, value_name = "PATH")]
    pub(crate) kiln: Option<PathBuf>,

    /// Path of BuildKit's client.
    #[arg(long, value_name = "PATH")]
    pub(crate) buildctl: Option<PathBuf>,

    /// Path of BuildKit's daemon.
    #[arg(long, value_name = "PATH")]
    pub(crate) buildkitd: Option<PathBuf>,

    /// Path of Docker's client.
    #[arg(long, value_name = "PATH")]
    pub(crate) docker: Option<PathBuf>,

    /// Path of Docker's engine; it is started with its own state. containerd is looked for beside it.
    #[arg(long, value_name = "PATH")]
    pub(crate) dockerd: Option<PathBuf>,

    /// Path of buildah.
    #[arg(long, value_name = "PATH")]
    pub(crate) buildah: Option<PathBuf>,

    /// Path of the OCI runtime that BuildKit and buildah use.
    #[arg(long, value_name = "PATH")]
    pub(crate) runc: Option<PathBuf>,
}
