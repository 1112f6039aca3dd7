//! What a step knows of the network beside its namespace: the loopback interface, `/etc/hosts` and
//! `/etc/resolv.conf`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::spec::{Network, Spec};

/// Brings up the loopback interface of a new network namespace.
pub(super) fn raise_loopback() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is made of integers and a union of them.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of the live request.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The step's `/etc/hosts`, as BuildKit writes it.
pub(super) fn hosts(spec: &Spec) -> String {
    let mut text = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        spec.hostname
    );
    for host in &spec.hosts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\t{}", host.address, host.name);
    }
    text
}

/// The step's `/etc/resolv.conf`: the host's for the host's network, even where it names a resolver on
/// the loopback interface, and nothing where there is nobody to ask. Read before the root changes.
pub(super) fn resolvers(network: Network) -> Vec<u8> {
    match network {
        Network::Host => fs::read("/etc/resolv.conf").unwrap_or_default(),
        Network::None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Host, Overlay};
    use super::*;

    #[test]
    fn hosts_name_the_step_and_the_extra_hosts() {
        let overlay = Overlay {
            layers: Vec::new(),
            writable: None,
        };
        let mut spec = Spec::new(overlay, ["true"]);
        spec.hosts.push(Host {
            name: "db".into(),
            address: "fd00::7".parse().expect("address"),
        });
        assert_eq!(
            hosts(&spec),
            "127.0.0.1\tlocalhost buildkitsandbox\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fd00::7\tdb\n"
        );
    }
}
