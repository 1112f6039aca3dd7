//! A network that a program of the host's carries, for whoever may not make interfaces there: pasta(1) or
//! slirp4netns(1). The program goes into the step's network namespace and speaks for it from here.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, set_parent_process_death_signal};

use super::{Held, WayOut, Wiring};

/// How long a program may take until the step has a route; some versions of pasta never come so far.
const PATIENCE: Duration = Duration::from_secs(5);
const PASTA_RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 53);
/// Where slirp4netns always answers questions about names.
const SLIRP_RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// Large packets cost less where no wire limits them.
const SLIRP_MTU: &str = "--mtu=65520";

/// A running program; ends when dropped.
pub(super) struct Carrier(Child);

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the program is here.
pub(super) fn program(way: WayOut) -> Option<&'static Path> {
    let places = match way {
        WayOut::Routed => return None,
        WayOut::Pasta => ["/usr/bin/pasta", "/usr/local/bin/pasta"],
        WayOut::Slirp4netns => ["/usr/bin/slirp4netns", "/usr/local/bin/slirp4netns"],
    };
    places.into_iter().map(Path::new).find(|path| path.exists())
}

/// Connects the network namespace of a step's first process.
pub(super) fn connect(way: WayOut, init: Pid) -> io::Result<(Wiring, Held)> {
    let program = program(way).ok_or(io::ErrorKind::NotFound)?;
    let target = init.as_raw_nonzero().to_string();
    let mut command = Command::new(program);
    let resolver = match way {
        WayOut::Slirp4netns => {
            // Nothing of the host's loopback interface, nor of its files by the program's own sandbox.
            command.args(["--configure", "--disable-host-loopback", SLIRP_MTU]);
            command.args([&target, "tap0"]);
            SLIRP_RESOLVER
        }
        WayOut::Routed | WayOut::Pasta => {
            command.args(["--config-net", "--foreground", "--quiet", "--no-map-gw"]);
            // Who is root here is so of no more than what Kiln is.
            command.args(["--runas", "0:0"]);
            for ports in ["-t", "-u", "-T", "-U"] {
                command.args([ports, "none"]);
            }
            command.args(["--dns-forward", &PASTA_RESOLVER.to_string()]);
            command.arg(&target);
            PASTA_RESOLVER
        }
    };
    let null = || Stdio::null();
    command.stdin(null()).stdout(null()).stderr(null());
    command.process_group(0);
    // SAFETY: one system call, which allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut carrier = Carrier(command.spawn()?);
    wait_for_route(&mut carrier, &target)?;
    let wiring = Wiring {
        cable: None,
        nameservers: Some(vec![IpAddr::V4(resolver)]),
    };
    Ok((wiring, Held::Userland(carrier)))
}

/// Waits until the network namespace of a process has a default route.
fn wait_for_route(carrier: &mut Carrier, process: &str) -> io::Result<()> {
    let path = format!("/proc/{process}/net/route");
    let began = Instant::now();
    loop {
        let routes = fs::read_to_string(&path)?;
        let leads_out = |line: &str| line.split_ascii_whitespace().nth(1) == Some("00000000");
        if routes.lines().skip(1).any(leads_out) {
            return Ok(());
        }
        if let Some(status) = carrier.0.try_wait()? {
            return Err(io::Error::other(format!("it ended: {status}")));
        }
        if began.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_millis(1));
    }
}
