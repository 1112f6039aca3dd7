//! A registry on this machine that holds the base image, for the workload that pulls.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::base::BaseImage;
use crate::command;
use crate::interrupt;
use crate::tools::daemon::Daemon;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running registry without TLS; ends when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    _daemon: Daemon,
}

impl Registry {
    /// Starts `docker-registry` on a free port and puts the base image there as `base:latest`.
    pub(crate) fn start(directory: &Path, base: &BaseImage) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let address = free_address()?;
        let configuration = directory.join("config.yml");
        let storage = directory.join("storage");
        fs::write(&configuration, configuration_text(&storage, address))
            .with_context(|| configuration.display().to_string())?;
        let mut serve = Command::new(command::require("docker-registry")?);
        serve.arg("serve").arg(&configuration);
        let daemon = Daemon::start(&mut serve, &directory.join("log"))?;
        let registry = Self {
            address: address.to_string(),
            _daemon: daemon,
        };
        wait_for(address)?;
        registry.push(base)?;
        Ok(registry)
    }

    /// How a Dockerfile names the base image.
    pub(crate) fn base_reference(&self) -> String {
        format!("{}/base:latest", self.address)
    }

    fn push(&self, base: &BaseImage) -> Result<()> {
        let mut copy = Command::new(command::require("skopeo")?);
        copy.args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ]);
        copy.arg(format!("oci:{}:{}", base.layout.display(), base.tag));
        copy.arg(format!("docker://{}", self.base_reference()));
        command::run(&mut copy)?;
        Ok(())
    }
}

fn configuration_text(storage: &Path, address: SocketAddr) -> String {
    let storage = storage.display();
    format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  \
         filesystem:\n    rootdirectory: {storage}\nhttp:\n  addr: {address}\n"
    )
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    listener.local_addr().context("finding a free port")
}

fn wait_for(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if start.elapsed() > START_LIMIT {
            bail!("docker-registry does not answer on {address}");
        }
        interrupt::sleep(Duration::from_millis(50))?;
    }
    Ok(())
}
