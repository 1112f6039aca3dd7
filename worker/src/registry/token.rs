//! Tokens: fetched from the server that a registry names (distribution, "Token Authentication").

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::auth::Proof;
use super::credentials::Credential;
use super::error::RegistryError;
use crate::http::{Http, Request, shown};

/// How long a token lives whose server does not say (distribution, "Token Authentication").
const DEFAULT_LIFE: u64 = 60;
/// Tokens are not used in their last seconds: they must outlive the request.
const MARGIN: Duration = Duration::from_secs(10);
const MAXIMUM_TOKEN: u64 = 1 << 20;
const CLIENT_ID: &str = "kiln";

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// A token's server. A registry spoken to over https must not have its passwords sent in the clear.
pub(super) fn realm_url(asker: &Url, realm: &str) -> Result<Url, RegistryError> {
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

/// What to ask a token's server for.
pub(super) struct TokenRequest {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scope: String,
}

impl TokenRequest {
    pub(super) async fn send(
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

/// A password as it is shown with a request (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
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
