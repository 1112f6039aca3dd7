//! The ports of EXPOSE: `port`, `from-to`, with `/tcp`, `/udp` or `/sctp`; a mapping to the host is
//! accepted and left out.

mod exposed;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::diagnostic::closest;

pub(crate) use exposed::Exposed;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Why a text is not a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    #[error("{0:?} is not a port or a range of ports")]
    Port(String),
    #[error("{0:?} is not a protocol; there are tcp, udp and sctp")]
    Protocol(String),
    #[error("{0:?} is not an IP address")]
    Address(String),
    #[error("the ranges {0} and {1} differ in length")]
    Lengths(String, String),
}

/// A range of ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) range: RangeInclusive<u16>,
    pub(crate) protocol: &'static str,
}

impl Ports {
    /// Each of them, as `80/tcp`.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let protocol = self.protocol;
        self.range
            .clone()
            .map(move |port| format!("{port}/{protocol}"))
    }
}

impl PortError {
    /// The protocol that was probably meant, if a protocol is wrong.
    pub(crate) fn meant(&self) -> Option<&'static str> {
        match self {
            Self::Protocol(written) => closest(&written.to_lowercase(), PROTOCOLS),
            Self::Port(_) | Self::Address(_) | Self::Lengths(..) => None,
        }
    }
}

/// The ports that a text stands for.
pub(crate) fn parse(text: &str) -> Result<Ports, PortError> {
    let (address, host, container) = split(text);
    let (ports, protocol) = split_protocol(container)?;
    check_address(address)?;
    let range = parse_range(ports)?;
    if !host.is_empty() {
        let host_range = parse_range(host)?;
        if range.start() != range.end() && range.len() != host_range.len() {
            return Err(PortError::Lengths(ports.to_owned(), host.to_owned()));
        }
    }
    Ok(Ports { range, protocol })
}

/// `[[address:]host:]container`
pub(crate) fn split(text: &str) -> (&str, &str, &str) {
    let Some((front, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match front.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", front, container),
    }
}

pub(crate) fn split_protocol(text: &str) -> Result<(&str, &'static str), PortError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    if ports.is_empty() {
        return Err(PortError::Port(text.to_owned()));
    }
    if protocol.is_empty() {
        return Ok((ports, "tcp"));
    }
    let mut known = PROTOCOLS.into_iter();
    match known.find(|known| known.eq_ignore_ascii_case(protocol)) {
        Some(known) => Ok((ports, known)),
        None => Err(PortError::Protocol(protocol.to_owned())),
    }
}

fn check_address(address: &str) -> Result<(), PortError> {
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let bare = bare.unwrap_or(address);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(PortError::Address(address.to_owned()))
}

fn parse_range(text: &str) -> Result<RangeInclusive<u16>, PortError> {
    let error = || PortError::Port(text.to_owned());
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (
        number(start).ok_or_else(error)?,
        number(end).ok_or_else(error)?,
    );
    if end < start {
        Err(error())
    } else {
        Ok(start..=end)
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_mappings() {
        let cases: [(&str, &[&str]); 5] = [
            ("80", &["80/tcp"]),
            ("80-82/UDP", &["80/udp", "81/udp", "82/udp"]),
            ("127.0.0.1:8080:80/sctp", &["80/sctp"]),
            ("[::1]:1:80", &["80/tcp"]),
            ("8080-8090:80", &["80/tcp"]),
        ];
        for (text, ports) in cases {
            let found: Vec<String> = parse(text).expect(text).names().collect();
            assert_eq!(found, ports, "{text}");
        }
        for text in ["", "x", "80/x", "65536", "9-8", "1-3:4-5", "a:1:2", "/tcp"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let meant = |text: &str| parse(text).err().and_then(|error| error.meant());
        assert_eq!(meant("80/tpc"), Some("tcp"));
        assert_eq!(meant("80/UPD"), Some("udp"));
        assert_eq!(meant("80/x"), None);
    }
}
