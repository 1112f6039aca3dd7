//! Digests as `Copy` types, one for each thing that is named by its hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text does not begin with the expected algorithm and a colon.
    #[error("expected a digest of the form {algorithm}:<64 hex digits>, found {found:?}")]
    Algorithm {
        /// The algorithm that this kind of digest uses.
        algorithm: &'static str,
        /// The text as given.
        found: String,
    },
    /// What follows the colon is not 64 lower-case hexadecimal digits.
    #[error("expected 64 lower-case hex digits after {algorithm}:, found {found:?}")]
    Hex {
        /// The algorithm that this kind of digest uses.
        algorithm: &'static str,
        /// The text as given.
        found: String,
    },
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $algorithm:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The algorithm's name, as it stands before the colon.
            pub const ALGORITHM: &'static str = $algorithm;

            /// Takes the raw 32 bytes of a finished hash.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The raw 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 lower-case hex digits, without the algorithm.
            pub fn hex(&self) -> String {
                to_hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", Self::ALGORITHM, self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse(text, Self::ALGORITHM).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

digest_type!(
    /// A step's cache key: BLAKE3 over the step and what it reads.
    Key,
    "blake3"
);
digest_type!(
    /// Names a file tree (or a part of one) by its content, modification times left out.
    ContentDigest,
    "blake3"
);
digest_type!(
    /// Names a layer by the SHA-256 of its uncompressed tar (OCI image config, `rootfs.diff_ids`).
    DiffId,
    "sha256"
);
digest_type!(
    /// Names a blob of an OCI image by its SHA-256: a manifest, a config, a layer as it travels.
    Sha256Digest,
    "sha256"
);

impl From<DiffId> for Sha256Digest {
    /// An uncompressed layer is a blob whose digest is its diff id.
    fn from(diff_id: DiffId) -> Self {
        Self::new(*diff_id.as_bytes())
    }
}

fn to_hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

fn parse(text: &str, algorithm: &'static str) -> Result<[u8; 32], DigestError> {
    let hex = text
        .strip_prefix(algorithm)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(|| DigestError::Algorithm {
            algorithm,
            found: text.to_owned(),
        })?;
    let malformed = || DigestError::Hex {
        algorithm,
        found: text.to_owned(),
    };
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return Err(malformed());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = hex_value(pair[0]).ok_or_else(malformed)?;
        let low = hex_value(pair[1]).ok_or_else(malformed)?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_are_inverse() {
        let digest = Sha256Digest::new(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "sha256:",
            "md5:00",
            "sha256:zz",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert!(text.parse::<Sha256Digest>().is_err(), "{text:?}");
        }
    }
}
