//! An image layout in a directory, beside what is there already.

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_solver::{Sha256Digest, StepReporter};
use rustix::fs::FlockOperation;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::atomic_file::AtomicFile;
use super::layers::{LayerBytes, TravelingLayer};
use super::layout::{Blob, MARKER, blob_name, blobs, to_value, total};
use super::oci::Parts;
use super::{ExportError, document};
use crate::image::{media_type, open_document};
use crate::io_error::{AtPath, is_not_found};
use crate::layer::open_tar;
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::Store;

const MAXIMUM_INDEX: u64 = 4 << 20;

/// Writes a layout into a directory: blobs first, and the index that names them last.
pub(super) fn to_directory(
    store: &Store,
    parts: &Parts,
    directory: &Path,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let (_lock, mut begun) = begin(directory)?;
    let index = merged_index(directory, parts)?;
    let mut meter = Meter::new(reporter, "copying files", Some(total(parts)));
    for (digest, blob) in blobs(parts) {
        let place = directory.join(blob_name(&digest));
        if is_whole(&place, &digest) {
            meter.add(match blob {
                Blob::Bytes(bytes) => bytes.len() as u64,
                Blob::Layer(layer) => layer.descriptor.size,
            });
            continue;
        }
        match blob {
            Blob::Bytes(bytes) => {
                begun.write(&place, &mut &*bytes, bytes.len() as u64, stop, &mut meter)?
            }
            Blob::Layer(layer) => begun.copy_layer(store, layer, &place, stop, &mut meter)?,
        }
    }
    replace(&directory.join("oci-layout"), MARKER)?;
    replace(&directory.join("index.json"), &index)?;
    begun.keep();
    meter.finish();
    Ok(())
}

/// Makes the directory if need be, and locks it: two builds may write into one layout, and each adds to the
/// index that it finds. What was begun is to be given up before the lock, or else somebody finds it there
/// and relies on it.
fn begin(directory: &Path) -> Result<(File, Begun), ExportError> {
    let blobs = directory.join("blobs/sha256");
    loop {
        let mut begun = Begun::default();
        begun.create_directories(&blobs)?;
        let lock = File::open(directory).at("open", directory)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).at("lock", directory)?;
        // Whoever had the lock may have given up, and taken away what he had made.
        if is_at(&lock, directory) {
            begun.create_directories(&blobs)?;
            return Ok((lock, begun));
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let there = fs::metadata(path).map(identity).ok();
    there.is_some() && file.metadata().map(identity).ok() == there
}

/// Whether a blob is there with all its bytes. One that is damaged is written again.
fn is_whole(place: &Path, digest: &Sha256Digest) -> bool {
    let Ok(mut file) = open_document(place) else {
        return false;
    };
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hasher.finalize()[..] == digest.as_bytes()[..],
            Ok(length) => hasher.update(&buffer[..length]),
            Err(_) => return false,
        }
    }
}

/// What was made so far; dropped before [`Begun::keep`], it is removed again.
#[derive(Default)]
struct Begun {
    files: Vec<PathBuf>,
    /// Outermost first.
    directories: Vec<PathBuf>,
}

impl Begun {
    fn create_directories(&mut self, path: &Path) -> Result<(), ExportError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for directory in missing.into_iter().rev() {
            if directory.as_os_str().is_empty() {
                continue;
            }
            fs::create_dir(directory).at("create", directory)?;
            self.directories.push(directory.to_owned());
        }
        Ok(())
    }

    fn copy_layer(
        &mut self,
        store: &Store,
        layer: &TravelingLayer,
        place: &Path,
        stop: &Stop,
        meter: &mut Meter,
    ) -> Result<(), ExportError> {
        let size = layer.descriptor.size;
        match &layer.bytes {
            LayerBytes::Blob(path) => {
                let mut file = File::open(path).at("open", path)?;
                self.write(place, &mut file, size, stop, meter)
            }
            LayerBytes::Tar(diff_id) => {
                let mut tar = open_tar(store, diff_id)?;
                self.write(place, &mut tar, size, stop, meter)
            }
        }
    }

    /// Writes a blob.
    fn write(
        &mut self,
        place: &Path,
        source: &mut impl Read,
        size: u64,
        stop: &Stop,
        meter: &mut Meter,
    ) -> Result<(), ExportError> {
        let mut file = AtomicFile::create(place)?;
        let mut written = 0;
        loop {
            stop.check().at("write", place)?;
            let piece = io::copy(&mut source.take(4 << 20), file.file()).at("write", place)?;
            if piece == 0 {
                break;
            }
            written += piece;
            meter.add(piece);
        }
        if written != size {
            let source = io::Error::other(format!("{written} bytes instead of {size}"));
            return Err(Err::<(), _>(source)
                .at("write", place)
                .expect_err("it is")
                .into());
        }
        file.finish()?;
        self.files.push(place.to_owned());
        Ok(())
    }

    fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn replace(place: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let mut file = AtomicFile::create(place)?;
    file.file().write_all(bytes).at("write", place)?;
    file.finish()
}

