//! What stays in a cache that is saved to again and again, and what is in the way of saving.

use std::fs;
use std::path::PathBuf;

use super::{app, build_in, saved};
use crate::bench::{run, text};

/// A directory that a build server saves to every night does not grow for ever.
#[test]
fn what_a_cache_has_no_more_goes_once_nobody_can_want_it() {
    let bench = app();
    let cache = saved(&bench, ",mode=max");
    let blobs = || -> Vec<PathBuf> {
        let entries = fs::read_dir(cache.join("blobs/sha256")).expect("blobs");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let age = || {
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
        for path in blobs() {
            let file = fs::File::options().write(true).open(path).expect("a file");
            file.set_modified(yesterday).expect("a time");
        }
    };
    // What others put there: an image, and a file that is no blob.
    let (from, to) = (
        format!("oci:{}:latest", text(crate::base::small())),
        format!("oci:{}:image", text(&cache)),
    );
    run("skopeo", &["copy", "--quiet", &from, &to]);
    fs::write(cache.join("blobs/sha256/notes"), "mine").expect("writable");
    let first = blobs();
    let line = format!("--cache-to type=local,dest={},mode=max", text(&cache));
    // All of it may be on its way still.
    bench.file("source", "other source\n");
    bench.build(&line);
    let second = blobs();
    assert!(first.iter().all(|path| second.contains(path)));
    // Somebody reads it.
    age();
    let reader = fs::File::open(cache.join("blobs")).expect("a directory");
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).expect("a lock");
    bench.build(&line);
    assert_eq!(blobs(), second);
    drop(reader);
    // The build itself reads it, too.
    bench.build(&format!(
        "{line} --cache-from type=local,src={}",
        text(&cache)
    ));
    let left = blobs();
    assert!(
        left.len() + 3 <= second.len(),
        "{} of {}",
        left.len(),
        second.len()
    );
    assert!(cache.join("blobs/sha256/notes").exists());
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &to,
            &format!("oci:{}", text(&bench.path("copied"))),
        ],
    );
    let from = format!("--cache-from type=local,src={}", text(&cache));
    let built = build_in(&bench, "second", &from);
    built.assert_well();
    assert_eq!(built.ran(), [""; 0]);
    // Nothing is left to do.
    age();
    bench.build(&line);
    assert_eq!(blobs(), left);
    // Nor does the number of tags that are read, or a pipe under the name of a blob, hold it up.
    let pipe = cache.join("blobs/sha256").join("e".repeat(64));
    run("mkfifo", &[text(&pipe)]);
    let digest = format!("sha256:{}", "e".repeat(64));
    let index = cache.join("index.json");
    let mut document: serde_json::Value =
        serde_json::from_slice(&fs::read(&index).expect("an index")).expect("JSON");
    let entry =
        serde_json::json!({"digest": digest, "size": 7, "mediaType": "application/octet-stream"});
    let entries = document["manifests"].as_array_mut().expect("entries");
    entries.push(entry);
    fs::write(&index, document.to_string()).expect("writable");
    bench.build(&format!("{line},tag=other"));
    bench.file("source", "yet another\n");
    let tags =
        ["", ",tag=other"].map(|tag| format!("--cache-from type=local,src={}{tag}", text(&cache)));
    bench.build(&format!("{} {line},tag=other", tags.join(" ")));
    fs::remove_file(pipe).expect("removable");
    let before = blobs();
    age();
    bench.file("source", "and another\n");
    bench.build(&format!("{} {line},tag=other", tags.join(" ")));
    let left = blobs();
    assert!(before.iter().any(|path| !left.contains(path)));
}

#[test]
fn a_cache_that_cannot_be_saved_is_an_error_unless_that_does_not_matter() {
    let bench = app();
    let file = bench.path("file");
    fs::write(&file, "in the way").expect("writable");
    let to = format!("--cache-to type=local,dest={}", text(&file));
    bench.refused(&to, 1, &["cannot save the cache"]);
    let built = bench.build(&format!("{to},ignore-error=true"));
    assert!(
        built
            .everything()
            .contains("WARNING: cannot save the cache")
    );
}

/// `latest` is what both an image and a cache are called if nobody says otherwise.
#[test]
fn an_image_does_not_give_way_to_a_cache_nor_a_cache_to_an_image() {
    let bench = app();
    let layout = bench.path("layout");
    let image = format!(
        "-o type=oci,tar=false,dest={},name=app:latest",
        text(&layout)
    );
    let to = format!("--cache-to type=local,dest={}", text(&layout));
    bench.build(&image);
    let contents = || {
        let blobs = fs::read_dir(layout.join("blobs/sha256")).expect("blobs");
        let mut names: Vec<_> = blobs.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let index = fs::read_to_string(layout.join("index.json")).expect("an index");
        (names, index)
    };
    let before = contents();
    bench.refused(&to, 1, &["an image is called latest there", "another name"]);
    assert_eq!(contents(), before);
    bench.build(&format!("{to},tag=cache"));
    assert_ne!(contents(), before);
    let cache = saved(&bench, "");
    let onto = format!(
        "-o type=oci,tar=false,dest={},name=app:latest",
        text(&cache)
    );
    bench.refused(
        &onto,
        1,
        &["something else (application/", "is called latest there"],
    );
}
