//! The build's context and `--build-context`: places to take files or images from.

use std::path::PathBuf;

use kiln_frontend::git_url;
use kiln_solver::Sha256Digest;

use super::UsageError;

const OPTION: &str = "--build-context";

/// Where a named context lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory of this machine.
    Directory(PathBuf),
    /// An image in an OCI layout of this machine, a directory or an archive.
    OciLayout {
        /// The directory or archive.
        path: PathBuf,
        /// The name in the layout's index.
        tag: Option<String>,
        /// The manifest's digest; counts more than the tag.
        digest: Option<Sha256Digest>,
    },
    /// An image by its name.
    Image(String),
    /// Something on another machine: a git repository or a file.
    Remote(String),
    /// Standard input: an archive, or a Dockerfile that needs no context.
    Stdin,
}

/// Reads `NAME=VALUE`.
pub(super) fn parse(typed: &str) -> Result<(String, ContextSource), UsageError> {
    let wrong = |problem: &str| {
        UsageError::new(OPTION, typed, problem)
            .hint("write it as in --build-context base=docker-image://debian:12")
    };
    let (name, value) = typed
        .split_once('=')
        .ok_or_else(|| wrong("there is no ="))?;
    if name.is_empty() {
        return Err(wrong("the name before the = is missing"));
    }
    if value.is_empty() {
        return Err(wrong("the place behind the = is missing"));
    }
    let source = if let Some(layout) = value.strip_prefix("oci-layout://") {
        oci_layout(layout, typed)?
    } else if let Some(image) = value.strip_prefix("docker-image://") {
        ContextSource::Image(image.to_owned())
    } else if value.starts_with("target:") {
        let problem = "only a bake file has targets";
        return Err(UsageError::new(OPTION, typed, problem)
            .hint("build the target on its own and name its result"));
    } else if remote(value) {
        ContextSource::Remote(value.to_owned())
    } else if let Some((scheme, _)) = value.split_once("://") {
        let known = ["oci-layout", "docker-image", "https", "git"];
        let problem = format!("there is no kind of context called {scheme}://");
        return Err(UsageError::new(OPTION, typed, problem).known_words(scheme, &known));
    } else {
        ContextSource::Directory(PathBuf::from(value))
    };
    Ok((name.to_owned(), source))
}

/// Whether a context is a git repository or a file on another machine.
pub(super) fn remote(value: &str) -> bool {
    let is_address = ["https://", "http://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    is_address || git_url::parse_context(value).is_some()
}

/// Reads `PATH[:TAG][@DIGEST]`. A colon with a slash behind it belongs to the path.
fn oci_layout(text: &str, typed: &str) -> Result<ContextSource, UsageError> {
    let wrong = |problem: String| UsageError::new(OPTION, typed, problem);
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) if digest.contains(':') && !digest.contains('/') => {
            let digest = digest
                .parse::<Sha256Digest>()
                .map_err(|e| wrong(e.to_string()))?;
            (rest, Some(digest))
        }
        _ => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err(wrong("the path behind oci-layout:// is missing".to_owned()));
    }
    Ok(ContextSource::OciLayout {
        path: PathBuf::from(path),
        tag,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(path: &str, tag: Option<&str>, digest: Option<Sha256Digest>) -> ContextSource {
        ContextSource::OciLayout {
            path: path.into(),
            tag: tag.map(str::to_owned),
            digest,
        }
    }

    #[test]
    fn each_kind_is_recognised() {
        let digest = Sha256Digest::new([0xab; 32]);
        let by_digest = format!("oci-layout:///img:v1@{digest}");
        let cases = [
            ("docs", ContextSource::Directory("docs".into())),
            ("../a=b", ContextSource::Directory("../a=b".into())),
            (
                "docker-image://debian:12",
                ContextSource::Image("debian:12".to_owned()),
            ),
            ("oci-layout://img", layout("img", None, None)),
            (
                "oci-layout://./a:b/img:v1",
                layout("./a:b/img", Some("v1"), None),
            ),
            ("oci-layout://a@b/img", layout("a@b/img", None, None)),
            (&by_digest, layout("/img", Some("v1"), Some(digest))),
            (
                "https://x/y.git",
                ContextSource::Remote("https://x/y.git".to_owned()),
            ),
            (
                "builder@host:x#main",
                ContextSource::Remote("builder@host:x#main".to_owned()),
            ),
        ];
        for (value, expected) in cases {
            let parsed = parse(&format!("name={value}"));
            assert_eq!(parsed, Ok(("name".to_owned(), expected)), "{value}");
        }
    }

    #[test]
    fn what_is_not_a_context_is_refused_with_the_nearest_kind() {
        let error = parse("x=docker-imge://debian").expect_err("a typing error");
        assert_eq!(error.hint.as_deref(), Some("did you mean docker-image?"));
        for typed in [
            "x",
            "=x",
            "x=",
            "x=oci-layout://",
            "x=oci-layout://p@sha256:12",
            "x=target:other",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
    }
}
