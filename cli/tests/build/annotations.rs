//! `--annotation`, and the attributes of outputs that say the same.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, text};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it was written")).expect("JSON")
}

/// The descriptor of a layout's only manifest, and the manifest.
fn manifest(layout: &Path) -> (Value, Value) {
    let descriptor = read(&layout.join("index.json"))["manifests"][0].clone();
    let digest = descriptor["digest"]
        .as_str()
        .expect("a digest")
        .replace(':', "/");
    let manifest = read(&layout.join("blobs").join(digest));
    (descriptor, manifest)
}

#[test]
fn manifests_and_what_lists_them_are_annotated() {
    let bench = Bench::with("FROM base\nRUN true\n");
    let layout = bench.path("layout");
    bench.build(&format!(
        "--annotation plain=1 --annotation manifest:both=2 --annotation manifest-descriptor:listed=3 \
         --annotation manifest[linux/arm64]:other=4 --metadata-file meta \
         -o type=oci,tar=false,dest={},annotation.of-output=5,annotation-manifest-descriptor.listed-too=6",
        text(&layout)
    ));
    let (descriptor, manifest) = manifest(&layout);
    assert_eq!(
        manifest["annotations"],
        json!({"plain": "1", "both": "2", "of-output": "5"})
    );
    assert_eq!(descriptor["annotations"]["listed"], "3");
    assert_eq!(descriptor["annotations"]["listed-too"], "6");
    assert_eq!(descriptor["annotations"]["plain"], Value::Null);
    let meta = read(&bench.path("meta"));
    assert_eq!(
        meta["containerimage.descriptor"]["annotations"]["listed"],
        "3"
    );
}
