//! `--add-host`: lines for a step's /etc/hosts.

use std::fmt;
use std::net::IpAddr;

use super::UsageError;

/// A name and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: HostAddress,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// To this address.
    Ip(IpAddr),
    /// To this machine, as a step sees it: `host-gateway`.
    Gateway,
}

impl fmt::Display for HostAddress {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostAddress::Ip(ip) => ip.fmt(f),
            HostAddress::Gateway => f.write_str("host-gateway"),
        }
    }
}

/// Reads `NAME=IP` or `NAME:IP`; an IPv6 address may stand in brackets (docker/cli,
/// `opts.ValidateExtraHost`).
pub(super) fn parse(typed: &str) -> Result<ExtraHost, UsageError> {
    let wrong = |problem: String| {
        UsageError::new("--add-host", typed, problem).hint("write it as in --add-host db=10.0.0.2")
    };
    let pair = typed.split_once('=').or_else(|| typed.split_once(':'));
    let (name, address) = pair.ok_or_else(|| wrong("there is no = or :".to_owned()))?;
    if name.is_empty() {
        return Err(wrong("the name is missing".to_owned()));
    }
    if name.contains(|c: char| c == ':' || c == '#' || c.is_whitespace() || c.is_control()) {
        return Err(wrong(format!("{name:?} is not a host name")));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    let address = match bare {
        "host-gateway" => HostAddress::Gateway,
        bare => match bare.parse() {
            Ok(ip) => HostAddress::Ip(ip),
            Err(_) => return Err(wrong(format!("{address:?} is not an IP address"))),
        },
    };
    Ok(ExtraHost {
        name: name.to_owned(),
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_and_both_kinds_of_address_are_read() {
        let cases = [
            ("db:10.0.0.2", "db", "10.0.0.2"),
            ("db=10.0.0.2", "db", "10.0.0.2"),
            ("db:::1", "db", "::1"),
            ("db=[::1]", "db", "::1"),
            ("db:[2001:db8::1]", "db", "2001:db8::1"),
        ];
        for (typed, name, ip) in cases {
            let host = parse(typed).expect(typed);
            let address = HostAddress::Ip(ip.parse().expect(ip));
            assert_eq!(
                host,
                ExtraHost {
                    name: name.to_owned(),
                    address
                }
            );
        }
        let gateway = parse("host.docker.internal:host-gateway").expect("docker knows it");
        assert_eq!(gateway.address, HostAddress::Gateway);
    }

    #[test]
    fn what_would_break_the_hosts_file_is_refused() {
        for typed in [
            "",
            "db",
            "db:",
            ":10.0.0.2",
            "db:10.0.0.300",
            "a b=10.0.0.2",
            "a\nb=::1",
        ] {
            assert!(parse(typed).is_err(), "{typed:?}");
        }
    }
}
