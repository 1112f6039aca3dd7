//! Whose password to use, from Docker's configuration file and its credential helpers.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use super::error::RegistryError;
use crate::io_error::AtPath;

/// The name that `docker login` files Docker Hub under.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// How to introduce oneself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// User name and password.
    Password(String, String),
    /// A token that yields tokens (OAuth 2).
    Refresh(String),
}

/// Looks a registry up. May run a credential helper, and so may take long.
pub(super) fn look_up(config: &Path, host: &str) -> Result<Option<Credential>, RegistryError> {
    let names: &[&str] = match host {
        "docker.io" | "registry-1.docker.io" => &[DOCKER_HUB, "docker.io"],
        _ => &[host],
    };
    for name in names {
        if let Some(found) = look_up_name(config, host, name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn look_up_name(
    config: &Path,
    host: &str,
    name: &str,
) -> Result<Option<Credential>, RegistryError> {
    let file = match File::open(config) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", config)?,
    };
    match get_credential_from_reader(BufReader::new(file), name) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Credential::Password(user, password)))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credential::Refresh(token))),
        Err(error) if means_nothing_known(&error) => Ok(None),
        Err(error) => Err(RegistryError::Credentials {
            host: host.to_owned(),
            path: config.to_owned(),
            problem: describe(&error),
        }),
    }
}

fn means_nothing_known(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured => true,
        // What helpers print when they know nothing (docker-credential-helpers, `credentials`).
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. } => [stdout, stderr]
            .iter()
            .any(|text| text.contains("credentials not found")),
        _ => false,
    }
}

fn describe(error: &CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, stderr, .. } => {
            format!("{helper} failed: {}", stderr.trim())
        }
        CredentialRetrievalError::HelperCommunicationError => {
            "the credential helper that it names cannot be run; is it installed?".to_owned()
        }
        CredentialRetrievalError::ConfigReadError => "not valid JSON".to_owned(),
        other => other.to_string(),
    }
}
