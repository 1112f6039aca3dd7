//! What comes from other machines: git repositories and files behind addresses. Lowering asks what a
//! reference stands for at the moment, and pins it: a commit, a digest.

use std::collections::BTreeMap;

use kiln_solver::op::{
    CheckoutTimes, Copy, CopySource, FileAction, FileOp, GitDirectory, GitSource, HttpSource,
    InputIndex, Op, Source, Unpack,
};
use kiln_solver::{Graph, ObjectId, RelPath, Sha256Digest, VertexId};

use super::stage::{Builder, describe};
use super::{Checked, MainContext};
use crate::diagnostic::Diagnostic;
use crate::git_url::{self, GitUrl, GitUrlError};
use crate::source::Span;

/// The name of the one file that an address as a context holds.
pub const CONTEXT_FILE: &str = "context";

/// What lowering must know of another machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemoteRequest {
    /// The commit that a reference stands for.
    Git(GitRequest),
    /// The file behind an address.
    Http(HttpRequest),
}

/// A reference of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitRequest {
    /// Where the repository is.
    pub remote: String,
    /// A branch, a tag or a commit; `None` is the default branch.
    pub reference: Option<String>,
    /// What the commit's (or annotated tag's) name must begin with.
    pub checksum: Option<String>,
    /// Whether an annotated tag is wanted itself, because `.git` is kept.
    pub keeps_git_directory: bool,
    /// Whether the checksum is the commit to fetch, whatever the reference stands for.
    pub fetch_by_commit: bool,
    /// Whether the commit's time must be known.
    pub wants_time: bool,
}

/// A file behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpRequest {
    /// The address.
    pub url: String,
    /// What the file will be called.
    pub name: String,
    /// What its bytes must hash to, if that is known.
    pub digest: Option<Sha256Digest>,
    /// Whether the file's time must be known.
    pub wants_time: bool,
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// The answer to [`RemoteRequest::Git`].
    Git(PinnedGit),
    /// The answer to [`RemoteRequest::Http`].
    Http(PinnedHttp),
}

/// A reference as it stands at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedGit {
    /// The commit, or the annotated tag if it was to be kept.
    pub object: ObjectId,
    /// The reference in full, such as `refs/heads/main`, or the commit.
    pub reference: String,
    /// When it was committed, in seconds since 1970, if that was asked for.
    pub time: Option<i64>,
}

/// A file as it is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedHttp {
    /// The SHA-256 of its bytes.
    pub digest: Sha256Digest,
    /// When it was last modified, in seconds since 1970, if the server tells.
    pub modified: Option<i64>,
    /// Its time, if that was asked for: when it was modified, or of an archive its newest file's.
    pub time: Option<i64>,
}

impl Pinned {
    /// The time that was asked for, in seconds since 1970.
    pub fn time(&self) -> Option<i64> {
        match self {
            Pinned::Git(git) => git.time,
            Pinned::Http(http) => http.time,
        }
    }
}

/// Something of another machine, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteSource {
    /// A directory of a repository.
    Git {
        /// Which commit.
        request: GitRequest,
        /// Which directory.
        subdirectory: RelPath,
        /// Whether with submodules.
        submodules: bool,
        /// Which times files get.
        times: CheckoutTimes,
    },
    /// A file.
    Http(HttpRequest),
}

impl RemoteSource {
    /// What the address of a repository asks for.
    pub fn of_git(url: GitUrl) -> Self {
        RemoteSource::Git {
            request: GitRequest {
                remote: url.remote,
                reference: url.reference,
                checksum: url.checksum,
                keeps_git_directory: url.keep_git_directory == Some(true),
                fetch_by_commit: url.fetch_by_commit,
                wants_time: false,
            },
            subdirectory: url.subdirectory,
            submodules: !url.skip_submodules,
            times: url.times,
        }
    }

    /// What an address that stands for a context asks for: a repository, or one file.
    pub fn of_context(text: &str) -> Result<Self, GitUrlError> {
        match git_url::parse_context(text) {
            Some(url) => url.map(Self::of_git),
            None => Ok(RemoteSource::Http(HttpRequest {
                url: text.to_owned(),
                name: CONTEXT_FILE.to_owned(),
                digest: None,
                wants_time: false,
            })),
        }
    }

