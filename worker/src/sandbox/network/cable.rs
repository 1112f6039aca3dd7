//! A virtual cable between the host and a step: two interfaces, of which the host's goes away with the step's
//! network namespace. Addresses are of a network of two, so that no step has a neighbour.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::Pid;

use super::netlink::{Message, Socket, terminated};

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `NLM_F_CREATE | NLM_F_EXCL`
const NEW: u16 = 0x600;
const UP: u32 = libc::IFF_UP as u32;

/// What the names of the host's ends begin with.
pub(super) const PREFIX: &str = "kiln";
/// What the step calls its end, as in Docker.
const INSIDE: &str = "eth0";
/// The length of the prefix of a network of two addresses (RFC 3021).
const POINT_TO_POINT: u8 = 31;

/// Makes a cable that leads into the network namespace of a process, and returns the position of the
/// host's end among its interfaces, which no other interface has meanwhile.
pub(super) fn lay(routes: &Socket, name: &str, into: Pid, mtu: u32) -> io::Result<u32> {
    let mtu = mtu.to_ne_bytes();
    let message = Message::new(NEW_LINK, NEW, &interface(0, UP))
        .with_attribute(3, &terminated(name))
        .with_attribute(4, &mtu)
        .with_nested(18, |it| {
            it.text(1, "veth");
            it.nest(2, &[], |it| {
                // It cannot be up before there is the other end.
                it.nest(1, &interface(0, 0), |it| {
                    it.text(3, INSIDE);
                    it.add(4, &mtu);
                    it.add(19, &into.as_raw_nonzero().get().to_ne_bytes());
                });
            });
        });
    routes.request(vec![message])?;
    index_of(name)
}

/// Gives an interface one of two addresses.
pub(super) fn give_address(routes: &Socket, interface: u32, address: Ipv4Addr) -> io::Result<()> {
    let mut body = vec![libc::AF_INET as u8, POINT_TO_POINT, 0, 0];
    body.extend(interface.to_ne_bytes());
    let message = Message::new(NEW_ADDRESS, NEW, &body)
        .with_attribute(2, &address.octets())
        .with_attribute(1, &address.octets());
    routes.request(vec![message])
}

/// Makes this network namespace reach everything by its end of the cable.
pub(super) fn connect(address: Ipv4Addr, gateway: Ipv4Addr) -> io::Result<()> {
    let routes = Socket::of_routes()?;
    let inside = index_of(INSIDE)?;
    let up = Message::new(NEW_LINK, 0, &interface(inside, UP));
    routes.request(vec![up])?;
    give_address(&routes, inside, address)?;
    const MAIN_TABLE: u8 = 254;
    const BY_AN_ADMINISTRATOR: u8 = 4;
    const TO_ONE: u8 = 1;
    let family = libc::AF_INET as u8;
    let body = [
        family,
        0,
        0,
        0,
        MAIN_TABLE,
        BY_AN_ADMINISTRATOR,
        0,
        TO_ONE,
        0,
        0,
        0,
        0,
    ];
    let message = Message::new(NEW_ROUTE, NEW, &body).with_attribute(5, &gateway.octets());
    routes.request(vec![message])
}

/// Switches IPv6 off, in which nobody would filter.
pub(super) fn without_ipv6(name: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::write(&path, "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// `struct ifinfomsg`
fn interface(index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body
}

fn index_of(name: &str) -> io::Result<u32> {
    let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(&socket, name)?)
}
