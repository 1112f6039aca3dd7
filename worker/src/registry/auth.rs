//! Proofs of identity: found out once for each repository, then shown with every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::credentials::{self, Credential};
use super::error::RegistryError;
use super::http::{Http, Request, shown};

/// How long a token lives whose server does not say (distribution, "Token Authentication").
const DEFAULT_LIFE: u64 = 60;
/// Tokens are not used in their last seconds: they must outlive the request.
const MARGIN: Duration = Duration::from_secs(10);
const MAXIMUM_TOKEN: u64 = 1 << 20;
const CLIENT_ID: &str = "kiln";

/// A registry and a repository in it.
pub(super) type Place = (String, String);

/// Remembers what each repository wants to see.
#[derive(Default)]
pub(super) struct Authority {
    known: Mutex<HashMap<Place, Proof>>,
    credentials: Mutex<HashMap<String, Option<Credential>>>,
}

#[derive(Clone)]
struct Proof {
    header: HeaderValue,
    /// `None` for a password, which does not expire.
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authority {
    /// What to show for a repository, if that is known already.
    pub(super) fn known(&self, place: &Place) -> Option<HeaderValue> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let proof = known.get(place)?;
        let is_fresh = proof.expires.is_none_or(|time| time > Instant::now());
        is_fresh.then(|| proof.header.clone())
    }

    /// Finds out what to show after a server asked for it; `None` if nothing can be shown.
    pub(super) async fn answer(
        &self,
        http: &Http,
        place: &Place,
        refusal: &Response,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let credential = self.credential(http, &place.0).await?;
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE);
        let challenges = headers.iter().filter_map(|header| header.to_str().ok());
        for challenge in challenges.flat_map(challenge::parse) {
            let proof = match (challenge, &credential) {
                (
                    Challenge::Bearer {
                        realm,
                        service,
                        scope,
                    },
                    credential,
                ) => {
                    let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", place.1));
                    let realm = realm_url(refusal.url(), &realm)?;
                    let asked = TokenRequest {
                        realm,
                        service,
                        scope,
                    };
                    Some(asked.send(http, credential.as_ref()).await?)
                }
                (Challenge::Basic, Some(Credential::Password(user, password))) => Some(Proof {
                    header: basic(user, password),
                    expires: None,
                }),
                (Challenge::Basic, _) => None,
            };
            if let Some(proof) = proof {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(place.clone(), proof.clone());
                return Ok(Some(proof.header));
            }
        }
        Ok(None)
    }

    /// What to check when a registry denies access.
    pub(super) fn hint(&self, host: &str) -> String {
        let credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match credentials.get(host) {
            Some(Some(_)) => {
                format!(
                    "the credentials configured for {host} do not allow this; check the login and the image's name"
                )
            }
            _ => format!(
                "no credentials are configured for {host}; log in with `docker login {host}`, or check the image's name"
            ),
        }
    }

    async fn credential(
        &self,
        http: &Http,
        host: &str,
    ) -> Result<Option<Credential>, RegistryError> {
        let Some(config) = http.settings().docker_config.clone() else {
            return Ok(None);
        };
        let known = {
            let credentials = self
                .credentials
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            credentials.get(host).cloned()
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let name = host.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || credentials::look_up(&config, &name));
        let found = match looked_up.await {
            Ok(found) => found?,
            Err(_) => None,
        };
        let mut credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        credentials.insert(host.to_owned(), found.clone());
        Ok(found)
    }
}

/// A token's server. A registry spoken to over https must not have its passwords sent in the clear.
fn realm_url(asker: &Url, realm: &str) -> Result<Url, RegistryError> {
    let refuse = |problem: String| RegistryError::Protocol {
        url: shown(asker),
        problem,
    };
    let url = Url::parse(realm)
        .map_err(|error| refuse(format!("its token server {realm:?} is no URL: {error}")))?;
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && asker.scheme() == "http");
    if is_safe {
        Ok(url)
    } else {
        Err(refuse(format!(
            "its token server {realm} is not reached by https"
        )))
    }
}

struct TokenRequest {
    realm: Url,
    service: Option<String>,
    scope: String,
}

impl TokenRequest {
    async fn send(
        &self,
        http: &Http,
        credential: Option<&Credential>,
    ) -> Result<Proof, RegistryError> {
        let request = match credential {
            Some(Credential::Refresh(token)) => self.oauth(token),
            Some(Credential::Password(user, password)) => {
                let mut request = self.plain();
                request.headers.insert(AUTHORIZATION, basic(user, password));
                request
            }
            None => self.plain(),
        };
        let response = http.send(&request).await?;
        let url = shown(&request.url);
        let status = response.status().as_u16();
        if status != 200 {
            let hint = "the token server refuses; check the login for this registry".to_owned();
            let detail = String::new();
            return Err(RegistryError::Denied {
                url,
                status,
                detail,
                hint,
            });
        }
        let bytes = super::client::read_body(response, MAXIMUM_TOKEN, http).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&bytes).map_err(|error| RegistryError::Protocol {
                url: url.clone(),
                problem: format!("no token: {error}"),
            })?;
        let token = answer.token.or(answer.access_token).unwrap_or_default();
        let malformed = |_| RegistryError::Protocol {
            url,
            problem: "a malformed token".to_owned(),
        };
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(malformed)?;
        header.set_sensitive(true);
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).min(86_400));
        Ok(Proof {
            header,
            expires: Some(Instant::now() + life.saturating_sub(MARGIN)),
        })
    }

    fn plain(&self) -> Request {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &self.scope);
        }
        Request::new(Method::GET, url)
    }

    fn oauth(&self, refresh_token: &str) -> Request {
        let mut form = Url::parse("form:").expect("a constant URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.as_deref().unwrap_or_default())
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &self.scope)
            .append_pair("refresh_token", refresh_token);
        let mut request = Request::new(Method::POST, self.realm.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(CONTENT_TYPE, kind);
        request.body = form.query().map(str::to_owned);
        request
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = base64(format!("{user}:{password}").as_bytes());
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}"))
        .expect("base64 has only characters that headers allow");
    header.set_sensitive(true);
    header
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let value = bits >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[value as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn passwords_do_not_leave_https() {
        let https = Url::parse("https://r.example/v2/").expect("a URL");
        assert!(realm_url(&https, "https://t.example/token").is_ok());
        assert!(realm_url(&https, "http://t.example/token").is_err());
        assert!(realm_url(&https, "file:///etc/passwd").is_err());
        assert!(realm_url(&https, "nonsense").is_err());
    }
}
