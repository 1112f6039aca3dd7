//! What is built: a Dockerfile, a context, and the phases in which it is built.

mod app;
mod cached;
mod context_files;
mod export;
mod pull;
mod runs50;
mod sleep8;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::context;
use crate::registry::Registry;
use crate::tools::Output;

/// A workload that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WorkloadName {
    /// A rebuild of 12 instructions, all of them cached.
    Cached,
    /// 50 tiny RUN instructions, one after the other.
    Runs50,
    /// A context of 100,000 files: cold, unchanged, one file changed.
    Context,
    /// The same, with a RUN that sees the files.
    ContextRun,
    /// 1 GiB exported as an OCI archive: gzip, zstd, uncompressed.
    Export,
    /// Eight independent stages of `sleep 1`, joined.
    Sleep8,
    /// A realistic multi-stage build: cold, unchanged, one source file changed.
    App,
    /// Pulls the base from a registry on this machine and runs one command in it.
    Pull,
}

/// Something to build, and how often.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) context: PathBuf,
    pub(crate) dockerfile: PathBuf,
    /// Done in this order by each builder, in every round.
    pub(crate) phases: Vec<Phase>,
}

/// One build of a workload.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) before: Before,
    pub(crate) output: Output,
    /// Whether the build counts, or only prepares the next one.
    pub(crate) measured: bool,
}

/// What happens before a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// The builder starts on an empty disk.
    FreshState,
    /// The same, and it has unpacked the base image and run something in it.
    FreshStateWithBase,
    /// The phase before is the preparation.
    Nothing,
    /// A file of the context gets new content.
    ChangeOf(PathBuf),
}

impl Before {
    /// Whether the builder's state is made anew.
    pub(crate) fn wants_fresh_state(&self) -> bool {
        matches!(self, Self::FreshState | Self::FreshStateWithBase)
    }

    /// Changes the context, if the phase begins with that.
    pub(crate) fn change_context(&self) -> Result<()> {
        match self {
            Self::ChangeOf(file) => context::change_file(file),
            _ => Ok(()),
        }
    }
}

impl Phase {
    fn measured(name: &'static str, before: Before) -> Self {
        Self {
            name,
            before,
            output: Output::Default,
            measured: true,
        }
    }

    fn unmeasured(name: &'static str, before: Before) -> Self {
        Self {
            measured: false,
            ..Self::measured(name, before)
        }
    }
}

/// The phases of a build that is repeated: cold, unchanged, and with one file changed.
fn repeated(file: PathBuf) -> Vec<Phase> {
    vec![
        Phase::measured("cold", Before::FreshStateWithBase),
        Phase::measured("unchanged", Before::Nothing),
        Phase::measured("one changed", Before::ChangeOf(file)),
    ]
}

/// Writes what a workload builds, as far as it is not there yet.
pub(crate) fn prepare(
    name: WorkloadName,
    work: &Path,
    registry: Option<&Registry>,
) -> Result<Workload> {
    match name {
        WorkloadName::Cached => cached::prepare(work),
        WorkloadName::Runs50 => runs50::prepare(work),
        WorkloadName::Context => context_files::prepare_copied(work),
        WorkloadName::ContextRun => context_files::prepare_seen(work),
        WorkloadName::Export => export::prepare(work),
        WorkloadName::Sleep8 => sleep8::prepare(work),
        WorkloadName::App => app::prepare(work),
        WorkloadName::Pull => pull::prepare(work, registry.context("pull needs a registry")?),
    }
}

/// The build after which a builder has the base image ready.
pub(crate) fn warm_up(work: &Path) -> Result<Workload> {
    without_context(work, "warm-up", "FROM base\nRUN true\n", Vec::new())
}

/// A workload whose Dockerfile copies nothing.
fn without_context(
    work: &Path,
    name: &'static str,
    dockerfile: &str,
    phases: Vec<Phase>,
) -> Result<Workload> {
    let context = directory(work, name).join("context");
    context::make_once(&context, "empty", |_| Ok(()))?;
    with_context(work, name, dockerfile, context, phases)
}

/// A workload with a context that is there. The Dockerfile lies outside of it.
fn with_context(
    work: &Path,
    name: &'static str,
    dockerfile: &str,
    context: PathBuf,
    phases: Vec<Phase>,
) -> Result<Workload> {
    let directory = directory(work, name);
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let file = directory.join("Dockerfile");
    fs::write(&file, dockerfile).with_context(|| file.display().to_string())?;
    Ok(Workload {
        name,
        context,
        dockerfile: file,
        phases,
    })
}

fn directory(work: &Path, name: &str) -> PathBuf {
    work.join("workloads").join(name)
}
