//! What comes out: read by other people's tools, the same bytes each time, and nothing by halves.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kiln_solver::StepReporter;
use kiln_worker::export::{
    Destination, Flavor, LayoutDestination, LocalOptions, OciOptions, to_directory, to_oci,
    to_store, to_tar,
};
use kiln_worker::image::{Location, media_type};
use kiln_worker::layer::Compression;

use crate::support::*;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn skopeo_and_umoci_take_every_form() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let compressions = [
        Compression::Uncompressed,
        Compression::Gzip { level: 6 },
        Compression::Zstd { level: 3 },
    ];
    for (number, compression) in compressions.into_iter().enumerate() {
        let layout = bench.path(&format!("layout{number}"));
        let options = OciOptions {
            compression,
            ..options(LayoutDestination::Directory(layout.clone()), &["app:1"])
        };
        to_oci(
            &bench.store,
            image.clone(),
            options,
            &StepReporter::silent(),
        )
        .await
        .expect("an export");
        let name = format!("oci:{}:1", layout.display());
        let inspected = json(&run("skopeo", &["inspect", &name]));
        assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(2));
        assert_eq!(layer_type(&name, 0), compression.media_type());
        let copy = format!("dir:{}", bench.path(&format!("copy{number}")).display());
        run("skopeo", &["copy", "--quiet", &name, &copy]);
        // Debian's umoci is older than zstd layers.
        if compression.media_type() != media_type::OCI_LAYER_ZSTD {
            let bundle = bench.path(&format!("bundle{number}"));
            let image = format!("{}:1", layout.display());
            run(
                "umoci",
                &[
                    "unpack",
                    "--rootless",
                    "--image",
                    &image,
                    &bundle.display().to_string(),
                ],
            );
            check_files(&bundle.join("rootfs"));
        }
    }
}

/// What a layer is in the manifest, as skopeo reads it.
fn layer_type(name: &str, layer: usize) -> String {
    let manifest = json(&run("skopeo", &["inspect", "--raw", name]));
    let kind = &manifest["layers"][layer]["mediaType"];
    kind.as_str().expect("a media type").to_owned()
}

fn check_files(root: &Path) {
    assert_eq!(
        std::fs::read(root.join("etc/name")).expect("a file"),
        b"kiln\n"
    );
    assert_eq!(
        std::fs::read(root.join("sbin/tool")).expect("a file"),
        noise(3 << 20)
    );
    assert!(!root.join("gone").exists());
    let metadata = root.join("bin/tool").metadata().expect("a file");
    assert_eq!(metadata.mtime(), 1_700_000_000);
}

#[tokio::test]
async fn gzip_and_zstd_read_the_layers() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let tar = blob(&bench.store, &image.layers[0].diff_id.into()).expect("a tar");
    for (compression, tool) in [
        (Compression::Gzip { level: 6 }, "gzip"),
        (Compression::Zstd { level: 3 }, "zstd"),
    ] {
        let one = layer_digest(&bench, &image, compression, 1);
        for threads in 2..=4 {
            let other = Bench::new();
            let image = sample(&other.store);
            assert_eq!(layer_digest(&other, &image, compression, threads), one);
        }
        assert!(
            filter(tool, &["-dc"], &bench.store.blob_path(&one)) == tar,
            "{tool}"
        );
    }
}

fn layer_digest(
    bench: &Bench,
    image: &kiln_worker::export::BuiltImage,
    compression: Compression,
    threads: usize,
) -> kiln_solver::Sha256Digest {
    let (stop, silent) = (Default::default(), StepReporter::silent());
    let diff_id = &image.layers[0].diff_id;
    kiln_worker::layer::layer_blob(&bench.store, diff_id, compression, threads, &stop, &silent)
        .expect("a blob")
        .digest
}

#[tokio::test]
async fn archives_are_the_same_bytes_each_time() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let (first, second) = (bench.path("1.tar"), bench.path("2.tar"));
    let exported = export_to_tar(&bench.store, &image, &first).await;
    let other = Bench::new();
    let again = export_to_tar(&other.store, &sample(&other.store), &second).await;
    assert_eq!(exported, again);
    assert!(std::fs::read(&first).expect("a file") == std::fs::read(&second).expect("a file"));
    let listed = run("tar", &["-tf", &first.display().to_string()]);
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!(
        names.len(),
        8,
        "two directories, four blobs, two documents: {names:?}"
    );
    assert!(names.is_sorted());
    let index = run("tar", &["-xOf", &first.display().to_string(), "index.json"]);
    let annotations = &json(&index)["manifests"][0]["annotations"];
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");
    assert_eq!(
        annotations["io.containerd.image.name"],
        "docker.io/library/app:1"
    );
}

