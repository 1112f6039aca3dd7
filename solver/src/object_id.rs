//! Names of git's objects.

use std::fmt;
use std::str::FromStr;

/// The full name of an object in a git repository: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal
/// digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(Box<str>);

/// A text is not the full name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 40 or 64 lower-case hex digits, found {0:?}")]
pub struct ObjectIdError(String);

impl ObjectId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the repository names its objects by SHA-256.
    pub fn is_sha256(&self) -> bool {
        self.0.len() == 64
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if matches!(text.len(), 40 | 64) && text.bytes().all(is_digit) {
            Ok(Self(text.into()))
        } else {
            Err(ObjectIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
