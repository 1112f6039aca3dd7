//! Answers what the frontend asks about other machines: pins references and addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_frontend::lower::remote::{
    GitRequest, HttpRequest, Pinned, PinnedGit, PinnedHttp, RemoteRequest, RemoteSource,
};
use kiln_frontend::{Diagnostic, ImageRequest, Images, ResolvedImage, Source, Span};
use kiln_solver::{Reporter, StepReporter};
use kiln_worker::source::Sources;
use kiln_worker::source::git::GitReference;
use kiln_worker::source::http::HttpFile;

use super::BuildError;
use super::images::ImageBook;
use crate::report::chain;

/// What is known of other machines so far.
pub(super) struct RemoteBook {
    sources: Arc<Sources>,
    known: BTreeMap<RemoteRequest, Pinned>,
}

/// All that is known of what lies outside.
pub(super) struct Outside<'b> {
    pub(super) images: &'b ImageBook,
    pub(super) remotes: &'b RemoteBook,
}

impl Images for Outside<'_> {
    fn image(&self, request: &ImageRequest) -> Option<&ResolvedImage> {
        self.images.image(request)
    }

    fn remote(&self, request: &RemoteRequest) -> Option<&Pinned> {
        self.remotes.known.get(request)
    }
}

impl RemoteBook {
    pub(super) fn new(sources: Arc<Sources>) -> Self {
        Self {
            sources,
            known: BTreeMap::new(),
        }
    }

    /// Pins what a round of lowering asked for, all at once.
    pub(super) async fn resolve(
        &mut self,
        source: &Source,
        requests: &[(RemoteRequest, Option<Span>)],
        reporter: &Reporter,
    ) -> Result<(), BuildError> {
        let lookups = requests
            .iter()
            .map(|(request, _)| pin(&self.sources, request, reporter));
        let answers = futures_util::future::join_all(lookups).await;
        let mut diagnostics = Vec::new();
        for ((request, span), answer) in requests.iter().zip(answers) {
            match (answer, span) {
                (Ok(pinned), _) => {
                    self.known.insert(request.clone(), pinned);
                }
                (Err(message), Some(span)) => {
                    diagnostics.push(Diagnostic::error("source", *span, message));
                }
                (Err(message), None) => {
                    diagnostics.push(Diagnostic::error_nowhere("source", message));
                }
            }
        }
        if diagnostics.is_empty() {
            return Ok(());
        }
        Err(BuildError::Dockerfile {
            dockerfile: Box::new(source.clone()),
            diagnostics,
        })
    }
}

/// Pins what a source stands for, unless it says so itself.
pub(super) async fn pin_source(
    sources: &Sources,
    source: &RemoteSource,
    reporter: &Reporter,
) -> anyhow::Result<Pinned> {
    if let Some(pinned) = source.pinned_by_itself()? {
        return Ok(pinned);
    }
    let pinned = pin(sources, &source.request(), reporter).await;
    pinned.map_err(anyhow::Error::msg)
}

async fn pin(
    sources: &Sources,
    request: &RemoteRequest,
    reporter: &Reporter,
) -> Result<Pinned, String> {
    let name = match request {
        RemoteRequest::Git(request) => {
            let reference = request.reference.as_deref().unwrap_or("HEAD");
            let remote = kiln_frontend::lower::remote::without_credentials(&request.remote);
            format!("[internal] resolve {remote}#{reference}")
        }
        RemoteRequest::Http(request) => {
            let url = kiln_frontend::lower::remote::without_credentials(&request.url);
            format!("[internal] resolve {url}")
        }
    };
    let step = reporter.start(name);
    let pinned = match request {
        RemoteRequest::Git(request) => pin_git(sources, request, &step).await,
        RemoteRequest::Http(request) => pin_http(sources, request, &step).await,
    };
    match &pinned {
        Ok(_) => step.finished(),
        Err(message) => step.failed(message),
    }
    pinned
}

async fn pin_git(
    sources: &Sources,
    request: &GitRequest,
    step: &StepReporter,
) -> Result<Pinned, String> {
    let reference = GitReference {
        remote: request.remote.clone(),
        reference: request.reference.clone(),
        checksum: request.checksum.clone(),
        keeps_tag: request.keeps_git_directory,
        fetch_by_commit: request.fetch_by_commit,
        wants_time: request.wants_time,
    };
    let pinned = sources.pin_git(&reference, step).await;
    let pinned = pinned.map_err(|error| chain(&error))?;
    Ok(Pinned::Git(PinnedGit {
        object: pinned.object,
        reference: pinned.reference,
        time: pinned.time,
    }))
}

async fn pin_http(
    sources: &Sources,
    request: &HttpRequest,
    step: &StepReporter,
) -> Result<Pinned, String> {
    let file = HttpFile {
        url: request.url.clone(),
        name: request.name.clone(),
        digest: request.digest,
        wants_time: request.wants_time,
    };
    let pinned = sources.pin_http(&file, step).await;
    let pinned = pinned.map_err(|error| chain(&error))?;
    Ok(Pinned::Http(PinnedHttp {
        digest: pinned.digest,
        modified: pinned.modified,
        time: pinned.time,
    }))
}
