//! Checks every byte of a store against its name, and every reference against what it names.
//!
//! What is known for sure: a blob hashes to its name; a layer's tar, plain or compressed, to its diff
//! id, and its tree is what that tar holds. A layer that is only a directory, as a RUN leaves it, is
//! packed again, which gives its diff id if every file in it is as it was. Of a base image's layer
//! that a build has not looked into, only the blob is known. What cannot be known is whether somebody
//! put a file into a layer's directory that is not the layer's. Builds may run meanwhile: what is
//! looked at is leased, and a record that was forgotten before it was looked at is not missed.

mod layer;
mod references;
mod repair;
mod restart;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_solver::{DiffId, Key, Sha256Digest};
use rayon::prelude::*;

use crate::gc::GcError;
use crate::io_error::AtPath;
use crate::store::{LayerBlob, Store, sha256_of};
use layer::{LayerCheck, check_layer};

pub use repair::repair;
pub use restart::after_restart;

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What it is.
    pub what: Damaged,
    /// What is wrong with it.
    pub problem: String,
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damaged {
    /// A blob, or a file among the blobs that cannot be one.
    Blob(PathBuf),
    /// A layer, of which no form is whole.
    Layer(DiffId),
    /// What is unpacked of a layer that can be had from its tar again.
    Directory(PathBuf),
    /// What says that a blob, in some compression, holds a layer.
    LayerBlob(DiffId, String),
    /// A cache record.
    Record(Key),
    /// An image, by its name.
    Image(String),
    /// The database of the index.
    Index,
}

/// What was checked, and what is wrong.
#[derive(Debug, Default)]
pub struct Verified {
    /// How many blobs there are.
    pub blobs: usize,
    /// How many layers there are.
    pub layers: usize,
    /// How many cache records there are.
    pub records: usize,
    /// How many images there are.
    pub images: usize,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

/// Checks a store. `progress` is told how much of how much was looked at.
pub fn verify(
    store: &Store,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Verified, GcError> {
    let mut verified = Verified::default();
    if let Err(problem) = store.index().check() {
        let what = Damaged::Index;
        verified.damage.push(Damage { what, problem });
        return Ok(verified);
    }
    let blobs = entries(store, "blobs/sha256")?;
    let mut layers = entries(store, "layers")?;
    let claims = store.index().all_layer_blobs()?;
    // Some layers are there as blobs only.
    layers.extend(claims.iter().map(|(diff_id, _)| diff_id.hex()));
    layers.sort();
    layers.dedup();
    verified.blobs = blobs.len();
    verified.layers = layers.len();
    let state = check_bytes(
        store,
        &blobs,
        &layers,
        claims,
        &mut verified.damage,
        progress,
    )?;
    references::check(store, &state, &mut verified)?;
    Ok(verified)
}

/// Checks blobs and layers by their names.
fn check_bytes(
    store: &Store,
    blobs: &[String],
    layers: &[String],
    claims: Vec<(DiffId, LayerBlob)>,
    damage: &mut Vec<Damage>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<State, GcError> {
    let (done, total) = (AtomicUsize::new(0), blobs.len() + layers.len());
    let step = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let checked = blobs.par_iter().map(|name| {
        let problem = check_blob(store, name);
        step();
        problem
            .transpose()
            .map(|problem| problem.map(|problem| (name.clone(), problem)))
    });
    let bad_blobs: Vec<_> = checked.flatten().collect::<Result<_, GcError>>()?;
    let mut state = State::default();
    for (name, problem) in bad_blobs {
        state.bad_blobs.extend(digest::<Sha256Digest>(&name));
        let what = Damaged::Blob(store.root().join("blobs/sha256").join(name));
        damage.push(Damage { what, problem });
    }
    for (diff_id, blob) in claims {
        state.claims.entry(diff_id).or_default().push(blob);
    }
    let checked = layers.par_iter().map(|name| {
        let checked = check_layer(store, name, &state);
        step();
        checked
    });
    for check in checked.collect::<Result<Vec<LayerCheck>, GcError>>()? {
        state.take(check, damage);
    }
    Ok(state)
}

/// What is known while a store is checked.
#[derive(Default)]
struct State {
    bad_blobs: HashSet<Sha256Digest>,
    claims: HashMap<DiffId, Vec<LayerBlob>>,
    /// Layers of which some form is whole, and those of which none is.
    whole: HashSet<DiffId>,
    broken: HashSet<DiffId>,
    /// Layers that can be had from a tar, and of which nothing else says what they hold.
    without_tree: HashSet<DiffId>,
}

impl State {
    fn take(&mut self, check: LayerCheck, damage: &mut Vec<Damage>) {
        if check.lacks_tree {
            self.without_tree.extend(check.diff_id);
        }
        match check.diff_id {
            Some(diff_id) if check.is_whole => drop(self.whole.insert(diff_id)),
            Some(diff_id) => drop(self.broken.insert(diff_id)),
            None => {}
        }
        damage.extend(check.damage);
    }
}

/// The names in a directory of the store, in order.
fn entries(store: &Store, kind: &str) -> Result<Vec<String>, GcError> {
    let directory = store.root().join(kind);
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).at("list", &directory)? {
        let entry = entry.at("list", &directory)?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn digest<D: std::str::FromStr>(name: &str) -> Option<D> {
    format!("sha256:{name}").parse().ok()
}

/// What is wrong with a blob; an error if that cannot be told.
fn check_blob(store: &Store, name: &str) -> Result<Option<String>, GcError> {
    let path = store.lease("blobs/sha256", name)?;
    let Some(expected) = digest::<Sha256Digest>(name) else {
        return Ok(path.exists().then(|| "its name is no digest".to_owned()));
    };
    let found = match File::open(&path).and_then(sha256_of) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A disk that cannot be read is damage like any other.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {
            return Ok(Some(error.to_string()));
        }
        found => found.at("read", &path)?.0,
    };
    Ok((found != expected).then(|| format!("its bytes hash to {found}")))
}
