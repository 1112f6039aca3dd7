//! `SOURCE_DATE_EPOCH` and `rewrite-timestamp`: what times files of an image have.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, run, text};
use crate::finished::Finished;

const EPOCH: i64 = 1_000_000_000;

fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest").replace(':', "/");
    fs::read(layout.join("blobs").join(digest)).expect("a blob")
}

/// The digest of a layout's only manifest, its config, and the times in its layers, lowest first: none
/// for those of a base image, which stay compressed.
fn look_into(layout: &Path) -> (String, Value, Vec<Vec<i64>>) {
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("JSON") };
    let index = json(&fs::read(layout.join("index.json")).expect("an index"));
    let digest = &index["manifests"][0]["digest"];
    let manifest = json(&blob(layout, digest));
    let config = json(&blob(layout, &manifest["config"]["digest"]));
    let layers = manifest["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| {
            if layer["mediaType"].as_str().expect("text").ends_with("gzip") {
                return Vec::new();
            }
            let bytes = blob(layout, &layer["digest"]);
            let mut archive = tar::Archive::new(&bytes[..]);
            let entries = archive.entries().expect("a tar").map(|entry| {
                let entry = entry.expect("an entry");
                i64::try_from(entry.header().mtime().expect("a time")).expect("it is near")
            });
            entries.collect()
        });
    (
        digest.as_str().expect("text").to_owned(),
        config,
        layers.collect(),
    )
}

const DOCKERFILE: &str = "FROM base\nCOPY old new /\nRUN mkdir -p /d/e && echo x >/d/e/f && ln /d/e/f /d/hard && ln -s f /d/soft && rm -r /var/lib && touch -d @5 /d/early\nWORKDIR /made/here\nLABEL a=b\n";

#[test]
fn two_builds_at_different_times_are_one_image() {
    let bench = Bench::with(DOCKERFILE);
    bench.file("old", "old");
    bench.file("new", "new");
    run("touch", &["-d", "@77", text(&bench.context("old"))]);
    let mut seen = Vec::new();
    for name in ["one", "two"] {
        let layout = bench.path(name);
        let output = format!(
            "--no-cache -o type=oci,tar=false,compression=uncompressed,rewrite-timestamp=true,dest={} -o type=oci,tar=false,compression=uncompressed,rewrite-timestamp=false,dest={}-plain -o type=oci,tar=false,compression=uncompressed,dest={}-exact",
            text(&layout),
            text(&layout),
            text(&layout)
        );
        let epoch = EPOCH.to_string();
        Finished::of(bench.command(&output).env("SOURCE_DATE_EPOCH", &epoch)).assert_well();
        seen.push(look_into(&layout));
        // So that the next build's clock shows another second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_eq!(seen[0].0, seen[1].0);
    let (_, config, layers) = &seen[0];
    assert_eq!(config["created"], "2001-09-09T01:46:40Z");
    let base = layers.len() - 3;
    assert!(layers[..base].iter().all(Vec::is_empty));
    assert!(layers[base..].iter().flatten().all(|time| *time <= EPOCH));
    assert!(layers[base].contains(&77));
    assert!(layers[base + 1].contains(&5));
    let (_, _, exact) = look_into(&bench.path("one-exact"));
    assert!(
        exact[base..]
            .iter()
            .flatten()
            .all(|time| *time == EPOCH || *time == 0)
    );
    let (_, plain_config, plain) = look_into(&bench.path("one-plain"));
    assert!(plain[base..].iter().flatten().any(|time| *time > EPOCH));
    let diff_ids = |config: &Value| {
        config["rootfs"]["diff_ids"]
            .as_array()
            .expect("layers")
            .clone()
    };
    let (plain_ids, ids) = (diff_ids(&plain_config), diff_ids(config));
    assert_eq!(plain_ids[..base], ids[..base], "the base is what it was");
    assert_ne!(plain_ids[base..], ids[base..]);
    assert_eq!(plain_config["history"], config["history"]);
}

#[test]
fn a_typed_time_counts_more_than_the_environments() {
    let bench = Bench::with("FROM base\nRUN true\n");
    let created = |line: &str| {
        let layout = bench.path("layout");
        let line = format!(
            "{line} -o type=oci,tar=false,compression=uncompressed,dest={}",
            text(&layout)
        );
        Finished::of(bench.command(&line).env("SOURCE_DATE_EPOCH", "86400")).assert_well();
        let created = look_into(&layout).1["created"].clone();
        fs::remove_dir_all(layout).expect("removable");
        created
    };
    assert_eq!(created(""), "1970-01-02T00:00:00Z");
    assert_eq!(
        created("--build-arg SOURCE_DATE_EPOCH=0"),
        "1970-01-01T00:00:00Z"
    );
}

#[test]
fn files_that_leave_as_files_have_that_time() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::with(DOCKERFILE);
    bench.file("old", "old");
    bench.file("new", "new");
    let out = bench.files("out", "--build-arg SOURCE_DATE_EPOCH=77");
    for name in ["old", "d/hard", "d/early", "bin/busybox", "d"] {
        let metadata = fs::symlink_metadata(out.join(name)).expect(name);
        assert_eq!(metadata.mtime(), 77, "{name}");
    }
    bench.build(&format!(
        "--build-arg SOURCE_DATE_EPOCH=77 -o type=tar,dest={}",
        text(&bench.path("tar"))
    ));
    let bytes = fs::read(bench.path("tar")).expect("it was written");
    let mut archive = tar::Archive::new(&bytes[..]);
    for entry in archive.entries().expect("a tar") {
        assert_eq!(
            entry.expect("an entry").header().mtime().expect("a time"),
            77
        );
    }
}

#[test]
fn a_time_that_nobody_can_say_is_refused_before_anything_runs() {
    let bench = Bench::with("FROM base\nRUN true\n");
    for time in ["99999999999999", "-99999999999999"] {
        let line = format!("--build-arg SOURCE_DATE_EPOCH={time}");
        let refused = bench.refused(&line, 1, &["SOURCE_DATE_EPOCH is no time", time]);
        assert_eq!(refused.ran(), [""; 0]);
    }
}
