//! Layouts on disk, by Kiln and by others, whole and damaged.

use std::path::Path;

use kiln_solver::Platform;
use kiln_worker::image::Location;

use crate::support::*;

async fn check(bench: &Bench, location: &str, source: &Bench) {
    let images = bench.images();
    let image = resolve(&images, &Location::Layout(location.to_owned())).await;
    fetch_all(&images, &image).await;
    for layer in &image.layers {
        let bytes = blob(&bench.store, &layer.descriptor.digest).expect("fetched");
        assert_eq!(bytes.len() as u64, layer.descriptor.size);
        kiln_worker::layer::ingest(&bench.store, &layer.diff_id)
            .map(drop)
            .expect("the layer it says");
    }
    let ours = sample(&source.store);
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let expected: Vec<_> = ours.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(diff_ids, expected);
    assert_eq!(bench.leftovers(), 0);
}

#[tokio::test]
async fn of_kiln() {
    let source = Bench::new();
    let image = sample(&source.store);
    let exported = export_to_directory(&source.store, &image, &source.path("dir")).await;
    export_to_tar(&source.store, &image, &source.path("tar")).await;
    for name in ["dir", "tar"] {
        let path = source.path(name).display().to_string();
        for suffix in ["", ":1", &format!("@{}", exported.manifest.digest)] {
            check(&Bench::new(), &format!("{path}{suffix}"), &source).await;
        }
    }
}

#[tokio::test]
async fn of_skopeo() {
    let source = Bench::new();
    export_to_tar(&source.store, &sample(&source.store), &source.path("tar")).await;
    let from = format!("oci-archive:{}:1", source.path("tar").display());
    let path = |name: &str| source.path(name).display().to_string();
    for (kind, place, location) in [
        ("oci", path("oci"), path("oci") + ":new"),
        ("oci-archive", path("oci.tar"), path("oci.tar") + ":new"),
        (
            "docker-archive",
            path("docker.tar"),
            path("docker.tar") + ":new",
        ),
        ("docker-archive", path("docker2.tar"), path("docker2.tar")),
    ] {
        let name = if kind == "docker-archive" {
            "team/app:new"
        } else {
            "new"
        };
        run(
            "skopeo",
            &["copy", "--quiet", &from, &format!("{kind}:{place}:{name}")],
        );
        check(&Bench::new(), &location, &source).await;
    }
}

/// A layout with one image, in which something is then broken.
async fn broken(break_it: impl Fn(&Path)) -> String {
    let source = Bench::new();
    let layout = source.path("dir");
    export_to_directory(&source.store, &sample(&source.store), &layout).await;
    break_it(&layout);
    let bench = Bench::new();
    let images = bench.images();
    let location = Location::Layout(layout.display().to_string());
    let error = match images.resolve(&location, &Platform::host(), false).await {
        Err(error) => error.to_string(),
        Ok(image) => {
            let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
            let silent = kiln_solver::StepReporter::silent();
            let fetched = images.fetch_layers(&image, &layers, &silent).await;
            fetched.expect_err("a broken layout").to_string()
        }
    };
    assert_eq!(bench.leftovers(), 0);
    assert!(
        error.contains(&layout.display().to_string()),
        "names the path: {error}"
    );
    error
}

fn largest_blob(layout: &Path) -> std::path::PathBuf {
    let blobs = std::fs::read_dir(layout.join("blobs/sha256")).expect("blobs");
    let blobs = blobs.map(|entry| entry.expect("an entry").path());
    blobs
        .max_by_key(|path| path.metadata().expect("metadata").len())
        .expect("a blob")
}

#[tokio::test]
async fn damaged() {
    let remove = |name: &'static str| {
        move |layout: &Path| std::fs::remove_file(layout.join(name)).expect("removed")
    };
    let overwrite = |name: &'static str, bytes: &'static [u8]| {
        move |layout: &Path| write(&layout.join(name), bytes)
    };
    let error = broken(remove("oci-layout")).await;
    assert!(error.contains("oci-layout is missing"), "{error}");
    let error = broken(remove("index.json")).await;
    assert!(error.contains("index.json is missing"), "{error}");
    let error = broken(overwrite("index.json", b"{")).await;
    assert!(error.contains("not a valid"), "{error}");
    let error = broken(overwrite("oci-layout", br#"{"imageLayoutVersion":"2.0"}"#)).await;
    assert!(error.contains("\"2.0\""), "{error}");
    let error = broken(|layout| std::fs::remove_file(largest_blob(layout)).expect("removed")).await;
    assert!(error.contains("blobs/sha256/"), "{error}");
    let error = broken(|layout| {
        let blob = largest_blob(layout);
        let mut bytes = std::fs::read(&blob).expect("a blob");
        bytes[500] ^= 1;
        write(&blob, &bytes);
    })
    .await;
    assert!(error.contains("expected digest"), "{error}");
    let error = broken(|layout| {
        let blob = largest_blob(layout);
        let bytes = std::fs::read(&blob).expect("a blob");
        write(&blob, &bytes[..bytes.len() / 2]);
    })
    .await;
    assert!(error.contains("only"), "{error}");
    let error = broken(|layout| {
        let blob = largest_blob(layout);
        std::fs::remove_file(&blob).expect("removed");
        run("mkfifo", &[&blob.display().to_string()]);
    })
    .await;
    assert!(error.contains("not a regular file"), "{error}");
}

/// Makes the manifest of a layout's only image say another size of its layers.
fn say_size(layout: &Path, size: u64) {
    let blob = |digest: &serde_json::Value| {
        let digest = digest.as_str().expect("a digest").replace("sha256:", "");
        layout.join("blobs/sha256").join(digest)
    };
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("a document")).expect("JSON")
    };
    let mut index = read(&layout.join("index.json"));
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    for layer in manifest["layers"].as_array_mut().expect("layers") {
        layer["size"] = size.into();
    }
    let bytes = serde_json::to_vec(&manifest).expect("JSON");
    let digest = kiln_worker::store::sha256(&bytes).to_string();
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    write(&blob(&index["manifests"][0]["digest"]), &bytes);
    write(
        &layout.join("index.json"),
        &serde_json::to_vec(&index).expect("JSON"),
    );
}

#[tokio::test]
async fn sizes_that_contradict_the_blobs() {
    for size in [100, 1_000_000_000_000_000_000] {
        let error = broken(|layout| say_size(layout, size)).await;
        assert!(error.contains(&format!("expected {size} bytes")), "{error}");
    }
}

#[tokio::test]
async fn no_such_image() {
    let source = Bench::new();
    let layout = source.path("dir");
    export_to_directory(&source.store, &sample(&source.store), &layout).await;
    let bench = Bench::new();
    write(&bench.path("text"), b"no tar at all");
    write(&bench.path("gz"), &[0x1f, 0x8b, 8, 0]);
    let cases = [
        (format!("{}:2", layout.display()), "it has \"1\""),
        (bench.path("absent").display().to_string(), "No such file"),
        (
            bench.path("text").display().to_string(),
            "not an OCI image layout",
        ),
        (
            bench.path("gz").display().to_string(),
            "compressed with gzip",
        ),
    ];
    for (location, expected) in cases {
        let location = Location::Layout(location);
        let error = bench
            .images()
            .resolve(&location, &Platform::host(), false)
            .await;
        let error = error.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
