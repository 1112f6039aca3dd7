//! What a step reads about the network: `/etc/hosts` and `/etc/resolv.conf`.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;

use super::super::spec::Spec;

const RESOLVERS: &str = "/etc/resolv.conf";

/// The step's `/etc/hosts`, as BuildKit writes it.
pub(in super::super) fn hosts(spec: &Spec) -> String {
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

/// Those whom the host asks for addresses.
pub(super) fn nameservers() -> Vec<IpAddr> {
    let text = fs::read_to_string(RESOLVERS).unwrap_or_default();
    let addresses = text.lines().filter_map(nameserver);
    addresses
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// The host's `/etc/resolv.conf`, for the host's network even where it names a resolver on the loopback
/// interface; with others to ask, if they are given. Read before the root changes.
pub(super) fn resolvers(nameservers: Option<&[IpAddr]>) -> Vec<u8> {
    let text = fs::read(RESOLVERS).unwrap_or_default();
    let Some(nameservers) = nameservers else {
        return text;
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter(|line| nameserver(line).is_none());
    let mut result: String = lines.flat_map(|line| [line, "\n"]).collect();
    for server in nameservers {
        let _ = writeln!(result, "nameserver {server}");
    }
    result.into_bytes()
}

/// The address in a line of resolv.conf(5) that names one.
fn nameserver(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| *word == "nameserver")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::super::super::spec::{Host, Overlay};
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

    #[test]
    fn only_lines_that_name_servers_name_servers() {
        assert_eq!(nameserver("nameserver 127.0.0.53"), Some("127.0.0.53"));
        assert_eq!(nameserver("  nameserver\t::1 # local"), Some("::1"));
        for line in ["", "nameserver", "# nameserver 1.2.3.4", "search a.b"] {
            assert_eq!(nameserver(line), None, "{line:?}");
        }
    }
}
