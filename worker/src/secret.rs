//! The secrets that a build was given, in memory: what `RUN --mount=type=secret` shows.
//!
//! Where a value comes from is known only to whoever fills the store.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most bytes that a secret may have, as in BuildKit.
pub const LARGEST_SECRET: usize = 500 * 1024;

/// Bytes that debug output does not show.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// Secrets by the names that mounts ask for.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Adds a secret; it takes the place of an earlier one of that name.
    pub fn insert(&mut self, id: String, secret: Secret) {
        self.0.insert(id, secret);
    }

    /// The secret of that name, if the build was given one.
    pub fn get(&self, id: &str) -> Option<&Secret> {
        self.0.get(id)
    }
}
