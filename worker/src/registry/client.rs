//! Manifests and blobs of a repository.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kiln_solver::Sha256Digest;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistrySettings;
use super::auth::{Authority, Place};
use super::blob::BlobStream;
use super::error::RegistryError;
use crate::http::{Http, HttpError, Request, is_this_machine, shown};
use crate::image::{Reference, media_type};

/// How much of an error's text is read.
const MAXIMUM_COMPLAINT: u64 = 64 << 10;
/// Docker Hub's registry answers under another name than its images have.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A client for all registries. Connections and tokens are shared.
pub struct Registry {
    pub(super) http: Http,
    authority: Authority,
    /// Hosts that were found to speak https although http was to be expected.
    secure: Mutex<HashMap<String, bool>>,
}

/// What a registry says of a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest, if the registry tells it.
    pub digest: Option<Sha256Digest>,
    /// Its media type.
    pub media_type: Option<String>,
}

impl Registry {
    /// A client with these settings. Nothing is read or connected yet.
    pub fn new(settings: RegistrySettings) -> Self {
        Self {
            http: Http::new(settings),
            authority: Authority::default(),
            secure: Mutex::default(),
        }
    }

    /// Where the registry keeps a manifest: by digest if `reference` has one, else by tag.
    pub fn manifest_url(&self, reference: &Reference) -> String {
        let name = match (&reference.digest, reference.tag_or_latest()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        self.url(reference, "manifests", &name)
    }

    /// Where the registry keeps a blob.
    pub fn blob_url(&self, reference: &Reference, digest: &Sha256Digest) -> String {
        self.url(reference, "blobs", &digest.to_string())
    }

    /// Asks what a tag or digest stands for now.
    pub async fn head_manifest(
        &self,
        reference: &Reference,
    ) -> Result<ManifestHead, RegistryError> {
        let url = self.manifest_url(reference);
        let response = self
            .request(Method::HEAD, reference, &url, &accept())
            .await?;
        let text = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Ok(ManifestHead {
            digest: text("docker-content-digest").and_then(|digest| digest.parse().ok()),
            media_type: text(CONTENT_TYPE.as_str()),
        })
    }

    /// Fetches a manifest or index, unverified, with the media type that the registry gives it.
    pub async fn manifest(
        &self,
        reference: &Reference,
        limit: u64,
    ) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let url = self.manifest_url(reference);
        let response = self
            .request(Method::GET, reference, &url, &accept())
            .await?;
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok((read_body(response, limit, &self.http).await?, media_type))
    }

    /// Fetches a small blob whole, unverified.
    pub async fn small_blob(
        &self,
        reference: &Reference,
        digest: &Sha256Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let url = self.blob_url(reference, digest);
        let response = self
            .request(Method::GET, reference, &url, &HeaderMap::new())
            .await?;
        read_body(response, limit, &self.http).await
    }

    /// Streams a blob, unverified.
    pub async fn blob(
        &self,
        reference: &Reference,
        digest: &Sha256Digest,
    ) -> Result<BlobStream<'_>, RegistryError> {
        BlobStream::open(self, reference.clone(), self.blob_url(reference, digest)).await
    }

    /// Makes a request, proves who asks if that is wanted, and turns refusals into errors.
    pub(super) async fn request(
        &self,
        method: Method,
        reference: &Reference,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response, RegistryError> {
        let place: Place = (reference.registry.clone(), reference.repository.clone());
        let parsed = Url::parse(url).map_err(|error| RegistryError::Protocol {
            url: url.to_owned(),
            problem: format!("not a URL: {error}"),
        })?;
        let mut request = Request::new(method, parsed);
        request.headers = headers.clone();
        if let Some(proof) = self.authority.known(&place) {
            request.headers.insert(AUTHORIZATION, proof);
        }
        let mut response = self.http.send(&request).await?;
        if self.should_use_https(&request.url, &response) {
            let _ = request.url.set_scheme("https");
            response = self.http.send(&request).await?;
            let mut secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
            secure.insert(reference.registry.clone(), true);
        }
        // Only the registry itself may ask, not whom it redirects to.
        let is_own = response.url().origin() == request.url.origin();
        if response.status() == StatusCode::UNAUTHORIZED && is_own {
            let answer = self.authority.answer(&self.http, &place, &response).await?;
            if let Some(proof) = answer {
                request.headers.insert(AUTHORIZATION, proof);
                response = self.http.send(&request).await?;
            }
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self
            .complaint(&reference.registry, &request.url, response)
            .await)
    }

    /// A server that speaks https answers http with status 400.
    fn should_use_https(&self, url: &Url, response: &Response) -> bool {
        url.scheme() == "http"
            && response.status() == StatusCode::BAD_REQUEST
            && !response
                .headers()
                .contains_key("docker-distribution-api-version")
    }

    async fn complaint(&self, host: &str, url: &Url, response: Response) -> RegistryError {
        let status = response.status().as_u16();
        let url = shown(url);
        if status == 404 {
            return RegistryError::NotFound { url };
        }
        let body = read_body(response, MAXIMUM_COMPLAINT, &self.http).await;
        let detail = detail(&body.unwrap_or_default());
        if matches!(status, 401 | 403) {
            let hint = self.authority.hint(host);
            return RegistryError::Denied {
                url,
                status,
                detail,
                hint,
            };
        }
        RegistryError::Status {
            url,
            status,
            detail,
        }
    }

    fn url(&self, reference: &Reference, kind: &str, name: &str) -> String {
        let (hub, hub_host) = DOCKER_HUB;
        let host = match reference.registry.as_str() {
            registry if registry == hub => hub_host,
            registry => registry,
        };
        let scheme = self.scheme(&reference.registry);
        format!(
            "{scheme}://{host}/v2/{}/{kind}/{name}",
            reference.repository
        )
    }

    fn scheme(&self, registry: &str) -> &'static str {
        let secure = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_local =
            || Url::parse(&format!("http://{registry}")).is_ok_and(|url| is_this_machine(&url));
        let is_insecure = || {
            self.http
                .settings()
                .insecure
                .iter()
                .any(|host| host == registry)
        };
        if !secure.contains_key(registry) && (is_insecure() || is_local()) {
            "http"
        } else {
            "https"
        }
    }
}

fn accept() -> HeaderMap {
    const KINDS: [&str; 4] = [
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        media_type::DOCKER_INDEX,
        media_type::DOCKER_MANIFEST,
    ];
    let mut headers = HeaderMap::new();
    for kind in KINDS {
        headers.append(ACCEPT, HeaderValue::from_static(kind));
    }
    headers
}

/// Reads an answer whole, up to a limit.
pub(super) async fn read_body(
    mut response: Response,
    limit: u64,
    http: &Http,
) -> Result<Vec<u8>, RegistryError> {
    let url = shown(response.url());
    let announced = response.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(RegistryError::TooLong { url, limit });
    }
    let mut body = Vec::new();
    let timeout = http.settings().read_timeout;
    let failed =
        |error: reqwest::Error| RegistryError::from(HttpError::of_request(&url, &error, timeout));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(RegistryError::TooLong { url, limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a registry says went wrong (OCI distribution specification, "Error Codes").
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        errors: Vec<Cause>,
    }
    #[derive(Deserialize)]
    struct Cause {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(complaint) = serde_json::from_slice::<Complaint>(body) else {
        return String::new();
    };
    let printable =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    complaint.errors.first().map_or_else(String::new, |cause| {
        format!(": {} {}", printable(&cause.code), printable(&cause.message))
    })
}
