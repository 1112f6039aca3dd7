//! Whether what records and images name is there.

use std::collections::HashSet;
use std::fs;

use kiln_solver::{DiffId, Sha256Digest};

use super::{Damage, Damaged, State, Verified};
use crate::gc::GcError;
use crate::image::{Config, Document, MAXIMUM_CONFIG, MAXIMUM_MANIFEST, Manifest};
use crate::snapshot::Snapshot;
use crate::store::{ImageRecord, Store};

/// Checks all records and images.
pub(super) fn check(store: &Store, state: &State, verified: &mut Verified) -> Result<(), GcError> {
    let images = store.index().images()?;
    verified.images = images.len();
    for image in images {
        if let Err(problem) = check_image(store, state, &image) {
            let what = Damaged::Image(image.name);
            verified.damage.push(Damage { what, problem });
        }
    }
    let mut named = HashSet::new();
    let records = store.index().records()?;
    verified.records = records.len();
    for record in records {
        let problem = match Snapshot::decode(&record.result) {
            Err(error) => Some(format!("it cannot be read: {error}")),
            Ok(snapshot) => {
                named.extend(snapshot.diff_ids());
                let mut layers = snapshot.diff_ids().into_iter();
                let missing = layers.find(|diff_id| !is_whole(store, state, diff_id));
                missing.map(|diff_id| format!("its layer {diff_id} is missing or damaged"))
            }
        };
        // A prune may have forgotten it meanwhile, with what it names.
        if let Some(problem) = problem
            && store.index().record(&record.key)?.is_some()
        {
            let what = Damaged::Record(record.key);
            verified.damage.push(Damage { what, problem });
        }
    }
    let damage = named
        .iter()
        .filter_map(|diff_id| treeless(store, state, diff_id));
    verified.damage.extend(damage);
    Ok(())
}

/// A recorded layer was whole, and what it holds was noted: its directory is not being made. Unless nothing is
/// there at all: somebody may just have begun to look into its blob.
fn treeless(store: &Store, state: &State, diff_id: &DiffId) -> Option<Damage> {
    let home = store.root().join("layers").join(diff_id.hex());
    let has_something = || fs::read_dir(&home).is_ok_and(|mut entries| entries.next().is_some());
    let is_without = state.without_tree.contains(diff_id) && !store.layers().contains(diff_id);
    let lacks_tree = is_without && has_something();
    lacks_tree.then(|| Damage {
        what: Damaged::Directory(home),
        problem: "what says what the layer holds is missing".to_owned(),
    })
}

/// Whether a layer is whole, in its own form or as a blob. What came after the check began counts as
/// whole: it was hashed when it was made.
fn is_whole(store: &Store, state: &State, diff_id: &DiffId) -> bool {
    if state.whole.contains(diff_id) {
        return true;
    }
    let has_blob = |digest: &Sha256Digest| has_blob(store, state, digest);
    let mut claims = state.claims.get(diff_id).into_iter().flatten();
    let is_new = !state.broken.contains(diff_id) && store.layers().contains(diff_id);
    is_new || claims.any(|blob| has_blob(&blob.digest))
}

fn has_blob(store: &Store, state: &State, digest: &Sha256Digest) -> bool {
    !state.bad_blobs.contains(digest) && store.has_blob(digest)
}

fn check_image(store: &Store, state: &State, image: &ImageRecord) -> Result<(), String> {
    match read(store, &image.manifest, &image.name)? {
        Document::Manifest(manifest) => check_manifest(store, state, &manifest, &image.name),
        Document::Index(index) => {
            // Other platforms need not be there.
            let here = index
                .manifests
                .iter()
                .filter(|entry| store.has_blob(&entry.digest));
            for entry in here {
                if let Document::Manifest(manifest) = read(store, &entry.digest, &image.name)? {
                    check_manifest(store, state, &manifest, &image.name)?;
                }
            }
            Ok(())
        }
    }
}

fn read(store: &Store, digest: &Sha256Digest, name: &str) -> Result<Document, String> {
    let bytes = store
        .read_blob(digest, MAXIMUM_MANIFEST)
        .map_err(|error| error.to_string())?;
    Document::parse(&bytes, None, name).map_err(|error| error.to_string())
}

fn check_manifest(
    store: &Store,
    state: &State,
    manifest: &Manifest,
    name: &str,
) -> Result<(), String> {
    let digest = &manifest.config.digest;
    let config = store
        .read_blob(digest, MAXIMUM_CONFIG)
        .map_err(|error| error.to_string())?;
    let config = Config::parse(&config, name).map_err(|error| error.to_string())?;
    config
        .check_layers(manifest, name)
        .map_err(|error| error.to_string())?;
    for (layer, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
        let is_plain = layer.digest == (*diff_id).into();
        let is_there =
            has_blob(store, state, &layer.digest) || (is_plain && is_whole(store, state, diff_id));
        if !is_there {
            return Err(format!("its layer {} is missing or damaged", layer.digest));
        }
    }
    Ok(())
}