#[tokio::test]
async fn streams_and_docker_archives() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let path = bench.path("docker.tar");
    let file = std::fs::File::create(&path).expect("a file");
    let options = OciOptions {
        flavor: Flavor::Docker,
        ..options(
            LayoutDestination::Tar(Destination::Stream(Box::new(file))),
            &["app:1", "b/c"],
        )
    };
    to_oci(&bench.store, image, options, &StepReporter::silent())
        .await
        .expect("an export");
    let name = format!("docker-archive:{}:app:1", path.display());
    let inspected = json(&run("skopeo", &["inspect", &name]));
    assert_eq!(inspected["Layers"].as_array().map(Vec::len), Some(2));
    let manifest = json(&run(
        "tar",
        &["-xOf", &path.display().to_string(), "manifest.json"],
    ));
    assert_eq!(
        manifest[0]["RepoTags"],
        serde_json::json!(["app:1", "b/c:latest"])
    );
}

#[tokio::test]
async fn a_directory_keeps_its_other_images() {
    let bench = Bench::new();
    let layout = bench.path("layout");
    let first = sample(&bench.store);
    let second = image(&[layer(&bench.store, vec![file("x", b"x")])]);
    for (image, name) in [
        (&first, "a:1"),
        (&second, "a:2"),
        (&second, "a:1"),
        (&first, "a:3"),
    ] {
        let options = options(LayoutDestination::Directory(layout.clone()), &[name]);
        to_oci(
            &bench.store,
            image.clone(),
            options,
            &StepReporter::silent(),
        )
        .await
        .expect("an export");
    }
    let index = json(&std::fs::read_to_string(layout.join("index.json")).expect("an index"));
    let names: Vec<_> = index["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| {
            entry["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .expect("a tag")
        })
        .collect();
    assert_eq!(names, ["2", "1", "3"]);
    write(&layout.join("index.json"), b"nonsense");
    let options = options(LayoutDestination::Directory(layout.clone()), &["a:1"]);
    let error = to_oci(&bench.store, first, options, &StepReporter::silent())
        .await
        .expect_err("damaged");
    assert!(error.to_string().contains("not an image index"), "{error}");
}

#[tokio::test]
async fn base_layers_travel_on_as_they_came() {
    let source = Bench::new();
    export_to_directory(&source.store, &sample(&source.store), &source.path("base")).await;
    let bench = Bench::new();
    let images = bench.images();
    let location = Location::Layout(source.path("base").display().to_string());
    let base = resolve(&images, &location).await;
    fetch_all(&images, &base).await;
    let top = layer(&bench.store, vec![file("new", b"new")]);
    let mut diff_ids: Vec<_> = base.layers.iter().map(|layer| layer.diff_id).collect();
    diff_ids.push(top);
    let mut built = image(&diff_ids);
    for (layer, original) in built.layers.iter_mut().zip(&base.layers) {
        layer.original = Some(original.descriptor.clone());
    }
    let stored = to_store(&bench.store, &built, &[reference("derived")]).expect("an image");
    let manifest = blob(&bench.store, &stored.manifest.digest).expect("a manifest");
    let manifest = json(&String::from_utf8(manifest).expect("text"));
    assert_eq!(
        manifest["layers"][0]["digest"],
        base.layers[0].descriptor.digest.to_string()
    );
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        media_type::OCI_LAYER_GZIP
    );
    assert_eq!(manifest["layers"][2]["digest"], top.to_string());
    assert_eq!(manifest["layers"][2]["mediaType"], media_type::OCI_LAYER);

    for (force, expected) in [
        (false, media_type::OCI_LAYER_GZIP),
        (true, media_type::OCI_LAYER_ZSTD),
    ] {
        let path = bench.path(&format!("forced-{force}"));
        let options = OciOptions {
            compression: Compression::Zstd { level: 3 },
            force_compression: force,
            ..options(LayoutDestination::Directory(path.clone()), &["app:1"])
        };
        to_oci(
            &bench.store,
            built.clone(),
            options,
            &StepReporter::silent(),
        )
        .await
        .expect("an export");
        let name = format!("oci:{}:1", path.display());
        assert_eq!(layer_type(&name, 0), expected);
        assert_eq!(layer_type(&name, 2), media_type::OCI_LAYER_ZSTD);
    }
}

