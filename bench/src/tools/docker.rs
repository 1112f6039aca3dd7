//! docker buildx, with a dockerd of its own or else with the engine that runs here.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::args::Programs;
use crate::command;
use crate::process::ProcessId;
use crate::tools::daemon::Daemon;
use crate::tools::{Build, Output, Site, Tool, ToolName};

/// Where an engine that was started by the system writes its process id.
const PID_FILES: [&str; 2] = ["/run/docker.pid", "/var/run/docker.pid"];

/// Docker's client, and its engine.
#[derive(Debug)]
pub(crate) struct Docker {
    client: PathBuf,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// This dockerd, started with its own state.
    Own(PathBuf),
    /// The engine that the client finds, whose state is where it is.
    Running(ProcessId),
}

impl Docker {
    pub(crate) fn find(programs: &Programs) -> Result<Option<Self>> {
        let Some(client) = command::find("docker", programs.docker.as_deref())? else {
            return Ok(None);
        };
        if command::run(Command::new(&client).args(["buildx", "version"])).is_err() {
            eprintln!("docker: has no buildx (a plugin of its configuration directory)");
            return Ok(None);
        }
        let own = command::find("dockerd", programs.dockerd.as_deref())?;
        let engine = own
            .map(Engine::Own)
            .or_else(|| running(&client).map(Engine::Running));
        Ok(engine.map(|engine| Self { client, engine }))
    }
}

/// The process of the engine that answers `client`.
fn running(client: &Path) -> Option<ProcessId> {
    command::run(Command::new(client).arg("version")).ok()?;
    PID_FILES
        .iter()
        .find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

fn socket(site: &Site<'_>) -> PathBuf {
    site.run.join("docker.sock")
}

impl Tool for Docker {
    fn name(&self) -> ToolName {
        ToolName::Docker
    }

    fn version(&self) -> String {
        command::version(&self.client, "--version")
    }

    fn equal_work(&self) -> &'static str {
        match self.engine {
            Engine::Own(_) => "compresses, stores and unpacks the image under its name",
            Engine::Running(_) => {
                "the running engine, on its own disk; cold is --no-cache; stores the image"
            }
        }
    }

    fn start(&self, site: &Site<'_>) -> Result<Option<Daemon>> {
        let program = match &self.engine {
            Engine::Own(program) => program,
            Engine::Running(process) => return Ok(Some(Daemon::Foreign(*process))),
        };
        let socket = socket(site);
        let mut daemon = Command::new(program);
        daemon.env("PATH", path_with_directory_of(program)?);
        daemon.arg("--data-root").arg(site.state.join("docker"));
        daemon.arg("--exec-root").arg(site.run.join("exec"));
        daemon.arg("--pidfile").arg(site.run.join("docker.pid"));
        daemon
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        // No bridge and no rules: the machine's network stays as it is.
        daemon.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        daemon.args(["--feature", "containerd-snapshotter=true"]);
        let log = site.run.join("dockerd.log");
        Daemon::start_on_socket(&mut daemon, &socket, &log).map(Some)
    }

    fn command(&self, build: &Build<'_>, site: &Site<'_>) -> Command {
        let mut client = Command::new(&self.client);
        if matches!(self.engine, Engine::Own(_)) {
            client.env("DOCKER_HOST", format!("unix://{}", socket(site).display()));
        }
        client.env("BUILDX_CONFIG", site.run.join("buildx"));
        client.args([
            "buildx",
            "build",
            "--progress",
            "plain",
            "--provenance=false",
        ]);
        client
            .args(["--network", "host", "-t", build.name, "-f"])
            .arg(build.dockerfile);
        let (layout, tag) = (build.base.layout.display(), build.base.tag);
        client
            .arg("--build-context")
            .arg(format!("base=oci-layout://{layout}:{tag}"));
        if build.ignore_cache {
            client.arg("--no-cache");
        }
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

    fn keeps_state_on_site(&self) -> bool {
        matches!(self.engine, Engine::Own(_))
    }
}

/// PATH with containerd's likely directory, the engine's own, in front.
fn path_with_directory_of(program: &Path) -> Result<OsString> {
    let own = program.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(own.into_iter().chain(env::split_paths(&path))).context("making a PATH")
}
