//! Requests as such: connections, certificates, redirects, retries. Registries and addresses in
//! Dockerfiles are asked through this.

mod error;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url, redirect};

pub use error::HttpError;

use crate::io_error::AtPath;
use crate::registry::RegistrySettings;

const MAXIMUM_REDIRECTS: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Makes requests. Clients are made when first needed: reading all of a system's certificates takes
/// longer than a build that has nothing to do.
pub(crate) struct Http {
    settings: RegistrySettings,
    /// Without certificates or proxies: http to this machine.
    direct: OnceLock<Client>,
    /// With everything.
    full: OnceLock<Client>,
}

/// A request that can be made several times.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
    /// Whether a redirect may lead from https to http: the bytes are verified by other means.
    pub(crate) may_leave_https: bool,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            may_leave_https: false,
        }
    }
}

impl Http {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self {
            settings,
            direct: OnceLock::new(),
            full: OnceLock::new(),
        }
    }

    pub(crate) fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// Makes a request, again if it fails for a reason that may pass, and follows redirects.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let mut attempt = 0;
        loop {
            let outcome = self.follow(request.clone()).await;
            let may_pass = match &outcome {
                Ok(response) => status_may_pass(response.status()),
                Err(error) => error.may_pass(),
            };
            if !may_pass || attempt == self.settings.retries {
                return outcome;
            }
            tokio::time::sleep(pause(attempt, outcome.as_ref().ok())).await;
            attempt += 1;
        }
    }

    async fn follow(&self, mut request: Request) -> Result<Response, HttpError> {
        for _ in 0..=MAXIMUM_REDIRECTS {
            let response = self.send_once(&request).await?;
            let Some(target) = redirect_target(&request, &response)? else {
                return Ok(response);
            };
            // Bytes often lie with another company, whom this one's password does not concern.
            if target.origin() != request.url.origin() {
                request.headers.remove(AUTHORIZATION);
            }
            request.url = target;
        }
        Err(HttpError::Protocol {
            url: shown(&request.url),
            problem: "too many redirects".to_owned(),
        })
    }

    async fn send_once(&self, request: &Request) -> Result<Response, HttpError> {
        let client = self.client(&request.url)?;
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let failed = |error: reqwest::Error| {
            let timeout = self.settings.read_timeout;
            HttpError::of_request(shown(&request.url).as_str(), &error, timeout)
        };
        builder.send().await.map_err(failed)
    }

    fn client(&self, url: &Url) -> Result<Client, HttpError> {
        let is_direct = url.scheme() == "http" && is_this_machine(url);
        let cell = if is_direct { &self.direct } else { &self.full };
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let client = self.build(is_direct)?;
        Ok(cell.get_or_init(|| client).clone())
    }

    fn build(&self, is_direct: bool) -> Result<Client, HttpError> {
        choose_cryptography();
        let mut builder = Client::builder()
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(self.settings.connect_timeout)
            .read_timeout(self.settings.read_timeout);
        if is_direct {
            builder = builder.no_proxy().tls_certs_only([]);
        } else {
            let certificates = self.certificates()?;
            if !certificates.is_empty() {
                builder = builder.tls_certs_merge(certificates);
            }
        }
        builder
            .build()
            .map_err(|error| HttpError::Setup(error::innermost(&error)))
    }

    fn certificates(&self) -> Result<Vec<Certificate>, HttpError> {
        let mut certificates = Vec::new();
        for path in &self.settings.certificates {
            let pem = std::fs::read(path).at("read", path)?;
            let bundle =
                Certificate::from_pem_bundle(&pem).map_err(|error| HttpError::Certificate {
                    path: path.clone(),
                    reason: error::innermost(&error),
                })?;
            certificates.extend(bundle);
        }
        Ok(certificates)
    }
}

/// A URL to show: what comes after `?` may be a signature that grants access.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = url.set_password(None);
    url.to_string()
}

/// Whether a URL leads to this machine, where http is no risk.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// rustls asks a process to choose one implementation of its primitives, once.
fn choose_cryptography() {
    static CHOSEN: OnceLock<()> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let ring = rustls::crypto::ring::default_provider();
        // Whoever embeds this crate may have chosen already.
        let _: Result<(), Arc<_>> = ring.install_default();
    });
}

fn redirect_target(request: &Request, response: &Response) -> Result<Option<Url>, HttpError> {
    let url = &request.url;
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    let malformed = |problem: String| HttpError::Protocol {
        url: shown(url),
        problem,
    };
    let text = location
        .to_str()
        .map_err(|_| malformed("it redirects to something that is no URL".to_owned()))?;
    let target = url
        .join(text)
        .map_err(|error| malformed(format!("it redirects to something that is no URL: {error}")))?;
    let leaves_https = url.scheme() == "https" && target.scheme() != "https";
    if (leaves_https && !request.may_leave_https) || !matches!(target.scheme(), "http" | "https") {
        let to = shown(&target);
        return Err(malformed(format!(
            "it redirects from {} to {to}",
            url.scheme()
        )));
    }
    Ok(Some(target))
}

fn status_may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn pause(attempt: u32, response: Option<&Response>) -> Duration {
    let asked = response
        .and_then(|response| response.headers().get(RETRY_AFTER))
        .and_then(|value: &HeaderValue| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    asked
        .unwrap_or(FIRST_PAUSE * 2u32.saturating_pow(attempt.min(8)))
        .min(LONGEST_PAUSE)
}
