//! Where the host's routes lead, and what they leave free for steps.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use super::cable;

/// Networks of which the first is taken that no route of the host's leads to.
const RANGES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 207, 0, 0),
    Ipv4Addr::new(172, 29, 0, 0),
    Ipv4Addr::new(10, 91, 0, 0),
    Ipv4Addr::new(192, 168, 0, 0),
];

/// The length of their prefix.
pub(super) const RANGE_PREFIX: u32 = 16;

/// What the largest packet of most networks has, in bytes.
const USUAL_MTU: u32 = 1500;

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

/// A network that steps can have their addresses of.
pub(super) fn free_range() -> io::Result<Ipv4Addr> {
    free_in(&routing_table()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn free_in(table: &[Route]) -> Option<Ipv4Addr> {
    let others = table
        .iter()
        .filter(|route| route.mask != 0 && !route.interface.starts_with(cable::PREFIX));
    let others: Vec<_> = others.collect();
    let mask = u32::MAX << (32 - RANGE_PREFIX);
    RANGES.into_iter().find(|range| {
        let meets =
            |route: &&Route| (route.destination ^ u32::from(*range)) & route.mask & mask == 0;
        !others.iter().any(meets)
    })
}

/// The host's and the step's address in a range. The position of the interface tells steps of all builds
/// apart.
pub(super) fn addresses(range: Ipv4Addr, interface: u32) -> (Ipv4Addr, Ipv4Addr) {
    let pairs = 1 << (31 - RANGE_PREFIX);
    let first = u32::from(range) | (interface % pairs) << 1;
    (first.into(), (first | 1).into())
}

/// What a packet may have to leave by the default route.
pub(super) fn mtu() -> u32 {
    let table = routing_table();
    let uplink = table.iter().find(|route| route.mask == 0);
    let read = |route: &Route| {
        let path = format!("/sys/class/net/{}/mtu", route.interface);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    uplink.and_then(read).unwrap_or(USUAL_MTU).min(USUAL_MTU)
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
        let chosen = |table: &[Route]| free_in(table).expect("a range").octets();
        let default = route([0, 0, 0, 0], 0, "eth0");
        assert_eq!(chosen(&[default]), [10, 207, 0, 0]);
        let kilns = route([10, 207, 0, 8], 31, "kiln77");
        assert_eq!(chosen(&[kilns]), [10, 207, 0, 0]);
        let part = route([10, 207, 9, 0], 24, "eth0");
        assert_eq!(chosen(&[part]), [172, 29, 0, 0]);
        let whole = route([10, 0, 0, 0], 8, "tun0");
        let other = route([172, 16, 0, 0], 12, "docker0");
        assert_eq!(chosen(&[whole, other]), [192, 168, 0, 0]);
    }

    #[test]
    fn each_interface_has_two_addresses() {
        let range = Ipv4Addr::new(10, 207, 0, 0);
        let at = |interface| addresses(range, interface).1.octets();
        assert_eq!(at(3), [10, 207, 0, 7]);
        assert_eq!(at((1 << 15) - 1), [10, 207, 255, 255]);
        assert_eq!(at(1 << 15), [10, 207, 0, 1]);
    }
}
