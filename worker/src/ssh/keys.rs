//! Private keys in memory, and what is signed with them.

use std::fmt;

use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey};
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, HashAlg, Mpint, PrivateKey, Signature};

/// Private keys that an agent signs with.
#[derive(Default)]
pub struct Keyring(Vec<Key>);

struct Key {
    /// The public part as it travels.
    public: Vec<u8>,
    comment: String,
    private: Private,
}

enum Private {
    /// What ssh-key itself signs with: Ed25519 and ECDSA.
    Curve(Box<PrivateKey>),
    Rsa(Box<RsaPrivateKey>),
}

/// Why a file is no key that can be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says what it is")]
pub enum KeyError {
    #[error(
        "it is protected by a passphrase: add it to an agent with ssh-add, and give the build that agent"
    )]
    Encrypted,
    #[error("it is a public key")]
    Public,
    #[error("it is no private key that OpenSSH writes")]
    Unknown,
    #[error("its form is not known: `ssh-keygen -p -f FILE` writes it anew in OpenSSH's own")]
    Form,
    #[error("{0}; add it to an agent with ssh-add, and give the build that agent")]
    OpenSsh(#[from] ssh_key::Error),
    #[error(
        "{0} keys are not supported: add it to an agent with ssh-add, and give the build that agent"
    )]
    Algorithm(Algorithm),
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Adds the key that a file holds.
    pub(super) fn add(&mut self, text: &[u8]) -> Result<(), KeyError> {
        self.0.push(parse(text)?);
        Ok(())
    }

    /// The keys' public parts as they travel, and their comments.
    pub(super) fn identities(&self) -> impl ExactSizeIterator<Item = (&[u8], &str)> {
        self.0.iter().map(|key| (&*key.public, &*key.comment))
    }

    /// Signs `data` with the key that has this public part, and encodes the signature as it travels.
    /// An RSA key's is made with `rsa_hash`.
    pub(super) fn sign(
        &self,
        public: &[u8],
        data: &[u8],
        rsa_hash: Option<HashAlg>,
    ) -> Option<Vec<u8>> {
        let key = self.0.iter().find(|key| key.public == public)?;
        let signature = match &key.private {
            Private::Curve(key) => key.try_sign(data).ok()?,
            // Without a hash SHA-1 is meant, which no server should take any more.
            Private::Rsa(key) => sign_with_rsa(key, data, rsa_hash?)?,
        };
        Vec::try_from(signature).ok()
    }
}

fn sign_with_rsa(key: &RsaPrivateKey, data: &[u8], hash: HashAlg) -> Option<Signature> {
    let key = key.clone();
    let signature = match hash {
        HashAlg::Sha256 => SigningKey::<rsa::sha2::Sha256>::new(key).try_sign(data),
        _ => SigningKey::<rsa::sha2::Sha512>::new(key).try_sign(data),
    };
    let algorithm = Algorithm::Rsa { hash: Some(hash) };
    Signature::new(algorithm, signature.ok()?.to_vec()).ok()
}

fn parse(text: &[u8]) -> Result<Key, KeyError> {
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Unknown)?;
    let Some((_, label)) = text.split_once("-----BEGIN ") else {
        let is_public = text.starts_with("ssh-") || text.starts_with("ecdsa-");
        return Err(if is_public {
            KeyError::Public
        } else {
            KeyError::Unknown
        });
    };
    match label.split("-----").next().unwrap_or_default() {
        "OPENSSH PRIVATE KEY" => of_openssh(PrivateKey::from_openssh(text)?),
        _ if text.contains("ENCRYPTED") => Err(KeyError::Encrypted),
        "RSA PRIVATE KEY" => of_rsa(RsaPrivateKey::from_pkcs1_pem(text).ok(), ""),
        "PRIVATE KEY" => of_rsa(RsaPrivateKey::from_pkcs8_pem(text).ok(), ""),
        label if label.ends_with("PUBLIC KEY") => Err(KeyError::Public),
        label if label.ends_with("PRIVATE KEY") => Err(KeyError::Form),
        _ => Err(KeyError::Unknown),
    }
}

fn of_openssh(key: PrivateKey) -> Result<Key, KeyError> {
    if key.is_encrypted() {
        return Err(KeyError::Encrypted);
    }
    match key.key_data() {
        KeypairData::Rsa(keypair) => of_rsa(rsa(keypair), key.comment()),
        KeypairData::Ed25519(_)
        | KeypairData::Ecdsa(EcdsaKeypair::NistP256 { .. } | EcdsaKeypair::NistP384 { .. }) => {
            Ok(Key {
                public: key.public_key().to_bytes()?,
                comment: key.comment().to_owned(),
                private: Private::Curve(Box::new(key)),
            })
        }
        _ => Err(KeyError::Algorithm(key.algorithm())),
    }
}

fn rsa(keypair: &RsaKeypair) -> Option<RsaPrivateKey> {
    let number = |number: &Mpint| Some(BigUint::from_bytes_be(number.as_positive_bytes()?));
    let RsaKeypair { public, private } = keypair;
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let (n, e, d) = (number(&public.n)?, number(&public.e)?, number(&private.d)?);
    RsaPrivateKey::from_components(n, e, d, primes).ok()
}

fn of_rsa(key: Option<RsaPrivateKey>, comment: &str) -> Result<Key, KeyError> {
    let key = key.ok_or(KeyError::Form)?;
    let number = |number: &BigUint| Mpint::from_positive_bytes(&number.to_bytes_be());
    let (n, e) = (number(key.n())?, number(key.e())?);
    let public = KeyData::Rsa(RsaPublicKey { n, e });
    Ok(Key {
        public: ssh_key::PublicKey::new(public, "").to_bytes()?,
        comment: comment.to_owned(),
        private: Private::Rsa(Box::new(key)),
    })
}
