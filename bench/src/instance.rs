//! A builder at work: its disk, its daemon, and the builds that it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::disk::StateDisk;
use crate::measure::{self, Sample};
use crate::settle;
use crate::tools::daemon::Daemon;
use crate::tools::{Build, Output, Site, Tool};

/// How runs are done, whoever does them.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// How long to wait for idle CPUs.
    pub(crate) settle: Duration,
    /// When a build is given up.
    pub(crate) timeout: Duration,
    /// A registry that speaks HTTP.
    pub(crate) plain_registry: Option<String>,
}

/// One builder and its state.
pub(crate) struct Instance<'a> {
    pub(crate) tool: &'a dyn Tool,
    rules: &'a Rules,
    directory: PathBuf,
    run: PathBuf,
    // Dropped in this order: the daemon uses the disk.
    daemon: Option<Daemon>,
    disk: Option<StateDisk>,
}

impl<'a> Instance<'a> {
    /// A builder without state yet, which will be kept in `directory`.
    pub(crate) fn new(tool: &'a dyn Tool, rules: &'a Rules, directory: PathBuf) -> Result<Self> {
        let run = directory.join("run");
        fs::create_dir_all(&run).with_context(|| run.display().to_string())?;
        Ok(Self {
            tool,
            rules,
            directory,
            run,
            daemon: None,
            disk: None,
        })
    }

    /// Stops the daemon and starts it anew on an empty disk.
    pub(crate) fn start_fresh(&mut self) -> Result<()> {
        self.stop();
        self.disk = Some(StateDisk::create(&self.directory)?);
        self.daemon = self.tool.start(&self.site())?;
        Ok(())
    }

    /// Stops the daemon and deletes the state.
    pub(crate) fn stop(&mut self) {
        self.daemon = None;
        self.disk = None;
    }

    /// Does a build on a quiet machine and measures it.
    pub(crate) fn measure(&self, build: &Build<'_>, log: &Path) -> Result<Sample> {
        let settled = settle::settle(self.rules.settle)?;
        let mut sample = self.build(build, log)?;
        sample.settled = settled;
        sample.output_bytes = self.output_bytes(build)?;
        Ok(sample)
    }

    /// Does a build, quiet or not.
    pub(crate) fn build(&self, build: &Build<'_>, log: &Path) -> Result<Sample> {
        let mut client: Command = self.tool.command(build, &self.site());
        let daemon = self.daemon.as_ref().map(Daemon::process);
        let sample = measure::run(&mut client, daemon, log, self.rules.timeout)?;
        self.check_that_something_was_built()?;
        Ok(sample)
    }

    /// A client that ends well without having done anything must not be called fast.
    fn check_that_something_was_built(&self) -> Result<()> {
        let Some(disk) = self
            .disk
            .as_ref()
            .filter(|_| self.tool.keeps_state_on_site())
        else {
            return Ok(());
        };
        if disk.is_empty()? {
            bail!("the build ended well and left nothing behind");
        }
        Ok(())
    }

    fn output_bytes(&self, build: &Build<'_>) -> Result<Option<u64>> {
        if build.output == Output::Default {
            return Ok(None);
        }
        let archive = self.site().archive();
        let data = fs::metadata(&archive).with_context(|| archive.display().to_string())?;
        Ok(Some(data.len()))
    }

    fn site(&self) -> Site<'_> {
        Site {
            state: self
                .disk
                .as_ref()
                .map_or(self.directory.as_path(), StateDisk::path),
            run: &self.run,
            plain_registry: self.rules.plain_registry.as_deref(),
        }
    }
}
