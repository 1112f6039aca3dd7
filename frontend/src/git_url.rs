//! Addresses of git repositories, in both forms that BuildKit knows: `URL#REFERENCE:DIRECTORY` and
//! `URL?ref=…&subdir=…`.

use kiln_solver::RelPath;
use kiln_solver::op::CheckoutTimes;
use percent_encoding::percent_decode_str;

/// What may stand before `://`. A repository behind http is told from a file by the end of its path.
const SCHEMES: [&str; 4] = ["http", "https", "ssh", "git"];

/// The words of the query form.
const QUERIES: [&str; 10] = [
    "branch",
    "checksum",
    "commit",
    "fetch-by-commit",
    "keep-git-dir",
    "mtime",
    "ref",
    "subdir",
    "submodules",
    "tag",
];

/// A repository, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitUrl {
    /// What git is given: the address without reference and query.
    pub remote: String,
    /// A branch, a tag or a commit; `None` is the default branch.
    pub reference: Option<String>,
    /// What the commit's name must begin with.
    pub checksum: Option<String>,
    /// The directory whose content is wanted; the root for all.
    pub subdirectory: RelPath,
    /// Whether `.git` is kept, if the address says so.
    pub keep_git_directory: Option<bool>,
    /// Whether submodules are left out.
    pub skip_submodules: bool,
    /// Which times files get.
    pub times: CheckoutTimes,
    /// Whether the checksum is the commit to fetch, whatever the reference stands for by now.
    pub fetch_by_commit: bool,
}

/// Why something that is the address of a repository cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// A character that no address has.
    #[error("an address cannot contain {0:?}")]
    Character(char),
    /// The host or the user could be taken for an option.
    #[error("no host is named {0:?}")]
    Host(String),
    /// A reference that git could take for an option, or that no reference can be named.
    #[error("no branch, tag or commit is named {0:?}")]
    Reference(String),
    /// The directory's path is no path.
    #[error("{0:?} is not a directory of a repository")]
    Subdirectory(String),
    /// A query nobody knows.
    #[error("a git address has no query {0:?}")]
    UnknownQuery(String),
    /// A query without its value.
    #[error("the query {0} needs a value")]
    NoValue(String),
    /// A query that stands there twice.
    #[error("the query {0} stands there more than once")]
    Repeated(String),
    /// Two places say different things.
    #[error("{what} is said twice: {first:?} and {second:?}")]
    Conflict {
        /// What they say something of.
        what: &'static str,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A value that the query does not take.
    #[error("{query} cannot be {value:?}; it takes {expected}")]
    Value {
        /// The query.
        query: &'static str,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl GitUrlError {
    /// The words that could have been meant, if a word was misspelt.
    pub fn known_words(&self) -> Option<(&str, &'static [&'static str])> {
        match self {
            GitUrlError::UnknownQuery(word) => Some((word, &QUERIES)),
            _ => None,
        }
    }
}

/// Reads the address of a repository; `None` if the text is none, but a path or the address of a file.
pub fn parse(text: &str) -> Option<Result<GitUrl, GitUrlError>> {
    let parts = Parts::of(text)?;
    Some(parts.git_url())
}

/// Reads what `kiln build` is given as its context: there, `github.com/…` is a repository, too.
pub fn parse_context(text: &str) -> Option<Result<GitUrl, GitUrlError>> {
    match text.starts_with("github.com/") {
        true => Some(Parts::split(&format!("https://{text}")).git_url()),
        false => parse(text),
    }
}

/// The parts of an address, as written.
struct Parts {
    remote: String,
    query: String,
    fragment: String,
}

impl Parts {
    fn of(text: &str) -> Option<Self> {
        let parts = Self::split(text);
        let is_git = match parts.remote.split_once("://") {
            Some((scheme, rest)) if is_word(scheme) => {
                let scheme = scheme.to_ascii_lowercase();
                let path = rest.split_once('/').map_or("", |(_, path)| path);
                let is_file = scheme.starts_with("http")
                    && !percent_decode_str(path)
                        .decode_utf8_lossy()
                        .ends_with(".git");
                SCHEMES.contains(&scheme.as_str()) && !is_file
            }
            _ => is_scp_style(&parts.remote),
        };
        is_git.then_some(parts)
    }

