//! The cache mounts of a store.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::identity::{CacheIdentity, shown};
use crate::io_error::{AtPath, IoError};
use crate::store::Store;

/// A cache of a store.
#[derive(Debug, Clone)]
pub struct StoredCacheMount {
    /// The name of its directory.
    pub name: String,
    /// Its directory.
    pub home: PathBuf,
    /// What its name is made of, if that can be told.
    pub identity: Option<CacheIdentity>,
}

/// Which caches are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CacheSelection {
    /// All of them.
    #[default]
    All,
    /// Those that mounts call so.
    Ids(Vec<String>),
}

impl CacheSelection {
    /// Whether a cache of that id is meant.
    pub fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|wanted| wanted == id),
        }
    }

    /// Those of the ids that are asked for and that none of the caches has.
    pub fn missing<'s>(&'s self, ids: &[&str]) -> Vec<&'s str> {
        let Self::Ids(wanted) = self else {
            return Vec::new();
        };
        let missing = wanted.iter().filter(|wanted| !ids.contains(&&***wanted));
        missing.map(String::as_str).collect()
    }
}

impl StoredCacheMount {
    /// What mounts call it, as far as that is known.
    pub fn id(&self) -> Option<String> {
        match &self.identity {
            Some(identity) => Some(identity.shown().to_owned()),
            None => fs::read_to_string(self.home.join("id"))
                .ok()
                .map(|id| shown(&id).to_owned()),
        }
    }
}

/// All caches of a store, by id and name.
pub fn list_cache_mounts(store: &Store) -> Result<Vec<StoredCacheMount>, IoError> {
    let directory = store.root().join("cache-mounts");
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", &directory)?,
    };
    let mut caches = Vec::new();
    for entry in entries {
        let name = entry.at("list", &directory)?.file_name();
        caches.push(find_cache_mount(store, &name.to_string_lossy()));
    }
    caches.sort_by_cached_key(|cache| (cache.id(), cache.name.clone()));
    Ok(caches)
}

/// The cache in a directory of that name.
pub fn find_cache_mount(store: &Store, name: &str) -> StoredCacheMount {
    let home = store.root().join("cache-mounts").join(name);
    let first = name.split('-').next().unwrap_or(name);
    StoredCacheMount {
        identity: CacheIdentity::read(&home, first),
        name: name.to_owned(),
        home,
    }
}