#[tokio::test]
async fn storing_what_is_stored_costs_little() {
    let bench = Bench::new();
    let layers: Vec<_> = (0..12)
        .map(|i| layer(&bench.store, vec![file("f", format!("{i}").as_bytes())]))
        .collect();
    let image = image(&layers);
    let names = [reference("a:1"), reference("b:1")];
    let first = to_store(&bench.store, &image, &names).expect("an image");
    let begin = std::time::Instant::now();
    let again = to_store(&bench.store, &image, &names).expect("an image");
    println!("12 layers stored again: {:?}", begin.elapsed());
    assert_eq!(first, again);
}

/// One more name of a file whose first name an upper layer has removed, opaque directories, and
/// everything that a tar can hold.
fn intricate(bench: &Bench) -> kiln_worker::export::BuiltImage {
    let lower = layer(
        &bench.store,
        vec![
            directory("d"),
            file("d/first", b"shared"),
            hard_link("d/second", "d/first"),
            hard_link("d/third", "d/first"),
            directory("o"),
            file("o/hidden", b"x"),
            (
                entry("pipe", kiln_worker::tree::EntryKind::Fifo, 0o600),
                Vec::new(),
            ),
            (entry("run", file("run", b"").0.kind, 0o4755), Vec::new()),
            symlink("out", "../../../../outside"),
        ],
    );
    let mut opaque = directory("o");
    opaque.0.kind =
        kiln_worker::tree::EntryKind::Directory(kiln_worker::tree::DirectoryKind::Opaque);
    let upper = layer(
        &bench.store,
        vec![whiteout("d/first"), opaque, file("o/seen", b"y")],
    );
    image(&[lower, upper])
}

fn check_intricate(root: &Path) {
    assert!(!root.join("d/first").exists() && !root.join("o/hidden").exists());
    assert_eq!(
        std::fs::read(root.join("d/second")).expect("a file"),
        b"shared"
    );
    let inode = |name: &str| root.join(name).metadata().expect("a file").ino();
    assert_eq!(inode("d/second"), inode("d/third"));
    assert_eq!(std::fs::read(root.join("o/seen")).expect("a file"), b"y");
    let mode = root
        .join("run")
        .metadata()
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o4755);
    let link = std::fs::read_link(root.join("out")).expect("a link");
    assert_eq!(link, Path::new("../../../../outside"));
}

#[tokio::test]
async fn flat_tars() {
    let bench = Bench::new();
    let path = bench.path("root.tar");
    let destination = Destination::File(path.clone());
    to_tar(
        &bench.store,
        intricate(&bench),
        destination,
        &StepReporter::silent(),
    )
    .await
    .expect("a tar");
    let root = bench.path("root");
    std::fs::create_dir(&root).expect("a directory");
    let (path, target) = (path.display().to_string(), root.display().to_string());
    run("tar", &["-xpf", &path, "-C", &target]);
    check_intricate(&root);
    assert!(!run("tar", &["-tf", &path]).contains(".wh."));
}

#[tokio::test]
async fn directories_replace_what_is_there_and_follow_no_links() {
    let bench = Bench::new();
    let root = bench.path("root");
    let outside = bench.path("outside");
    for directory in [&root, &outside, &root.join("run"), &root.join("run/full")] {
        std::fs::create_dir(directory).expect("a directory");
    }
    write(&root.join("kept"), b"kept");
    write(&root.join("pipe"), b"a file");
    std::os::unix::fs::symlink(&outside, root.join("d")).expect("a link");
    std::os::unix::fs::symlink(outside.join("target"), root.join("out")).expect("a link");
    let options = LocalOptions {
        directory: root.clone(),
        keep_owners: false,
    };
    for _ in 0..2 {
        let image = intricate(&bench);
        to_directory(
            &bench.store,
            image,
            options.clone(),
            &StepReporter::silent(),
        )
        .await
        .expect("files");
        check_intricate(&root);
    }
    assert_eq!(std::fs::read(root.join("kept")).expect("a file"), b"kept");
    assert_eq!(
        std::fs::read_dir(&outside).expect("a directory").count(),
        0,
        "nothing leaves the root"
    );
    let names = std::fs::read_dir(&root).expect("a directory").count();
    assert_eq!(names, 6, "no temporary file stays");
}