/// The index that is there with the new entries. An entry with the name of a new one gives way, and
/// so does a nameless one of the same image; but no image to an artifact, nor the other way round.
fn merged_index(directory: &Path, parts: &Parts) -> Result<Vec<u8>, ExportError> {
    let mut entries = entries_of(&directory.join("index.json"))?;
    let name = |entry: &Value| {
        let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
        name.as_str().map(str::to_owned)
    };
    for new in parts.entries.iter().map(to_value) {
        let has_its_name = |old: &&Value| name(old).is_some() && name(old) == name(&new);
        let is_another = |old: &Value| {
            kind(directory, old).filter(|kind| *kind != Kind::of_config(&parts.config.media_type))
        };
        if let Some(kind) = entries.iter().filter(has_its_name).find_map(is_another) {
            return Err(ExportError::NameTaken {
                path: directory.to_owned(),
                name: name(&new).unwrap_or_default(),
                kind: kind.to_string(),
            });
        }
        entries.retain(|old| match (name(old), name(&new)) {
            (Some(old_name), Some(new_name)) => old_name != new_name,
            (None, _) => old["digest"] != new["digest"],
            (Some(_), None) => true,
        });
        entries.push(new);
    }
    Ok(document::index(&entries))
}

/// What an entry of a layout leads to.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Image,
    /// By its config's media type, since not every tool keeps the type that an entry has.
    Artifact(String),
}

impl Kind {
    fn of_config(config: &str) -> Self {
        match config {
            media_type::OCI_CONFIG | media_type::DOCKER_CONFIG => Self::Image,
            other => Self::Artifact(other.to_owned()),
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("an image"),
            Self::Artifact(media_type) => write!(f, "something else ({media_type})"),
        }
    }
}

/// What an entry of the layout in a directory leads to; `None` if that is not there or cannot be read.
fn kind(directory: &Path, entry: &Value) -> Option<Kind> {
    let digest: Sha256Digest = entry["digest"].as_str()?.parse().ok()?;
    let file = open_document(&directory.join(blob_name(&digest))).ok()?;
    let mut bytes = Vec::new();
    file.take(MAXIMUM_INDEX).read_to_end(&mut bytes).ok()?;
    let manifest: Value = serde_json::from_slice(&bytes).ok()?;
    match manifest["config"]["mediaType"].as_str() {
        Some(media_type) => Some(Kind::of_config(media_type)),
        // An index of several images.
        None => manifest["manifests"].is_array().then_some(Kind::Image),
    }
}

fn entries_of(path: &Path) -> Result<Vec<Value>, ExportError> {
    let damaged = |problem: String| ExportError::Layout {
        path: path.to_owned(),
        problem,
    };
    let file = match open_document(path).at("open", path) {
        Err(error) if is_not_found(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(MAXIMUM_INDEX)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    let index: Value = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("not an image index: {error}")))?;
    match &index["manifests"] {
        Value::Array(entries) => Ok(entries.clone()),
        _ => Err(damaged(
            "not an image index: it has no manifests".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one gives up is not what another one, who waited, relies on.
    #[test]
    fn whoever_waited_finds_what_he_needs() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let directory = parent.path().join("new/layout");
        let (lock, mut begun) = begin(&directory).expect("it can be made");
        let blob = directory.join("blobs/sha256/x");
        fs::write(&blob, "x").expect("writable");
        begun.files.push(blob.clone());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let (_lock, begun) = begin(&directory).expect("it can be made");
                let found = (directory.join("blobs/sha256").is_dir(), blob.exists());
                begun.keep();
                found
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop((begun, lock));
            assert_eq!(other.join().expect("it ends"), (true, false));
        });
    }
}
