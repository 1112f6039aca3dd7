//! BuildKit: buildctl, and a buildkitd that this program starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::args::Programs;
use crate::command;
use crate::tools::daemon::Daemon;
use crate::tools::{Build, Output, Site, Tool, ToolName};

/// BuildKit's client, daemon and runtime.
#[derive(Debug)]
pub(crate) struct Buildkit {
    client: PathBuf,
    daemon: PathBuf,
    runtime: PathBuf,
}

impl Buildkit {
    pub(crate) fn find(programs: &Programs) -> Result<Option<Self>> {
        let client = command::find("buildctl", programs.buildctl.as_deref())?;
        let daemon = command::find("buildkitd", programs.buildkitd.as_deref())?;
        let runtime = command::find("runc", programs.runc.as_deref())?;
        let (Some(client), Some(daemon), Some(runtime)) = (client, daemon, runtime) else {
            return Ok(None);
        };
        Ok(Some(Self {
            client,
            daemon,
            runtime,
        }))
    }
}

fn socket(site: &Site<'_>) -> PathBuf {
    site.run.join("buildkitd.sock")
}

impl Tool for Buildkit {
    fn name(&self) -> ToolName {
        ToolName::Buildkit
    }

    fn version(&self) -> String {
        command::version(&self.daemon, "--version")
    }

    fn equal_work(&self) -> &'static str {
        "keeps the result in its cache, exports nothing"
    }

    fn start(&self, site: &Site<'_>) -> Result<Option<Daemon>> {
        let configuration = site.run.join("buildkitd.toml");
        write_configuration(&configuration, site.plain_registry)?;
        let socket = socket(site);
        let mut daemon = Command::new(&self.daemon);
        daemon
            .arg("--config")
            .arg(&configuration)
            .arg("--root")
            .arg(site.state.join("buildkit"));
        daemon
            .arg("--addr")
            .arg(format!("unix://{}", socket.display()));
        daemon.args([
            "--oci-worker=true",
            "--containerd-worker=false",
            "--oci-worker-gc=false",
        ]);
        daemon.arg("--oci-worker-snapshotter=overlayfs");
        daemon.arg("--oci-worker-binary").arg(&self.runtime);
        let log = site.run.join("buildkitd.log");
        Daemon::start_on_socket(&mut daemon, &socket, &log).map(Some)
    }

    fn command(&self, build: &Build<'_>, site: &Site<'_>) -> Command {
        let mut client = Command::new(&self.client);
        client
            .arg("--addr")
            .arg(format!("unix://{}", socket(site).display()));
        client.args([
            "build",
            "--progress",
            "plain",
            "--frontend",
            "dockerfile.v0",
        ]);
        client
            .arg("--local")
            .arg(format!("context={}", build.context.display()));
        let (directory, file) = split(build.dockerfile);
        client.arg("--local").arg(format!("dockerfile={directory}"));
        client.arg("--opt").arg(format!("filename={file}"));
        // A tag is not enough for buildctl.
        client
            .arg("--oci-layout")
            .arg(format!("base={}", build.base.layout.display()));
        client.arg("--opt").arg(format!(
            "context:base=oci-layout://base@{}",
            build.base.digest
        ));
        if let Output::OciArchive(compression) = build.output {
            let (file, compression) = (site.archive(), compression.as_str());
            client.arg("--output");
            client.arg(format!(
                "type=oci,dest={},compression={compression}",
                file.display()
            ));
        }
        client
    }
}

fn write_configuration(file: &Path, plain_registry: Option<&str>) -> Result<()> {
    let registry = plain_registry
        .map(|address| format!("[registry.\"{address}\"]\n  http = true\n"))
        .unwrap_or_default();
    fs::write(file, registry).with_context(|| file.display().to_string())
}

/// A Dockerfile's directory and name.
fn split(dockerfile: &Path) -> (String, String) {
    let directory = dockerfile.parent().unwrap_or(Path::new("."));
    let file = dockerfile.file_name().unwrap_or_default();
    (
        directory.display().to_string(),
        file.to_string_lossy().into_owned(),
    )
}