#[tokio::test]
async fn nothing_stays_of_a_failed_export() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    // The layer's bytes change under its name.
    let damaged = bench.store.blob_path(&image.layers[0].diff_id.into());
    let mut bytes = std::fs::read(&damaged).expect("a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&damaged, &bytes);
    let out = bench.path("out");
    std::fs::create_dir(&out).expect("a directory");
    for destination in [
        LayoutDestination::Tar(Destination::File(out.join("a.tar"))),
        LayoutDestination::Directory(out.join("dir")),
    ] {
        let options = options(destination, &["app:1"]);
        let error = to_oci(
            &bench.store,
            image.clone(),
            options,
            &StepReporter::silent(),
        )
        .await;
        assert!(error.expect_err("damaged").to_string().contains("damaged"));
    }
    assert_eq!(std::fs::read_dir(&out).expect("a directory").count(), 0);
    assert_eq!(bench.leftovers(), 0);
}

#[tokio::test]
async fn a_full_disk() {
    let bench = Bench::new();
    let small = bench.path("small");
    std::fs::create_dir(&small).expect("a directory");
    let path = small.display().to_string();
    if !std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "kiln-test", &path])
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: cannot mount");
        return;
    }
    let image = sample(&bench.store);
    let tar = LayoutDestination::Tar(Destination::File(small.join("a.tar")));
    let directory = LayoutDestination::Directory(small.join("dir"));
    let mut errors = Vec::new();
    for destination in [tar, directory] {
        let options = options(destination, &["app:1"]);
        let result = to_oci(
            &bench.store,
            image.clone(),
            options,
            &StepReporter::silent(),
        )
        .await;
        errors.push(result.expect_err("no room").to_string());
    }
    let destination = Destination::File(small.join("flat.tar"));
    let result = to_tar(
        &bench.store,
        image.clone(),
        destination,
        &StepReporter::silent(),
    )
    .await;
    errors.push(result.expect_err("no room").to_string());
    let options = LocalOptions {
        directory: small.join("root"),
        keep_owners: false,
    };
    let result = to_directory(&bench.store, image, options, &StepReporter::silent()).await;
    errors.push(result.expect_err("no room").to_string());
    let left = std::fs::read_dir(&small).expect("a directory").count();
    run("umount", &[&path]);
    for error in errors {
        assert!(error.contains("No space left"), "{error}");
    }
    assert_eq!(left, 0, "nothing half-made is left");
}

#[tokio::test]
async fn a_canceled_export_leaves_nothing() {
    let bench = Bench::new();
    let big = layer(&bench.store, vec![file("big", &noise(64 << 20))]);
    let out = bench.path("out");
    std::fs::create_dir(&out).expect("a directory");
    let options = OciOptions {
        compression: Compression::Gzip { level: 9 },
        ..options(LayoutDestination::Directory(out.join("dir")), &["app:1"])
    };
    let silent = StepReporter::silent();
    let export = to_oci(&bench.store, image(&[big]), options, &silent);
    let soon = std::time::Duration::from_millis(100);
    assert!(
        tokio::time::timeout(soon, export).await.is_err(),
        "it takes longer"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while bench.leftovers() > 0 && std::time::Instant::now() < deadline {
        tokio::time::sleep(soon).await;
    }
    assert_eq!(bench.leftovers(), 0);
    assert_eq!(std::fs::read_dir(&out).expect("a directory").count(), 0);
}

#[tokio::test]
async fn destinations_that_cannot_be() {
    let bench = Bench::new();
    let image = sample(&bench.store);
    let path = bench.directory.path().to_owned();
    let options = options(LayoutDestination::Tar(Destination::File(path)), &["app:1"]);
    let error = to_oci(
        &bench.store,
        image.clone(),
        options,
        &StepReporter::silent(),
    )
    .await;
    assert!(
        error
            .expect_err("a directory")
            .to_string()
            .contains("it is a directory")
    );
    let destination = Destination::File("/dev/null".into());
    to_tar(&bench.store, image, destination, &StepReporter::silent())
        .await
        .expect("a device");
    assert!(
        !Path::new("/dev/null")
            .metadata()
            .expect("still there")
            .is_file()
    );
}
