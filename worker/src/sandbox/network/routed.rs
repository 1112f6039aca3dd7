//! A network that the host's kernel routes: a cable to the host, whose packets leave with the host's address.
//! Needs root. All of it goes away with the step and the process that made it, however they end.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rustix::process::Pid;

use super::netlink::Socket;
use super::resolver::Resolver;
use super::{Held, Wiring, cable, files, filter};

/// Networks of 2^16 addresses of which the first is taken that no route of the host's leads to.
const RANGES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 207, 0, 0),
    Ipv4Addr::new(172, 29, 0, 0),
    Ipv4Addr::new(10, 91, 0, 0),
    Ipv4Addr::new(192, 168, 0, 0),
];
const RANGE_PREFIX: u32 = 16;

/// What the largest packet of most networks has, in bytes.
const USUAL_MTU: u32 = 1500;

/// Connects the network namespace of a step's first process.
pub(super) fn connect(init: Pid) -> io::Result<(Wiring, Held)> {
    let name = format!("{}{}", cable::PREFIX, std::process::id());
    let table = routing_table();
    let routes = Socket::of_routes()?;
    let interface = cable::lay(&routes, &name, init, mtu(&table))?;
    cable::without_ipv6(&name)?;
    let (gateway, address) = addresses(&table, interface)?;
    cable::give_address(&routes, interface, gateway)?;
    forward(&name)?;
    let filter = filter::establish(&filter::Step {
        address,
        interface,
        prefix: cable::PREFIX,
        table: &name,
    })?;
    let (nameservers, resolver) = nameservers(gateway)?;
    let wiring = Wiring {
        cable: Some((address, gateway)),
        nameservers: Some(nameservers),
    };
    Ok((wiring, Held::Routed(filter, resolver)))
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

/// A destination, its mask and the interface that leads there.
struct Route {
    destination: u32,
    mask: u32,
    interface: String,
}

/// The host's routes, as in `/proc/net/route`.
fn routing_table() -> Vec<Route> {
    let text = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| {
            let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
            Some(number.swap_bytes())
        };
        Some(Route {
            interface: (*fields.first()?).to_owned(),
            destination: number(1)?,
            mask: number(7)?,
        })
    };
    text.lines().skip(1).filter_map(route).collect()
}

/// The host's and the step's address. The position of the interface tells steps of all builds apart.
fn addresses(table: &[Route], interface: u32) -> io::Result<(Ipv4Addr, Ipv4Addr)> {
    let range = RANGES.into_iter().map(u32::from).find(|range| {
        let others = table
            .iter()
            .filter(|route| !route.interface.starts_with(cable::PREFIX));
        let mut specific = others.filter(|route| route.mask != 0);
        let mask = u32::MAX << (32 - RANGE_PREFIX);
        !specific.any(|route| (route.destination ^ range) & route.mask & mask == 0)
    });
    let range = range.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let pairs = 1 << (31 - RANGE_PREFIX);
    let first = range | (interface % pairs) << 1;
    Ok((first.into(), (first | 1).into()))
}

/// What a packet may have to leave by the default route.
fn mtu(table: &[Route]) -> u32 {
    let uplink = table.iter().find(|route| route.mask == 0);
    let read = |route: &Route| {
        let path = format!("/sys/class/net/{}/mtu", route.interface);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    uplink.and_then(read).unwrap_or(USUAL_MTU).min(USUAL_MTU)
}

/// Lets the kernel pass on what comes by the cable, and the answers, which come by whatever leads out.
/// It stays so, as with other engines: somebody else may have come to depend on it.
fn forward(name: &str) -> io::Result<()> {
    const ALL: &str = "/proc/sys/net/ipv4/ip_forward";
    match fs::read(ALL)?.starts_with(b"1") {
        true => fs::write(format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), "1"),
        false => fs::write(ALL, "1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_the_host_uses_is_left_to_it() {
        let route = |destination: [u8; 4], bits: u32, interface: &str| Route {
            destination: u32::from_be_bytes(destination),
            mask: u32::MAX.checked_shl(32 - bits).unwrap_or(0),
            interface: interface.to_owned(),
        };
        let default = route([0, 0, 0, 0], 0, "eth0");
        let chosen = |table: &[Route]| addresses(table, 3).expect("a range").1.octets();
        assert_eq!(chosen(&[default]), [10, 207, 0, 7]);
        let kilns = route([10, 207, 0, 8], 31, "kiln77");
        assert_eq!(chosen(&[kilns]), [10, 207, 0, 7]);
        let part = route([10, 207, 9, 0], 24, "eth0");
        assert_eq!(chosen(&[part]), [172, 29, 0, 7]);
        let whole = route([10, 0, 0, 0], 8, "tun0");
        let other = route([172, 16, 0, 0], 12, "docker0");
        assert_eq!(chosen(&[whole, other]), [192, 168, 0, 7]);
    }
}
