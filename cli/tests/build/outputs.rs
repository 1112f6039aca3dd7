//! `--output` in all its forms, and the files that scripts read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bench::{Bench, output, text};
use crate::finished::Finished;
use crate::listing::{of_directory, of_tar, of_tar_file};

const APP: &str = "FROM base\nCOPY --chown=1000:1001 file /app/file\nRUN echo made >/made\n";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("file", "content\n".repeat(1000));
    bench
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).expect("the file is there");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn blob(layout: &Path, digest: &Value) -> std::path::PathBuf {
    let digest = digest.as_str().expect("a digest");
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// The manifest of a layout's only image.
fn manifest(layout: &Path) -> Value {
    let index = json(&layout.join("index.json"));
    json(&blob(layout, &index["manifests"][0]["digest"]))
}

#[test]
fn layers_are_compressed_as_asked() {
    let bench = app();
    let cases = [
        ("", "tar+gzip", &[0x1f, 0x8b][..]),
        (
            ",compression=gzip,compression-level=1",
            "tar+gzip",
            &[0x1f, 0x8b],
        ),
        (",compression=zstd", "tar+zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        (",compression=uncompressed", "tar", &[]),
    ];
    let mut configs = Vec::new();
    for (number, (attributes, media, magic)) in cases.into_iter().enumerate() {
        let layout = bench.path(&format!("layout{number}"));
        bench.build(&format!(
            "-o type=oci,tar=false,dest={}{attributes}",
            layout.display()
        ));
        let manifest = manifest(&layout);
        let made = manifest["layers"]
            .as_array()
            .expect("layers")
            .last()
            .expect("one")
            .clone();
        let expected = format!("application/vnd.oci.image.layer.v1.{media}");
        assert_eq!(made["mediaType"], expected.as_str());
        let bytes = fs::read(blob(&layout, &made["digest"])).expect("the layer");
        assert!(bytes.starts_with(magic), "{attributes}");
        assert_eq!(made["size"], bytes.len());
        configs.push(manifest["config"]["digest"].clone());
    }
    configs.dedup();
    assert_eq!(configs.len(), 1, "the image's id depends on no compression");
}

#[test]
fn an_oci_archive_is_the_same_as_a_file_and_on_standard_output() {
    let bench = app();
    let file = bench.path("image.tar");
    bench.build(&format!("-t app:1 -o type=oci,dest={}", file.display()));
    let on_stdout = bench.build("-t app:1 -o type=oci,dest=-").stdout;
    assert_eq!(of_tar(on_stdout.as_slice()), of_tar_file(&file));
    let index = output(Command::new("tar").args(["-xOf", text(&file), "index.json"]));
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");
}

#[test]
fn files_come_as_a_tar_or_in_a_directory() {
    let bench = app();
    let directory = bench.path("long");
    bench.build(&format!("-o type=local,dest={}", directory.display()));
    let short = bench.files("short", "");
    let tar = bench.path("files.tar");
    bench.build(&format!("-o type=tar,dest={}", tar.display()));
    let on_stdout = bench.build("-o -").stdout;
    let expected = of_tar_file(&tar);
    assert_eq!(expected["app/file"], "f 644 1000:1001 8000");
    assert_eq!(expected["made"], "f 644 0:0 5");
    assert_eq!(of_tar(on_stdout.as_slice()), expected);
    assert_eq!(of_directory(&directory), expected);
    assert_eq!(of_directory(&short), expected);
}

#[test]
fn a_directory_that_is_there_keeps_what_is_not_replaced() {
    let bench = app();
    let out = bench.path("out");
    fs::create_dir_all(out.join("app")).expect("a directory");
    fs::write(out.join("mine"), "mine").expect("writable");
    fs::write(out.join("app/file"), "older").expect("writable");
    bench.build(&format!("-o {}", out.display()));
    assert_eq!(fs::read_to_string(out.join("mine")).expect("mine"), "mine");
    assert_eq!(fs::metadata(out.join("app/file")).expect("it").size(), 8000);
}

#[test]
fn scripts_are_told_the_ids() {
    let bench = app();
    let (id, metadata, layout) = (bench.path("id"), bench.path("m"), bench.path("layout"));
    let line = format!(
        "-t app:1 -t app:2 --iidfile {} --metadata-file {} -o type=image -o type=oci,tar=false,dest={}",
        id.display(),
        metadata.display(),
        layout.display()
    );
    bench.build(&line);
    let (metadata, manifest) = (json(&metadata), manifest(&layout));
    let id = fs::read_to_string(id).expect("the id");
    assert_eq!(manifest["config"]["digest"], id.as_str());
    assert_eq!(metadata["containerimage.config.digest"], id.as_str());
    let names = "docker.io/library/app:1,docker.io/library/app:2";
    assert_eq!(metadata["image.name"], names);
    assert!(metadata["containerimage.digest"].is_string(), "{metadata}");
    assert!(
        metadata["containerimage.descriptor"].is_object(),
        "{metadata}"
    );

    let quiet = Finished::of(&mut bench.command_shown("-q", ""));
    quiet.assert_well();
    assert_eq!(String::from_utf8_lossy(&quiet.stdout), format!("{id}\n"));
    assert_eq!(quiet.stderr, "");
}

#[test]
fn every_tag_names_the_image_in_the_store() {
    let bench = app();
    bench.build("-t app:1 -t localhost:5000/team/app -t app");
    let listed = output(bench.kiln().args(["images", "--format", "json"]));
    for name in ["app:1", "localhost:5000/team/app:latest", "app:latest"] {
        let (repository, tag) = name.rsplit_once(':').expect("a tag");
        let is_it = |line: &str| line.contains(repository) && line.contains(tag);
        assert!(listed.lines().any(is_it), "{name} in\n{listed}");
    }
    bench.file(
        "Dockerfile",
        "FROM localhost:5000/team/app\nRUN test -s /made\n",
    );
    bench.build("");
}

#[test]
fn a_dockerfile_comes_from_standard_input() {
    let bench = Bench::new();
    bench.file("file", "x");
    let input = bench.path("input");
    fs::write(&input, "FROM scratch\nCOPY file /copied\n").expect("writable");
    let out = bench.path("out");
    let mut command = bench.command(&format!("-f - -o {}", out.display()));
    command.stdin(fs::File::open(input).expect("it is there"));
    Finished::of(&mut command).assert_well();
    assert!(out.join("copied").exists());
}

#[test]
fn another_file_may_be_the_dockerfile() {
    let bench = Bench::new();
    bench.file("sub/Other", "FROM scratch\nCOPY sub/file /copied\n");
    bench.file("sub/file", "x");
    let file = bench.context("sub/Other");
    let out = bench.files("out", &format!("-f {}", file.display()));
    assert!(out.join("copied").exists());
}

#[test]
fn an_unchanged_build_is_the_same_image_bit_by_bit() {
    let bench = app();
    let digest = |name: &str| {
        let layout = bench.path(name);
        bench.build(&format!("-o type=oci,tar=false,dest={}", layout.display()));
        json(&layout.join("index.json"))["manifests"][0]["digest"].clone()
    };
    assert_eq!(digest("one"), digest("two"));
}
