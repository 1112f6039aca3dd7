//! Kiln, without its server.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::args::Programs;
use crate::command;
use crate::tools::daemon::Daemon;
use crate::tools::{Build, Output, Site, Tool, ToolName};

/// The `kiln` binary.
#[derive(Debug)]
pub(crate) struct Kiln {
    program: PathBuf,
}

impl Kiln {
    pub(crate) fn find(programs: &Programs) -> Result<Option<Self>> {
        let program = command::find("kiln", programs.kiln.as_deref())?;
        Ok(program.map(|program| Self { program }))
    }
}

impl Tool for Kiln {
    fn name(&self) -> ToolName {
        ToolName::Kiln
    }

    fn version(&self) -> String {
        command::version(&self.program, "--version")
    }

    fn equal_work(&self) -> &'static str {
        "stores the image under its name"
    }

    fn start(&self, _site: &Site<'_>) -> Result<Option<Daemon>> {
        Ok(None)
    }

    fn command(&self, build: &Build<'_>, site: &Site<'_>) -> Command {
        let mut client = Command::new(&self.program);
        client.arg("--root").arg(site.state.join("kiln"));
        client
            .args(["build", "--progress", "plain", "-t", build.name, "-f"])
            .arg(build.dockerfile);
        let (layout, tag) = (build.base.layout.display(), build.base.tag);
        client
            .arg("--build-context")
            .arg(format!("base=oci-layout://{layout}:{tag}"));
        if let Output::OciArchive(compression) = build.output {
            let (file, compression) = (site.archive(), compression.as_str());
            client.arg("-o");
            client.arg(format!(
                "type=oci,dest={},compression={compression}",
                file.display()
            ));
        }
        client.arg(build.context);
        client
    }
}