    fn split(text: &str) -> Self {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
        Self {
            remote: remote.to_owned(),
            query: query.to_owned(),
            fragment: fragment.to_owned(),
        }
    }

    fn git_url(&self) -> Result<GitUrl, GitUrlError> {
        let all = self.remote.chars().chain(self.query.chars());
        let refused = |c: &char| c.is_control() || c.is_whitespace() || *c == '\\';
        if let Some(character) = all.chain(self.fragment.chars()).find(refused) {
            return Err(GitUrlError::Character(character));
        }
        let (scheme, place) = self.remote.split_once("://").unwrap_or(("", &self.remote));
        for name in place.split('/').next().unwrap_or_default().split('@') {
            if name.starts_with('-') || (name.is_empty() && !scheme.is_empty()) {
                return Err(GitUrlError::Host(name.to_owned()));
            }
        }
        let remote = match scheme {
            "" => place.to_owned(),
            scheme => format!("{}://{place}", scheme.to_ascii_lowercase()),
        };
        let fragment = percent_decode_str(&self.fragment).decode_utf8_lossy();
        let (reference, directory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut url = GitUrl {
            remote,
            reference: Some(reference.to_owned()).filter(|reference| !reference.is_empty()),
            checksum: None,
            subdirectory: subdirectory(directory)?,
            keep_git_directory: None,
            skip_submodules: false,
            times: CheckoutTimes::Checkout,
            fetch_by_commit: false,
        };
        Queries::read(&self.query)?.apply(&mut url)?;
        match &url.reference {
            Some(reference) if !may_be_reference(reference) => {
                Err(GitUrlError::Reference(reference.clone()))
            }
            _ => Ok(url),
        }
    }
}

/// The query form, each word at most once.
struct Queries(Vec<(String, String)>);

impl Queries {
    fn read(text: &str) -> Result<Self, GitUrlError> {
        let mut queries: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !QUERIES.contains(&&*name) {
                return Err(GitUrlError::UnknownQuery(name.into_owned()));
            }
            if queries.iter().any(|(known, _)| *known == name) {
                return Err(GitUrlError::Repeated(name.into_owned()));
            }
            let is_switch = matches!(&*name, "submodules" | "keep-git-dir" | "fetch-by-commit");
            if value.is_empty() && !is_switch {
                return Err(GitUrlError::NoValue(name.into_owned()));
            }
            queries.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(queries))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn switch(&self, name: &'static str) -> Result<Option<bool>, GitUrlError> {
        // The words of Go's strconv.ParseBool.
        match self.value(name) {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(value) => Err(GitUrlError::Value {
                query: name,
                value: value.to_owned(),
                expected: "true or false",
            }),
        }
    }

