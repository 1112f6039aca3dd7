//! Proofs of identity: found out once for each repository, then shown with every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use reqwest::Response;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};

use super::challenge::{self, Challenge};
use super::credentials::{self, Credential};
use super::error::RegistryError;
use super::token::{TokenRequest, basic, realm_url};
use crate::http::Http;

/// A registry and a repository in it.
pub(super) type Place = (String, String);

/// Remembers what each repository wants to see.
#[derive(Default)]
pub(super) struct Authority {
    known: Mutex<HashMap<Place, Proof>>,
    credentials: Mutex<HashMap<String, Option<Credential>>>,
}

#[derive(Clone)]
pub(super) struct Proof {
    pub(super) header: HeaderValue,
    /// `None` for a password, which does not expire.
    pub(super) expires: Option<Instant>,
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
