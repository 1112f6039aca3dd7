//! The network of a step: the host's, none, or one of its own with a way out to where the host can go. In its
//! own it has a loopback interface that is not the host's, and nobody who can be reached but by that way.

mod cable;
mod files;
mod filter;
mod loopback;
mod netlink;
mod resolver;
mod routed;
mod routes;
mod userland;

use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

pub(super) use files::hosts;
pub(super) use filter::{Filter, establish as establish_filter};

use super::enclosure::Enclosure;
use super::error::{During, Failure};
use super::spec::Network;

/// How a network of a step's own reaches what is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WayOut {
    /// By a cable to the host, whose kernel routes and filters; root only.
    Routed,
    /// By the program pasta.
    Pasta,
    /// By the program slirp4netns.
    Slirp4netns,
}

impl WayOut {
    /// Those that this machine has, the best first.
    pub(super) fn all(is_machine_root: bool) -> Vec<Self> {
        let mut ways = Vec::new();
        if is_machine_root {
            ways.push(Self::Routed);
        }
        let programs = [Self::Pasta, Self::Slirp4netns].into_iter();
        ways.extend(programs.filter(|way| userland::program(*way).is_some()));
        ways
    }
}

impl Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Routed => "network address translation by this machine's kernel",
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        })
    }
}

/// What the step's first process is told of its network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Wiring {
    /// The step's address and the host's, if there is a cable that the step itself must set up.
    cable: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Whom to ask for addresses; `None` is whom the host asks.
    nameservers: Option<Vec<IpAddr>>,
}

/// What must live as long as the step uses its network.
pub(super) struct Guard(#[expect(dead_code, reason = "held until the step is over")] Held);

#[expect(dead_code, reason = "held until the step is over")]
enum Held {
    /// For the host's network, or none.
    Nothing,
    /// Who answers questions about names, if the host's resolver is out of reach.
    Resolver(Option<resolver::Resolver>),
    /// The program.
    Userland(userland::Carrier),
}

/// What a helper is told of the way out for a private network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passage {
    pub(super) way: WayOut,
    /// The network of which steps have their addresses, where the kernel routes.
    pub(super) range: Ipv4Addr,
}

/// Gives the network namespace of a step's first process its way out.
pub(super) fn connect(
    network: Network,
    passage: Option<Passage>,
    init: Pid,
) -> Result<(Wiring, Guard), Failure> {
    let Some(Passage { way, range }) = passage.filter(|_| network == Network::Private) else {
        let wiring = Wiring {
            cable: None,
            nameservers: (network == Network::None).then(Vec::new),
        };
        return Ok((wiring, Guard(Held::Nothing)));
    };
    let connected = match way {
        WayOut::Routed => routed::connect(init, range),
        WayOut::Pasta | WayOut::Slirp4netns => userland::connect(way, init),
    };
    let unconnected = |error: io::Error| Failure::Unconnected {
        way,
        problem: error.to_string(),
    };
    let (wiring, held) = connected.map_err(unconnected)?;
    Ok((wiring, Guard(held)))
}

impl Wiring {
    /// Brings up what is in this process's network namespace, if that is the step's own.
    pub(super) fn bring_up(&self, enclosure: &Enclosure) -> Result<(), Failure> {
        if enclosure.has_own_network() {
            loopback::raise().during("bring up", "the loopback interface")?;
        }
        if let Some((address, gateway)) = self.cable {
            cable::connect(address, gateway).during("connect", "the step to its network")?;
        }
        Ok(())
    }

    /// The step's `/etc/resolv.conf`: nothing where there is nobody to ask. Read before the root changes.
    pub(super) fn resolvers(&self) -> Vec<u8> {
        match &self.nameservers {
            Some(nobody) if nobody.is_empty() => Vec::new(),
            nameservers => files::resolvers(nameservers.as_deref()),
        }
    }
}
