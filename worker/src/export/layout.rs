//! The files of an image layout, in a tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use kiln_solver::{Sha256Digest, StepReporter};
use serde_json::Value;

use super::archive::{Archive, Sink, Source};
use super::atomic_file::AtomicFile;
use super::layers::{LayerBytes, TravelingLayer};
use super::oci::Parts;
use super::{ExportError, document};
use crate::io_error::{AtPath, IoError};
use crate::layer::open_tar;
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::Store;

pub(super) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where a layout has a blob.
pub(super) fn blob_name(digest: &Sha256Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A blob of a layout.
pub(super) enum Blob<'p> {
    Bytes(&'p [u8]),
    Layer(&'p TravelingLayer),
}

/// The blobs by name, each once.
pub(super) fn blobs(parts: &Parts) -> BTreeMap<Sha256Digest, Blob<'_>> {
    let layers = parts
        .layers
        .iter()
        .map(|layer| (layer.descriptor.digest, Blob::Layer(layer)));
    let documents = [
        (parts.config.digest, Blob::Bytes(&parts.config_bytes)),
        (parts.manifest.digest, Blob::Bytes(&parts.manifest_bytes)),
    ];
    layers.chain(documents).collect()
}

/// Writes a layout as a tar.
pub(super) fn to_file(
    store: &Store,
    parts: &Parts,
    path: &Path,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let mut file = AtomicFile::create(path)?;
    let archive = Archive::new(Sink::File(file.file()));
    write_archive(store, parts, archive, path, stop, reporter)?;
    file.finish()
}

/// Writes a layout as a tar to a stream.
pub(super) fn to_stream(
    store: &Store,
    parts: &Parts,
    writer: &mut (dyn Write + Send),
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let archive = Archive::new(Sink::Writer(writer));
    write_archive(
        store,
        parts,
        archive,
        Path::new("the output stream"),
        stop,
        reporter,
    )
}

fn write_archive(
    store: &Store,
    parts: &Parts,
    mut archive: Archive<'_>,
    place: &Path,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let mut meter = Meter::new(reporter, "sending tarball", Some(total(parts)));
    let write = |result: io::Result<()>| result.at("write", place);
    write(archive.directory("blobs/"))?;
    write(archive.directory("blobs/sha256/"))?;
    for (digest, blob) in blobs(parts) {
        let name = blob_name(&digest);
        match blob {
            Blob::Bytes(bytes) => write(archive.file(&name, bytes))?,
            Blob::Layer(layer) => {
                let size = layer.descriptor.size;
                with_source(store, layer, |source| {
                    write(archive.stream(&name, size, source, stop, &mut meter))
                })?;
            }
        }
    }
    let entries: Vec<Value> = parts.entries.iter().map(to_value).collect();
    write(archive.file("index.json", &document::index(&entries)))?;
    if let Some(bytes) = &parts.docker_manifest {
        write(archive.file("manifest.json", bytes))?;
    }
    write(archive.file("oci-layout", MARKER))?;
    write(archive.finish())?;
    meter.finish();
    Ok(())
}

pub(super) fn total(parts: &Parts) -> u64 {
    parts.layers.iter().map(|layer| layer.descriptor.size).sum()
}

fn with_source(
    store: &Store,
    layer: &TravelingLayer,
    work: impl FnOnce(Source<'_>) -> Result<(), IoError>,
) -> Result<(), ExportError> {
    match &layer.bytes {
        LayerBytes::Blob(path) => {
            let file = File::open(path).at("open", path)?;
            Ok(work(Source::File(&file))?)
        }
        LayerBytes::Tar(diff_id) => {
            let mut tar = open_tar(store, diff_id)?;
            Ok(work(Source::Reader(&mut *tar))?)
        }
    }
}

pub(super) fn to_value(descriptor: &crate::image::Descriptor) -> Value {
    serde_json::to_value(descriptor).expect("descriptors have string keys only")
}