    /// What the address of the main context asks for. Build arguments decide whether `.git` is kept,
    /// and with a fixed time files get that of the commit.
    pub fn of_main_context(
        text: &str,
        build_args: &BTreeMap<String, String>,
    ) -> Result<Self, GitUrlError> {
        let given = |name: &str| build_args.get(name).map(String::as_str).unwrap_or_default();
        let mut source = Self::of_context(text)?;
        let epoch = given("SOURCE_DATE_EPOCH");
        if let RemoteSource::Git { request, times, .. } = &mut source {
            let keep = given("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
            request.keeps_git_directory |=
                matches!(keep, "1" | "t" | "T" | "true" | "TRUE" | "True");
            if !epoch.is_empty() {
                *times = CheckoutTimes::Commit;
            }
        }
        Ok(match epoch {
            super::epoch::CONTEXT => source.with_time(),
            _ => source,
        })
    }

    /// The same, with the wish to know its time.
    pub(super) fn with_time(mut self) -> Self {
        match &mut self {
            RemoteSource::Git { request, .. } => request.wants_time = true,
            RemoteSource::Http(request) => request.wants_time = true,
        }
        self
    }

    /// What must be known before it can be used.
    pub fn request(&self) -> RemoteRequest {
        match self {
            RemoteSource::Git { request, .. } => RemoteRequest::Git(request.clone()),
            RemoteSource::Http(request) => RemoteRequest::Http(request.clone()),
        }
    }

    /// The answer, if the request holds it already: a whole commit or a digest.
    pub fn pinned_by_itself(&self) -> Result<Option<Pinned>, RemoteError> {
        match self {
            RemoteSource::Git { request, .. } => Ok(request.pinned_by_itself()?.map(Pinned::Git)),
            RemoteSource::Http(HttpRequest {
                wants_time: true, ..
            }) => Ok(None),
            RemoteSource::Http(request) => Ok(request.digest.map(|digest| {
                Pinned::Http(PinnedHttp {
                    digest,
                    modified: None,
                    time: None,
                })
            })),
        }
    }

    /// The operation, once it is known what it stands for; `None` if the answer is to something else.
    pub fn source(&self, pinned: &Pinned) -> Option<Source> {
        match (self, pinned) {
            (
                RemoteSource::Git {
                    request,
                    subdirectory,
                    submodules,
                    times,
                },
                Pinned::Git(pinned),
            ) => {
                let keeps = request.keeps_git_directory && subdirectory.is_root();
                Some(Source::Git(GitSource {
                    object: pinned.object.clone(),
                    subdirectory: subdirectory.clone(),
                    git_directory: keeps.then(|| GitDirectory {
                        origin: without_credentials(&request.remote),
                        reference: pinned.reference.clone(),
                    }),
                    submodules: *submodules,
                    times: *times,
                    remote: request.remote.clone(),
                    reference: pinned.reference.clone(),
                }))
            }
            (RemoteSource::Http(request), Pinned::Http(pinned)) => Some(Source::Http(HttpSource {
                digest: pinned.digest,
                name: request.name.clone(),
                modified: pinned.modified,
                url: request.url.clone(),
            })),
            _ => None,
        }
    }

    /// What to call it before people.
    pub fn describe(&self) -> String {
        match self {
            RemoteSource::Git {
                request,
                subdirectory,
                ..
            } => {
                let mut text = without_credentials(&request.remote);
                let reference = request.reference.as_deref().unwrap_or_default();
                if !reference.is_empty() || !subdirectory.is_root() {
                    text.push_str(&format!("#{reference}"));
                }
                if !subdirectory.is_root() {
                    text.push_str(&format!(
                        ":{}",
                        subdirectory.to_string().trim_start_matches('/')
                    ));
                }
                text
            }
            RemoteSource::Http(request) => without_credentials(&request.url),
        }
    }
}

/// Why a request contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// A commit that is not the expected one.
    #[error("the commit is {found}, but --checksum or the query expects {expected}")]
    Checksum {
        /// What its name should begin with.
        expected: String,
        /// Its name.
        found: String,
    },
    /// A checksum that cannot be the beginning of a commit's name.
    #[error(
        "{0:?} is not the beginning of a commit's name: it takes hexadecimal digits in lower case"
    )]
    NoCommit(String),
    /// `fetch-by-commit` without a whole commit.
    #[error("fetch-by-commit needs a checksum of 40 or 64 hexadecimal digits, or such a reference")]
    NoCommitToFetch,
}

