//! Names of images, normalised as Docker does: `alpine` is `docker.io/library/alpine:latest`.

use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{alphanumeric1, char, digit1, satisfy};
use nom::combinator::{all_consuming, opt, recognize, verify};
use nom::multi::{many0_count, separated_list1};
use nom::sequence::preceded;
use nom::{IResult, Parser};

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// A normalised name of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The registry, such as `docker.io` or `localhost:5000`.
    pub domain: String,
    /// The repository in it, such as `library/alpine`.
    pub path: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest, algorithm included.
    pub digest: Option<String>,
}

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Repositories have no capitals.
    #[error("the repository {0:?} must be in lower case")]
    Uppercase(String),
    /// 64 hexadecimal digits would be taken for an image's id.
    #[error("{0:?} is an id, not the name of an image")]
    Id(String),
    /// Anything else.
    #[error("{0:?} is not the name of an image")]
    Malformed(String),
}

impl Reference {
    /// Reads and normalises a name; no tag is added.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        {
            return Err(ReferenceError::Id(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let repository = remainder.split(':').next().unwrap_or_default();
        if repository.to_lowercase() != repository {
            return Err(ReferenceError::Uppercase(repository.to_owned()));
        }
        let whole = format!("{domain}/{remainder}");
        let parsed = all_consuming(reference).parse(&whole);
        let malformed = |_| ReferenceError::Malformed(text.to_owned());
        let (_, (domain, path, tag, digest)) = parsed.map_err(malformed)?;
        if domain.len() + path.len() > 255 {
            return Err(ReferenceError::Malformed(text.to_owned()));
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        let (tag, digest) = (owned(tag), owned(digest));
        Ok(Self {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag,
            digest,
        })
    }

    /// This name, with `:latest` if it has neither tag nor digest.
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The name as people write it: without `docker.io`, `library` and `:latest`.
    pub fn familiar(&self) -> String {
        let path = match self.domain.as_str() {
            DEFAULT_DOMAIN => match self.path.strip_prefix(OFFICIAL) {
                Some(official) if !official.contains('/') => official.to_owned(),
                _ => self.path.clone(),
            },
            domain => format!("{domain}/{}", self.path),
        };
        let tag = self
            .tag
            .as_deref()
            .filter(|tag| *tag != "latest" || self.digest.is_some());
        format!("{path}{}", suffix(tag, self.digest.as_deref()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = suffix(self.tag.as_deref(), self.digest.as_deref());
        write!(f, "{}/{}{suffix}", self.domain, self.path)
    }
}

fn suffix(tag: Option<&str>, digest: Option<&str>) -> String {
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest
        .map(|digest| format!("@{digest}"))
        .unwrap_or_default();
    tag + &digest
}

/// The first component is a registry if it could not be anything else.
fn split_domain(name: &str) -> (String, String) {
    let official = |name: &str| (DEFAULT_DOMAIN.to_owned(), format!("{OFFICIAL}{name}"));
    let Some((first, rest)) = name.split_once('/') else {
        return official(name);
    };
    match first {
        "index.docker.io" | DEFAULT_DOMAIN if !rest.contains('/') => official(rest),
        "index.docker.io" | DEFAULT_DOMAIN => (DEFAULT_DOMAIN.to_owned(), rest.to_owned()),
        "localhost" => (first.to_owned(), rest.to_owned()),
        _ if first.contains(['.', ':']) || first.to_lowercase() != first => {
            (first.to_owned(), rest.to_owned())
        }
        _ => (DEFAULT_DOMAIN.to_owned(), name.to_owned()),
    }
}

type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);

fn reference(input: &str) -> IResult<&str, Parts<'_>> {
    let path = recognize(separated_list1(char('/'), path_component));
    let tag_ = preceded(char(':'), image_tag);
    let digest_ = preceded(char('@'), digest);
    let parts = (domain, preceded(char('/'), path), opt(tag_), opt(digest_));
    let mut parts = parts.map(|(domain, path, tag, digest)| (domain, path, tag, digest));
    parts.parse(input)
}

fn domain(input: &str) -> IResult<&str, &str> {
    let label = verify(
        take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-'),
        |label: &str| !label.starts_with('-') && !label.ends_with('-'),
    );
    let name = recognize(separated_list1(char('.'), label));
    let ipv6 = recognize((
        char('['),
        take_while1(|c: char| c.is_ascii_hexdigit() || c == ':'),
        char(']'),
    ));
    recognize((alt((ipv6, name)), opt((char(':'), digit1)))).parse(input)
}

/// Letters and digits, between them single dots, one or two underscores, or any number of dashes.
fn path_component(input: &str) -> IResult<&str, &str> {
    let atom = || take_while1(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let dashes = take_while1(|c| c == '-');
    let separator = alt((tag("__"), tag("_"), tag("."), dashes));
    recognize((atom(), many0_count((separator, atom())))).parse(input)
}

fn image_tag(input: &str) -> IResult<&str, &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = take_while_m_n(0, 127, move |c| is_word(c) || matches!(c, '.' | '-'));
    recognize((satisfy(is_word), rest)).parse(input)
}

fn digest(input: &str) -> IResult<&str, &str> {
    let part = || recognize((satisfy(|c| c.is_ascii_alphabetic()), opt(alphanumeric1)));
    let separator = satisfy(|c| matches!(c, '-' | '_' | '+' | '.'));
    let algorithm = (part(), many0_count((separator, part())));
    let hex = verify(take_while(|c: char| c.is_ascii_hexdigit()), |hex: &str| {
        hex.len() >= 32
    });
    recognize((algorithm, char(':'), hex)).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let hex = "a".repeat(64);
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            (
                "docker.io/alpine",
                "docker.io/library/alpine:latest",
                "alpine",
            ),
            ("localhost/x", "localhost/x:latest", "localhost/x"),
            (
                "host:5000/x/y__z:T",
                "host:5000/x/y__z:T",
                "host:5000/x/y__z:T",
            ),
        ];
        for (text, full, familiar) in cases {
            let reference = Reference::parse(text).expect(text).with_default_tag();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
        let pinned = format!("a:1@sha256:{hex}");
        let full = format!("docker.io/library/{pinned}");
        assert_eq!(Reference::parse(&pinned).expect("valid").to_string(), full);
    }

    #[test]
    fn nonsense_is_refused() {
        let id = "0".repeat(64);
        for text in [
            "",
            "A",
            "a b",
            "a:",
            "a@sha256:1",
            "-a",
            "a//b",
            "a/B",
            "a:t:u",
            &id,
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
