//! Names of images: as people type them, and in full.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256Digest;

/// The registry of names that mention none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Another name for it, which older Docker versions used.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where its images without a user's name are.
const LIBRARY: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const MAXIMUM_NAME: usize = 255;
const MAXIMUM_TAG: usize = 128;

/// An image's name in full: `registry/repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host and port, such as `docker.io` or `localhost:5000`.
    pub registry: String,
    /// The repository, such as `library/debian`.
    pub repository: String,
    /// The tag, if one is written.
    pub tag: Option<String>,
    /// The digest, if one is written. It outweighs the tag.
    pub digest: Option<Sha256Digest>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image name: {problem}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub problem: ReferenceProblem,
}

/// What can be wrong with an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceProblem {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// The repository has upper-case letters.
    #[error("the repository must be lower case; did you mean {suggestion:?}?")]
    UpperCase {
        /// The same in lower case.
        suggestion: String,
    },
    /// A part of the repository is malformed.
    #[error(
        "{part:?} in the repository should be lower-case letters and digits, separated by single \
         periods, one or two underscores, or dashes"
    )]
    Repository {
        /// The part.
        part: String,
    },
    /// The host is malformed.
    #[error("{0:?} is not a host name with an optional port")]
    Registry(String),
    /// The tag is malformed.
    #[error(
        "the tag {0:?} should be up to 128 letters, digits, underscores, periods and dashes, and \
         begin with a letter, digit or underscore"
    )]
    Tag(String),
    /// The digest is malformed or of another kind.
    #[error("the digest {0:?} should be sha256: and 64 lower-case hex digits")]
    Digest(String),
    /// It could be mistaken for an image's id.
    #[error("64 hex digits are an image id, not a name")]
    Id,
    /// It is too long.
    #[error("registry and repository together should have at most 255 characters")]
    Long,
}

impl Reference {
    /// Registry and repository, such as `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag, `latest` if neither tag nor digest is written.
    pub fn tag_or_latest(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
            (None, Some(_)) => None,
        }
    }

    /// The same with the tag `latest` if neither tag nor digest is written.
    pub fn with_default_tag(&self) -> Self {
        Self {
            tag: self.tag_or_latest().map(str::to_owned),
            ..self.clone()
        }
    }

    /// The shortest form that means the same, such as `debian:12`.
    pub fn familiar(&self) -> String {
        let mut text = match (self.registry.as_str(), self.repository.as_str()) {
            (DEFAULT_REGISTRY, repository) => repository
                .strip_prefix(LIBRARY)
                .filter(|rest| !rest.contains('/'))
                .unwrap_or(repository)
                .to_owned(),
            _ => self.name(),
        };
        self.push_tag_and_digest(&mut text);
        text
    }

    fn push_tag_and_digest(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    /// The full form; nothing is added that is not written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_tag_and_digest(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Reads a name by the rules of Docker (distribution/reference, `ParseNormalizedNamed`).
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|problem| ReferenceError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Reference, ReferenceProblem> {
    if text.is_empty() {
        return Err(ReferenceProblem::Empty);
    }
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ReferenceProblem::Id);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
        None => (text, None),
    };
    let (name, tag) = split_tag(rest);
    let (registry, repository) = split_registry(name);
    if registry.len() + 1 + repository.len() > MAXIMUM_NAME {
        return Err(ReferenceProblem::Long);
    }
    check_registry(&registry)?;
    check_repository(&repository, rest)?;
    Ok(Reference {
        registry,
        repository,
        tag: tag.map(check_tag).transpose()?,
        digest,
    })
}

fn parse_digest(text: &str) -> Result<Sha256Digest, ReferenceProblem> {
    text.parse()
        .map_err(|_| ReferenceProblem::Digest(text.to_owned()))
}

/// Splits at the colon of a tag, which comes after the last slash; other colons begin a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last..].rfind(':') {
        Some(colon) => (&text[..last + colon], Some(&text[last + colon + 1..])),
        None => (text, None),
    }
}