    fn apply(&self, url: &mut GitUrl) -> Result<(), GitUrlError> {
        let tag = self.value("tag").map(|tag| full("refs/tags/", tag));
        let branch = self
            .value("branch")
            .map(|branch| full("refs/heads/", branch));
        let references = [self.value("ref").map(str::to_owned), tag, branch];
        for reference in references.into_iter().flatten() {
            agree("the reference", &mut url.reference, reference)?;
        }
        if let Some(directory) = self.value("subdir") {
            let directory = subdirectory(directory)?;
            let root = RelPath::root();
            if url.subdirectory != root && url.subdirectory != directory {
                return Err(GitUrlError::Conflict {
                    what: "the directory",
                    first: url.subdirectory.to_string(),
                    second: directory.to_string(),
                });
            }
            url.subdirectory = directory;
        }
        let checksums = [self.value("checksum"), self.value("commit")];
        for checksum in checksums.into_iter().flatten() {
            agree("the commit", &mut url.checksum, checksum.to_owned())?;
        }
        url.keep_git_directory = self.switch("keep-git-dir")?;
        url.skip_submodules = self.switch("submodules")? == Some(false);
        url.fetch_by_commit = self.switch("fetch-by-commit")? == Some(true);
        url.times = match self.value("mtime") {
            None | Some("checkout") => CheckoutTimes::Checkout,
            Some("commit") => CheckoutTimes::Commit,
            Some(value) => {
                return Err(GitUrlError::Value {
                    query: "mtime",
                    value: value.to_owned(),
                    expected: "checkout or commit",
                });
            }
        };
        Ok(())
    }
}

fn agree(
    what: &'static str,
    known: &mut Option<String>,
    second: String,
) -> Result<(), GitUrlError> {
    match known {
        Some(first) if *first != second => Err(GitUrlError::Conflict {
            what,
            first: first.clone(),
            second,
        }),
        _ => {
            *known = Some(second);
            Ok(())
        }
    }
}

fn full(prefix: &str, name: &str) -> String {
    match name.starts_with(prefix) {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    }
}

fn subdirectory(text: &str) -> Result<RelPath, GitUrlError> {
    match text.contains('\0') {
        true => Err(GitUrlError::Subdirectory(text.to_owned())),
        false => Ok(RelPath::resolve(&RelPath::root(), text)),
    }
}

/// Whether git would take a text as the name of a reference or commit (git-check-ref-format(1)).
fn may_be_reference(text: &str) -> bool {
    let is_refused = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    !text.starts_with('-') && !text.contains("..") && !text.contains(is_refused)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `user@host:path`
fn is_scp_style(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, _)) = rest.split_once(':') else {
        return false;
    };
    let is_user = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !user.is_empty() && user.chars().all(is_user) && !host.is_empty() && host.chars().all(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> GitUrl {
        parse(text).expect("a repository").expect(text)
    }

    #[test]
    fn repositories_are_told_from_paths_and_files() {
        for text in [
            "git@github.com:a/b",
            "https://x/y.git#main",
            "HTTPS://x/y.git",
            "https://x/y%2Egit",
            "http://x/y.git?tag=v1",
            "ssh://x/y",
            "git://x",
        ] {
            assert!(parse(text).is_some(), "{text}");
        }
        for text in [
            "https://x/y",
            "https://x.git",
            "https://x/y.git/",
            "a/b.git",
            "./git@x:y",
            "github.com/a/b",
            "a@b",
            "file:///x.git",
            "ext::sh",
            "ftp://x/y.git",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert_eq!(
            parse_context("github.com/a/b#c").map(|url| url.expect("it is one").remote),
            Some("https://github.com/a/b".to_owned())
        );
    }

    #[test]
    fn both_forms_mean_the_same() {
        let short = parsed("https://x/y.git#v1:a/../b/");
        assert_eq!(short.remote, "https://x/y.git");
        assert_eq!(short.reference.as_deref(), Some("v1"));
        assert_eq!(short.subdirectory.to_string(), "/b");
        assert_eq!(short, parsed("https://x/y.git?ref=v1&subdir=b"));
        let tag = parsed("git@x:y?tag=v1&keep-git-dir&submodules=false&mtime=commit&commit=ab12");
        assert_eq!(tag.remote, "git@x:y");
        assert_eq!(tag.reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(tag.keep_git_directory, Some(true));
        assert!(tag.skip_submodules);
        assert_eq!(tag.times, CheckoutTimes::Commit);
        assert_eq!(tag.checksum.as_deref(), Some("ab12"));
        assert_eq!(
            parsed("ssh://x/y#feature%2Fa").reference.as_deref(),
            Some("feature/a")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "https://x/y.git#--upload-pack=sh",
            "https://x/y.git?ref=-x",
            "https://x/y.git?branch=a&tag=b",
            "https://x/y.git?ref=a&branch=b",
            "https://x/y.git?ref=a&ref=a",
            "https://x/y.git?rfe=a",
            "https://x/y.git?ref=",
            "https://x/y.git?submodules=maybe",
            "https://x/y.git?mtime=now",
            "https://x/y.git?checksum=a&commit=b",
            "https://x/y.git#a:b?c\n",
            "https://x/y.git#a..b",
            "https://x/y.git#a%0Ab",
            "https://x/y.git#a:b%00c",
            "https://x/y.git?subdir=a#main:b",
            "ssh://-oProxyCommand=sh/y",
            "ssh://git@-oProxyCommand=sh/y",
            "git@-oProxy:y",
            "https:///y.git",
            "https://x/\ty.git",
        ] {
            let outcome = parse(text).expect("a repository");
            assert!(outcome.is_err(), "{text}: {outcome:?}");
        }
    }
}
