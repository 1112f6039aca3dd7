//! A network that the host's kernel routes: a cable to the host, whose packets leave with the host's address.
//! Needs root. All of it goes away with the step, and the filter with Kiln, however they end.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rustix::process::Pid;

use super::netlink::Socket;
use super::resolver::Resolver;
use super::{Held, Wiring, cable, files, routes};

/// Connects the network namespace of a step's first process, with addresses of a range that is filtered.
pub(super) fn connect(init: Pid, range: Ipv4Addr) -> io::Result<(Wiring, Held)> {
    let name = format!("{}{}", cable::PREFIX, std::process::id());
    let socket = Socket::of_routes()?;
    let interface = cable::lay(&socket, &name, init, routes::mtu())?;
    let (gateway, address) = routes::addresses(range, interface);
    cable::give_address(&socket, interface, gateway)?;
    set_up(&name)?;
    let (nameservers, resolver) = nameservers(gateway)?;
    let wiring = Wiring {
        cable: Some((address, gateway)),
        nameservers: Some(nameservers),
    };
    Ok((wiring, Held::Resolver(resolver)))
}

/// Whom the step asks for addresses: those of the host's resolvers that it can reach, or, if there is none,
/// one that asks them.
fn nameservers(gateway: Ipv4Addr) -> io::Result<(Vec<IpAddr>, Option<Resolver>)> {
    let all = files::nameservers();
    let is_in_reach = |server: &IpAddr| server.is_ipv4() && !server.is_loopback();
    let in_reach: Vec<IpAddr> = all.iter().copied().filter(is_in_reach).collect();
    if all.is_empty() || !in_reach.is_empty() {
        return Ok((in_reach, None));
    }
    let resolver = Resolver::start(gateway, &all)?;
    Ok((vec![gateway.into()], Some(resolver)))
}

/// Lets the kernel pass on what comes by the cable, if it comes from the step's address, and the answers, which
/// come by whatever leads out. That it passes on anything stays so, as with other engines: somebody else may
/// have come to depend on it.
fn set_up(name: &str) -> io::Result<()> {
    const ALL: &str = "/proc/sys/net/ipv4/ip_forward";
    if !fs::read(ALL)?.starts_with(b"1") {
        fs::write(ALL, "1")?;
    }
    for setting in ["forwarding", "rp_filter"] {
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/{setting}"), "1")?;
    }
    // Nobody filters the other protocol.
    cable::without_ipv6(name)
}