fn split_registry(name: &str) -> (String, String) {
    let looks_like_host = |first: &str| {
        first == "localhost"
            || first.contains(['.', ':'])
            || first.bytes().any(|b| b.is_ascii_uppercase())
    };
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == LEGACY_REGISTRY {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return (registry.to_owned(), format!("{LIBRARY}{repository}"));
    }
    (registry.to_owned(), repository.to_owned())
}

fn check_registry(registry: &str) -> Result<(), ReferenceProblem> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", port.strip_prefix(':').unwrap_or(port))
            }
            _ => return Err(ReferenceProblem::Registry(registry.to_owned())),
        },
        None => registry.split_once(':').unwrap_or((registry, "0")),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_is_good = port.is_empty() || port.parse::<u16>().is_ok();
    if host.split('.').all(is_label) && port_is_good {
        Ok(())
    } else {
        Err(ReferenceProblem::Registry(registry.to_owned()))
    }
}

fn check_repository(repository: &str, typed: &str) -> Result<(), ReferenceProblem> {
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        let suggestion = typed.to_ascii_lowercase();
        return Err(ReferenceProblem::UpperCase { suggestion });
    }
    match repository.split('/').find(|part| !is_repository_part(part)) {
        Some(part) => Err(ReferenceProblem::Repository {
            part: part.to_owned(),
        }),
        None => Ok(()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_repository_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_in_words =
        matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if is_word(*a) && is_word(*b));
    ends_in_words
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

fn check_tag(tag: &str) -> Result<String, ReferenceProblem> {
    let is_good = |(index, b): (usize, u8)| {
        b.is_ascii_alphanumeric() || b == b'_' || (index > 0 && matches!(b, b'.' | b'-'))
    };
    if tag.is_empty() || tag.len() > MAXIMUM_TAG || !tag.bytes().enumerate().all(is_good) {
        return Err(ReferenceProblem::Tag(tag.to_owned()));
    }
    Ok(tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_completed_and_shortened() {
        let cases = [
            ("debian", "docker.io/library/debian", "debian"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("docker.io/debian", "docker.io/library/debian", "debian"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c"),
            ("localhost/a", "localhost/a", "localhost/a"),
            (
                "localhost:5000/a:b",
                "localhost:5000/a:b",
                "localhost:5000/a:b",
            ),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
            ("ghcr.io/A/b", "", ""),
            ("Host/a", "Host/a", "Host/a"),
            ("a__b/c-.d", "", ""),
            ("a__b/c--d", "docker.io/a__b/c--d", "a__b/c--d"),
        ];
        for (text, full, familiar) in cases {
            match text.parse::<Reference>() {
                Ok(reference) => {
                    assert_eq!(reference.to_string(), full, "{text}");
                    assert_eq!(reference.familiar(), familiar, "{text}");
                }
                Err(error) => assert_eq!(full, "", "{error}"),
            }
        }
    }

    #[test]
    fn digests_and_default_tags() {
        let pinned: Reference = format!("debian:12@{DIGEST}").parse().expect("parses");
        assert_eq!(pinned.tag_or_latest(), Some("12"));
        assert_eq!(
            pinned.digest.map(|d| d.to_string()),
            Some(DIGEST.to_owned())
        );
        let bare: Reference = format!("debian@{DIGEST}").parse().expect("parses");
        assert_eq!(bare.tag_or_latest(), None);
        let plain: Reference = "debian".parse().expect("parses");
        assert_eq!(
            plain.with_default_tag().to_string(),
            "docker.io/library/debian:latest"
        );
    }

    #[test]
    fn malformed_names_are_refused() {
        let id = "0".repeat(64);
        let long = "a/".repeat(130) + "a";
        let cases = [
            "",
            "Debian",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:b c",
            "a@sha256:12",
            "a@md5:00",
            "-a",
            "a..b",
            "a_",
            "a.b:99999/c",
            "[::1/a",
            "a b",
            "ü",
            "a:-b",
            "http://a/b",
            &id,
            &long,
        ];
        for text in cases {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        let error = "My/App".parse::<Reference>().expect_err("upper case");
        assert!(error.to_string().contains("lower case"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total_and_its_result_stays_the_same(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,40}|\\PC{0,20}") {
            if let Ok(reference) = text.parse::<Reference>() {
                assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                assert_eq!(reference.familiar().parse(), Ok(reference));
            }
        }
    }
}
