//! `--allow`: what a Dockerfile may only ask for if whoever builds it agrees.

use super::UsageError;

const KNOWN: [&str; 2] = ["network.host", "security.insecure"];

/// What the Dockerfile's steps may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// `RUN --network=host`
    pub host_network: bool,
    /// `RUN --security=insecure`
    pub insecure: bool,
}

/// Reads all values; each may be a list with commas.
pub(super) fn parse(typed: &[String]) -> Result<Allowed, UsageError> {
    let mut allowed = Allowed::default();
    for name in typed.iter().flat_map(|list| list.split(',')) {
        match name {
            "network.host" => allowed.host_network = true,
            "security.insecure" => allowed.insecure = true,
            "device" => {
                let problem = "devices are not supported yet";
                return Err(UsageError::new("--allow", name, problem));
            }
            _ => {
                let error = UsageError::new("--allow", name, "there is no such entitlement");
                return Err(error.known_words(name, &KNOWN));
            }
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exists_can_be_allowed() {
        let parse_one = |typed: &str| parse(&[typed.to_owned()]);
        let all = Allowed {
            host_network: true,
            insecure: true,
        };
        assert_eq!(parse_one("network.host,security.insecure"), Ok(all));
        assert_eq!(parse(&[]), Ok(Allowed::default()));
        let error = parse_one("network-host").expect_err("it is misspelt");
        assert_eq!(error.hint.as_deref(), Some("did you mean network.host?"));
        assert!(parse_one("").is_err());
    }
}
