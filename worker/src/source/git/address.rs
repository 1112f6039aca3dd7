//! The address of a repository, apart from the user and the password that may stand in it: git is given
//! them by its environment, since its arguments are seen by everybody on the machine, and what it is given
//! as a repository's name it writes into the repository.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// An address, and what of it must not be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without user and password where these may be secret.
    pub(super) shown: String,
    login: Option<Login>,
}

#[derive(Debug, PartialEq, Eq)]
struct Login {
    /// Scheme and host, which submodules that are named by their way from the repository have as well.
    server: String,
    /// As it stands in the address.
    written: String,
}

/// A header of http's, and the beginning of the addresses for which it is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) scope: String,
    pub(super) header: String,
}

impl Address {
    pub(super) fn of(remote: &str) -> Self {
        let whole = Self {
            shown: remote.to_owned(),
            login: None,
        };
        let Some((scheme @ ("http" | "https"), rest)) = remote.split_once("://") else {
            return whole;
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let Some((written, host)) = authority.rsplit_once('@') else {
            return whole;
        };
        let server = format!("{scheme}://{host}");
        Self {
            shown: format!("{server}{path}"),
            login: (!written.is_empty()).then(|| Login {
                server: server + "/",
                written: written.to_owned(),
            }),
        }
    }

    /// Host and port, if http leads there.
    pub(super) fn http_host(&self) -> Option<&str> {
        let (scheme, rest) = self.shown.split_once("://")?;
        let host = rest.split('/').next().unwrap_or_default();
        matches!(scheme, "http" | "https").then_some(host)
    }

    /// The user and the password as http has them (RFC 7617); a user may have none, as where he is a token.
    pub(super) fn proof(&self) -> Option<Proof> {
        let login = self.login.as_ref()?;
        let (user, password) = login
            .written
            .split_once(':')
            .unwrap_or((&login.written, ""));
        let mut pair: Vec<u8> = percent_decode_str(user).collect();
        pair.push(b':');
        pair.extend(percent_decode_str(password));
        Some(Proof {
            scope: login.server.clone(),
            header: format!("Authorization: Basic {}", STANDARD.encode(pair)),
        })
    }

    /// What a server may repeat and nobody should read.
    pub(super) fn hidden(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.written.as_str())
    }
}

/// An address to show: without user and password where they may be secret.
pub(crate) fn shown(remote: &str) -> String {
    Address::of(remote).shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_passwords() {
        let cases = [
            (
                "https://user:secret@host/x.git",
                "https://host/x.git",
                Some("user:secret"),
            ),
            (
                "https://token@host:8/x.git",
                "https://host:8/x.git",
                Some("token:"),
            ),
            (
                "http://a%40b:%3a%2f@host/@x",
                "http://host/@x",
                Some("a@b::/"),
            ),
            ("http://a@b:c@host", "http://host", Some("a@b:c")),
            ("https://@host/x.git", "https://host/x.git", None),
            ("https://host/a@b", "https://host/a@b", None),
            ("ssh://git@host/x.git", "ssh://git@host/x.git", None),
            ("git@host:x", "git@host:x", None),
        ];
        for (remote, shown, pair) in cases {
            let address = Address::of(remote);
            assert_eq!(address.shown, shown);
            let header = address.proof().map(|proof| proof.header);
            let expected =
                pair.map(|pair| format!("Authorization: Basic {}", STANDARD.encode(pair)));
            assert_eq!(header, expected, "{remote}");
        }
        let proof = Address::of("https://u:p@host:8/a/b.git").proof();
        assert_eq!(proof.expect("it has one").scope, "https://host:8/");
    }
}
