//! An image as an OCI archive holds it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::layer::Layer;

/// How gzip begins.
const GZIP: &[u8] = b"\x1f\x8b";

/// The first image of an archive.
pub(crate) struct Image {
    pub(crate) manifest: Value,
    pub(crate) config: Value,
    /// Diff ids and layers, the lowest first.
    pub(crate) layers: Vec<(String, Layer)>,
}

impl Image {
    /// Reads an archive. Layers that a builder found compressed may be so still.
    pub(crate) fn read(archive: &Path) -> Self {
        let files = contents(archive);
        let json = |name: &str| -> Value {
            let bytes = files.get(name).unwrap_or_else(|| panic!("no {name}"));
            serde_json::from_slice(bytes).expect("JSON")
        };
        let index = json("index.json");
        let manifest = json(&blob(&index["manifests"][0]));
        let config = json(&blob(&manifest["config"]));
        let diff_ids = config["rootfs"]["diff_ids"].as_array();
        let ids = diff_ids.into_iter().flatten().filter_map(Value::as_str);
        let descriptors = manifest["layers"].as_array().into_iter().flatten();
        let layers = ids.zip(descriptors).map(|(id, descriptor)| {
            let bytes = files[&blob(descriptor)].as_slice();
            let mut plain = Vec::new();
            let mut reader: Box<dyn Read> = match bytes.starts_with(GZIP) {
                true => Box::new(MultiGzDecoder::new(bytes)),
                false => Box::new(bytes),
            };
            reader.read_to_end(&mut plain).expect("a whole layer");
            let layer = Layer::read(&*plain);
            if layer.has_links() {
                unpack(&plain);
            }
            (id.to_owned(), layer)
        });
        Self {
            layers: layers.collect(),
            manifest,
            config,
        }
    }
}

/// Unpacks a layer with tar, which reads from the beginning to the end: a link whose file comes behind it is
/// an error.
fn unpack(layer: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut tar = Command::new("tar")
        .args(["--extract", "--file=-", "--directory"])
        .arg(directory.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("tar runs");
    let mut input = tar.stdin.take().expect("it is piped");
    input.write_all(layer).expect("tar reads all");
    drop(input);
    let status = tar.wait().expect("it was not waited for");
    assert!(status.success(), "tar cannot unpack a layer");
}

fn blob(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().expect("a digest");
    format!("blobs/{}", digest.replace(':', "/"))
}

fn contents(archive: &Path) -> HashMap<String, Vec<u8>> {
    let file = File::open(archive)
        .unwrap_or_else(|error| panic!("no image at {}: {error}", archive.display()));
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries().expect("a tar");
    let files = entries.map(|entry| {
        let mut entry = entry.expect("a whole entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("whole content");
        (
            String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            bytes,
        )
    });
    files.collect()
}