impl GitRequest {
    fn pinned_by_itself(&self) -> Result<Option<PinnedGit>, RemoteError> {
        let checksum = self.checksum.as_deref().unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !checksum.bytes().all(is_hex) {
            return Err(RemoteError::NoCommit(checksum.to_owned()));
        }
        let reference = self.reference.as_deref().unwrap_or_default();
        let pinned = |object: ObjectId, reference: String| {
            let time = None;
            let pinned = PinnedGit {
                object,
                reference,
                time,
            };
            (!self.wants_time).then_some(pinned)
        };
        if let Ok(object) = reference.parse::<ObjectId>() {
            if !reference.starts_with(checksum) {
                return Err(RemoteError::Checksum {
                    expected: checksum.to_owned(),
                    found: reference.to_owned(),
                });
            }
            return Ok(pinned(object, reference.to_owned()));
        }
        if self.fetch_by_commit {
            let object: ObjectId = checksum.parse().map_err(|_| RemoteError::NoCommitToFetch)?;
            let reference = match reference {
                "" => checksum.to_owned(),
                reference if reference.starts_with("refs/") => reference.to_owned(),
                branch => format!("refs/heads/{branch}"),
            };
            return Ok(pinned(object, reference));
        }
        Ok(None)
    }
}

/// An address without the user and password that http takes.
pub fn without_credentials(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("http") => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        _ => address.to_owned(),
    }
}

impl MainContext {
    /// The graph that yields the context, for who must read a Dockerfile in it; `None` for a
    /// directory.
    pub fn graph(&self) -> Option<(Graph, VertexId)> {
        let mut graph = Graph::new();
        let vertex = self.vertex(&mut graph)?;
        Some((graph, vertex))
    }

    pub(super) fn vertex(&self, graph: &mut Graph) -> Option<VertexId> {
        let MainContext::Remote {
            source,
            description,
            is_archive,
            ..
        } = self
        else {
            return None;
        };
        let name = match source {
            Source::Git(_) => format!("[internal] load git source {description}"),
            _ => "[internal] load remote build context".to_owned(),
        };
        let op = Op::Source(source.clone());
        let vertex = graph.add(op, Vec::new(), describe(name, None), false);
        if !is_archive {
            return Some(vertex);
        }
        let unpack = Op::File(FileOp {
            base: None,
            actions: vec![FileAction::Copy(Copy {
                from: Some(InputIndex(0)),
                sources: vec![CopySource::Path(CONTEXT_FILE.to_owned())],
                destination: RelPath::root(),
                destination_is_directory: true,
                owner: None,
                mode: None,
                unpack: Unpack::Archives,
                exclude: Vec::new(),
                keep_parents: false,
            })],
        });
        let name = describe("[internal] unpack build context".to_owned(), None);
        Some(graph.add(unpack, vec![vertex], name, false))
    }
}

impl Builder<'_> {
    /// The vertex of something of another machine. What is not known yet is noted, to be asked for
    /// together with all else; what comes back then is of no use.
    pub(super) fn remote_vertex(
        &mut self,
        source: &RemoteSource,
        name: String,
        span: Span,
    ) -> Checked<Option<VertexId>> {
        let by_itself = source.pinned_by_itself().map_err(|error| {
            Box::new(Diagnostic::error("invalid-source", span, error.to_string()))
        })?;
        let request = source.request();
        let pinned = by_itself.or_else(|| self.images.remote(&request).cloned());
        let Some(source) = pinned.and_then(|pinned| source.source(&pinned)) else {
            let missing = &mut self.missing;
            if missing.iter().all(|(known, _)| *known != request) {
                missing.push((request, Some(span)));
            }
            return Ok(None);
        };
        let description = describe(name, Some(span));
        let op = Op::Source(source);
        Ok(Some(self.graph.add(op, Vec::new(), description, false)))
    }
}
