//! What a cache mount is named by.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::io_error::IoError;
use crate::store::Scratch;

/// The file that holds it, beside the cache's files.
const FILE: &str = "identity";
/// The version of that file.
const VERSION: u32 = 1;
/// Mode, user and group of a cache for which nothing else was said.
const USUAL: (u32, u32, u32) = (0o755, 0, 0);

/// What names a cache: it has another directory for each owner and mode that it may begin with, and
/// for each content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheIdentity {
    /// What mounts call it, behind a slash; before that stands BUILDKIT_CACHE_MOUNT_NS of the build.
    pub id: String,
    /// Permission bits that it began with.
    pub mode: u32,
    /// Owner that it began with.
    pub uid: u32,
    /// Group that it began with.
    pub gid: u32,
    /// What it began with, unless it was empty.
    #[serde(rename = "from", default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<CacheSeed>,
}

/// What a cache began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheSeed {
    /// The content of the stage or image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<kiln_solver::ContentDigest>,
    /// The directory of it.
    pub source: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    #[serde(flatten)]
    identity: CacheIdentity,
}

impl CacheIdentity {
    /// What mounts call it.
    pub fn shown(&self) -> &str {
        shown(&self.id)
    }

    /// The name of the cache's directory in every store: 32 hexadecimal digits.
    pub fn name(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id.as_bytes());
        if (self.mode, self.uid, self.gid) != USUAL {
            let owner = format!("\0{:o} {} {}", self.mode, self.uid, self.gid);
            hasher.update(owner.as_bytes());
        }
        if let Some(seed) = &self.seed {
            hasher.update(b"\0from");
            if let Some(content) = &seed.content {
                hasher.update(content.as_bytes());
            }
            hasher.update(seed.source.as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Notes it in a cache's directory, where it does not stand yet.
    pub(crate) fn write(&self, scratch: &Scratch, home: &Path) -> Result<(), IoError> {
        let place = home.join(FILE);
        if place.exists() {
            return Ok(());
        }
        let written = Written {
            version: VERSION,
            identity: self.clone(),
        };
        let bytes = serde_json::to_vec(&written).expect("it has string keys only");
        scratch.put_bytes(&bytes, &place)?;
        scratch.put_bytes(self.id.as_bytes(), &home.join("id"))
    }

    /// That of a cache in its directory of that name, if it can be told. Kiln once wrote only the id
    /// down: then owner and mode are guessed, and the name tells whether rightly.
    pub(crate) fn read(home: &Path, name: &str) -> Option<Self> {
        let is_right = |identity: &Self| identity.name() == name;
        let written = fs::read(home.join(FILE)).ok();
        let written = written.and_then(|bytes| serde_json::from_slice::<Written>(&bytes).ok());
        if let Some(Written { version, identity }) = written
            && version == VERSION
        {
            return Some(identity).filter(is_right);
        }
        let id = fs::read_to_string(home.join("id")).ok()?;
        let of = |(mode, uid, gid)| Self {
            id: id.clone(),
            mode,
            uid,
            gid,
            seed: None,
        };
        let mut guesses = vec![of(USUAL)];
        if let Ok(stat) = rustix::fs::lstat(home.join("files")) {
            guesses.push(of((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)));
        }
        guesses.into_iter().find(is_right)
    }
}

/// An id without what stands before it where there is no namespace.
pub(crate) fn shown(id: &str) -> &str {
    id.strip_prefix('/').unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are a format: a cache must be found again by the next version of Kiln.
    #[test]
    fn names_stay_what_they_are() {
        let identity = |id: &str, owner: (u32, u32, u32), seed: Option<CacheSeed>| CacheIdentity {
            id: id.to_owned(),
            mode: owner.0,
            uid: owner.1,
            gid: owner.2,
            seed,
        };
        let seed = || CacheSeed {
            content: Some(kiln_solver::ContentDigest::new([7; 32])),
            source: "s".to_owned(),
        };
        let cases = [
            (
                identity("/c", USUAL, None),
                "2a8c2aa71ebd788ab7ea657587c5d170",
            ),
            (
                identity("/c", (0o700, 1000, 50), None),
                "646e3e12b0006119004d504a68dec3be",
            ),
            (
                identity("/c", USUAL, Some(seed())),
                "e4a8d68f73bc65ad7c9d5c1f549babf3",
            ),
        ];
        for (identity, name) in cases {
            assert_eq!(identity.name(), name, "{identity:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_name_that_does_not_fit_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = crate::store::Store::open(directory.path()).expect("writable");
        let home = store.directory("cache-mounts/x").expect("writable");
        let identity = CacheIdentity {
            id: "/c".to_owned(),
            mode: 0o700,
            uid: 1,
            gid: 2,
            seed: None,
        };
        let name = identity.name();
        assert_eq!(CacheIdentity::read(&home, &name), None);
        identity.write(store.scratch(), &home).expect("writable");
        assert_eq!(CacheIdentity::read(&home, &name), Some(identity));
        assert_eq!(CacheIdentity::read(&home, &"0".repeat(32)), None);
    }
}
