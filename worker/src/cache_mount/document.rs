//! What is said of cache mounts that travel: the config of an artifact whose layers they are.

use kiln_solver::DiffId;
use serde::{Deserialize, Serialize};

use super::identity::CacheIdentity;
use crate::image::parse_config;
use crate::tree::{Entry, Timestamp};
use kiln_solver::RelPath;

/// The artifact's type.
pub(super) const ARTIFACT: &str = "application/vnd.kiln.cachemounts.v1";
/// The media type of its config: what tells the artifact, for not every tool keeps its type.
pub(super) const CONFIG: &str = "application/vnd.kiln.cachemounts.config.v1+json";
/// The annotations of a layer that name its cache, for people.
pub(super) const ID: &str = "dev.kiln.cachemount.id";
pub(super) const NAME: &str = "dev.kiln.cachemount.name";
/// No config may be longer.
pub(super) const MAXIMUM_CONFIG: u64 = 16 << 20;
/// The version of the config.
const VERSION: u32 = 1;

/// The config: one cache for each layer, in their order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheMounts {
    version: u32,
    pub(super) caches: Vec<CacheMountRecord>,
}

/// One cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheMountRecord {
    /// What it is called in every store.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) identity: CacheIdentity,
    /// Its own directory, which does not stand in the layer.
    pub(super) root: RootDirectory,
    /// The SHA-256 of the uncompressed layer.
    pub(super) diff_id: DiffId,
    /// Its length in bytes.
    pub(super) size: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RootDirectory {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl CacheMounts {
    pub(super) fn new(caches: Vec<CacheMountRecord>) -> Self {
        Self {
            version: VERSION,
            caches,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("documents have string keys only")
    }

    /// Reads a config of an artifact that has so many layers; an error says what is wrong.
    pub(super) fn decode(bytes: &[u8], layers: usize) -> Result<Self, String> {
        let config: Self = parse_config(bytes, VERSION)?;
        if config.caches.len() != layers {
            let caches = config.caches.len();
            return Err(format!("it has {layers} layers, but names {caches} caches"));
        }
        let mut names = std::collections::BTreeSet::new();
        for cache in &config.caches {
            cache.check()?;
            if !names.insert(&cache.name) {
                return Err(format!("it has the cache {} twice", cache.identity.shown()));
            }
        }
        Ok(config)
    }
}

impl CacheMountRecord {
    /// A cache is found by its name; one that is named for another would be found in its stead.
    fn check(&self) -> Result<(), String> {
        let id = self.identity.shown();
        if !is_name_of(&self.name, &self.identity) {
            let expected = self.identity.name();
            return Err(format!(
                "the cache {id} is called {}, not {expected}",
                self.name
            ));
        }
        // No id is so large: see chown(2).
        let is_nobody = [self.root.uid, self.root.gid].contains(&u32::MAX);
        if is_nobody || self.root.mode > 0o7777 || self.root.nanoseconds >= 1_000_000_000 {
            return Err(format!("what it says of the cache {id} is out of range"));
        }
        Ok(())
    }
}

impl RootDirectory {
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        let Timestamp {
            seconds,
            nanoseconds,
        } = crate::layer::mtime(stat);
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            seconds,
            nanoseconds,
        }
    }

    pub(super) fn entry(&self) -> Entry {
        let mtime = Timestamp {
            seconds: self.seconds,
            nanoseconds: self.nanoseconds,
        };
        Entry {
            uid: self.uid,
            gid: self.gid,
            ..Entry::directory(RelPath::root(), self.mode, mtime)
        }
    }
}

/// Whether a directory's name is that of a cache, or of one more of it: a private cache that is in use is
/// not shared, so that there may be several.
pub(super) fn is_name_of(name: &str, identity: &CacheIdentity) -> bool {
    let (first, number) = match name.split_once('-') {
        Some((first, number)) => (first, Some(number)),
        None => (name, None),
    };
    let is_number = |number: &str| {
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !number.starts_with('0') && (1..=9).contains(&number.len())
    };
    first == identity.name() && number.is_none_or(is_number)
}
