//! An image in a layout, changed as no builder would make it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Puts an entry for the root before all others of the one layer that an image of uncompressed layers has,
/// as in those that debootstrap and its like make. Returns the layer's new diff id.
pub(crate) fn give_root_entry(layout: &Path, time: u64) -> String {
    let mut index: Value = read(&layout.join("index.json"));
    let mut manifest: Value = read(&blob(layout, &index["manifests"][0]));
    let mut config: Value = read(&blob(layout, &manifest["config"]));
    let was = fs::read(blob(layout, &manifest["layers"][0])).expect("a layer");
    let layer = [root_entry(time).as_bytes().as_slice(), &was].concat();

    let digest = put(layout, &layer, &mut manifest["layers"][0]);
    config["rootfs"]["diff_ids"] = json!([digest]);
    put(layout, &bytes(&config), &mut manifest["config"]);
    put(layout, &bytes(&manifest), &mut index["manifests"][0]);
    fs::write(layout.join("index.json"), bytes(&index)).expect("writable");
    digest
}

fn root_entry(time: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path("./").expect("a short path");
    header.set_mode(0o755);
    (header.set_uid(0), header.set_gid(0), header.set_size(0));
    header.set_mtime(time);
    header.set_cksum();
    header
}

/// Writes a blob, and into its descriptor what it is.
fn put(layout: &Path, bytes: &[u8], descriptor: &mut Value) -> String {
    let hash = Sha256::digest(bytes);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hash}");
    descriptor["digest"] = json!(digest);
    descriptor["size"] = json!(bytes.len());
    fs::write(blob(layout, descriptor), bytes).expect("writable");
    digest
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().expect("a digest");
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}
