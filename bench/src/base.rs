//! The base image: a minimal Debian with a working apt, as an OCI layout of one gzip layer.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::args::Arguments;
use crate::{command, context};

const TAG: &str = "latest";
const CREATED: &str = "2026-01-01T00:00:00Z";

/// An image in an OCI layout on this machine.
#[derive(Clone, Debug)]
pub(crate) struct BaseImage {
    /// The layout's directory, absolute.
    pub(crate) layout: PathBuf,
    /// The tag that is in the layout's index.
    pub(crate) tag: &'static str,
    /// `sha256:…` of the manifest.
    pub(crate) digest: String,
}

/// The base image that was given, else Debian's, made in `work` if it is not there yet.
pub(crate) fn provide(arguments: &Arguments, work: &Path) -> Result<BaseImage> {
    let layout = match &arguments.base {
        Some(layout) => fs::canonicalize(layout).with_context(|| layout.display().to_string())?,
        None => make_debian(arguments, work)?,
    };
    context::read_into_page_cache(&layout)?;
    let digest = manifest_digest(&layout)?;
    Ok(BaseImage {
        layout,
        tag: TAG,
        digest,
    })
}

fn manifest_digest(layout: &Path) -> Result<String> {
    let path = layout.join("index.json");
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let index: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let named = |manifest: &&Value| {
        manifest["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some(TAG)
    };
    let manifest = index["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .find(named);
    let digest = manifest.and_then(|manifest| manifest["digest"].as_str());
    digest
        .map(str::to_owned)
        .with_context(|| format!("{}: no image {TAG}", path.display()))
}

fn make_debian(arguments: &Arguments, work: &Path) -> Result<PathBuf> {
    let layout = work.join("base");
    let recipe = format!("debian {} minbase, gzip 6", arguments.suite);
    context::make_once(&layout, &recipe, |layout| {
        eprintln!("making the base image of Debian {}", arguments.suite);
        let root = work.join("base.tar");
        bootstrap(arguments, &root)?;
        write_layout(&root, layout, &arguments.suite)?;
        fs::remove_file(&root).with_context(|| root.display().to_string())
    })?;
    Ok(layout)
}

/// Writes a minimal Debian as a tar: with mmdebstrap, else with debootstrap.
fn bootstrap(arguments: &Arguments, tar: &Path) -> Result<()> {
    let mirror = arguments.mirror.as_deref();
    let options = ["--variant=minbase", "--include=ca-certificates"];
    if let Some(mmdebstrap) = command::find("mmdebstrap", None)? {
        let mut make = Command::new(mmdebstrap);
        make.args(options)
            .arg(&arguments.suite)
            .arg(tar)
            .args(mirror);
        command::run(&mut make)?;
        return Ok(());
    }
    let Some(debootstrap) = command::find("debootstrap", None)? else {
        bail!("mmdebstrap or debootstrap is needed for the base image (or give one with --base)");
    };
    let root = tar.with_extension("root");
    let mut make = Command::new(debootstrap);
    command::run(
        make.args(options)
            .arg(&arguments.suite)
            .arg(&root)
            .args(mirror),
    )?;
    let mut pack = Command::new("tar");
    command::run(
        pack.args(["--numeric-owner", "--sort=name", "-C"])
            .arg(&root)
            .arg("-cf")
            .arg(tar)
            .arg("."),
    )?;
    fs::remove_dir_all(&root).with_context(|| root.display().to_string())
}

/// Writes an image of one layer as an OCI layout (OCI image specification, image-layout.md).
fn write_layout(root: &Path, layout: &Path, suite: &str) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| blobs.display().to_string())?;
    let layer = write_layer(root, &blobs)?;
    let config = put_json(&blobs, &config(&layer.diff_id, suite))?;
    let manifest = put_json(&blobs, &manifest(&config, &layer.blob))?;
    let files = [
        ("index.json", index(&manifest)),
        ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
    ];
    for (name, value) in files {
        let path = layout.join(name);
        fs::write(&path, value.to_string()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A blob's digest and size.
struct Blob {
    digest: String,
    size: u64,
}

struct Layer {
    blob: Blob,
    diff_id: String,
}

fn write_layer(tar: &Path, blobs: &Path) -> Result<Layer> {
    let unnamed = blobs.join("layer");
    let (hex, layer) = compress(tar, &unnamed).with_context(|| tar.display().to_string())?;
    fs::rename(&unnamed, blobs.join(hex)).with_context(|| unnamed.display().to_string())?;
    Ok(layer)
}

fn compress(tar: &Path, destination: &Path) -> io::Result<(String, Layer)> {
    let mut source = File::open(tar)?;
    let mut diff = Sha256::new();
    let written = HashingWriter {
        inner: File::create(destination)?,
        hash: Sha256::new(),
        size: 0,
    };
    let mut encoder = GzBuilder::new().write(written, Compression::new(6));
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        diff.update(&buffer[..length]);
        encoder.write_all(&buffer[..length])?;
    }
    let HashingWriter { hash, size, .. } = encoder.finish()?;
    let hex = hex(hash);
    let blob = Blob {
        digest: format!("sha256:{hex}"),
        size,
    };
    Ok((
        hex,
        Layer {
            blob,
            diff_id: format!("sha256:{}", self::hex(diff)),
        },
    ))
}

/// Hashes and counts what passes through it.
struct HashingWriter {
    inner: File,
    hash: Sha256,
    size: u64,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hash.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn put_json(blobs: &Path, value: &Value) -> Result<Blob> {
    let text = value.to_string();
    let hex = hex(Sha256::new_with_prefix(&text));
    let path = blobs.join(&hex);
    fs::write(&path, &text).with_context(|| path.display().to_string())?;
    Ok(Blob {
        digest: format!("sha256:{hex}"),
        size: text.len() as u64,
    })
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn config(diff_id: &str, suite: &str) -> Value {
    json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["bash"],
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": CREATED, "created_by": format!("debian {suite} minbase") }],
    })
}

fn manifest(config: &Blob, layer: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    })
}

fn index(manifest: &Blob) -> Value {
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
    entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": TAG });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    })
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

/// This machine's architecture in OCI's (Go's) words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
