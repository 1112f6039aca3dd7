//! Stores, layers and images to test with.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_solver::{ContentDigest, DiffId, Platform, RelPath, StepReporter};
use kiln_worker::export::{
    BuiltImage, BuiltLayer, Destination, Exported, Flavor, LayoutDestination, OciOptions, to_oci,
};
use kiln_worker::image::{Images, Location, Reference, ResolvedImage};
use kiln_worker::layer::{Compression, FileBytes, PackEntry, pack};
use kiln_worker::registry::RegistrySettings;
use kiln_worker::store::{BlobError, Store};
use kiln_worker::tree::{DirectoryKind, Entry, EntryKind, Timestamp, Xattrs};

/// A temporary directory with a store in it.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        Self { directory, store }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Finds images for this store, with short patience.
    pub(crate) fn images(&self) -> Images {
        Images::new(self.store.clone(), settings())
    }

    /// How much is left below `tmp`, besides the lock, once threads had time to end.
    pub(crate) fn leftovers(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let scratch = std::fs::read_dir(self.store.scratch().path()).expect("a directory");
            let left = scratch.count() - 1;
            if left == 0 || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn settings() -> RegistrySettings {
    RegistrySettings {
        read_timeout: Duration::from_secs(2),
        retries: 1,
        ..RegistrySettings::default()
    }
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

pub(crate) fn entry(text: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry {
        path: path(text),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    }
}

pub(crate) fn directory(text: &str) -> (Entry, Vec<u8>) {
    let kind = EntryKind::Directory(DirectoryKind::Merged);
    (entry(text, kind, 0o755), Vec::new())
}

pub(crate) fn file(text: &str, bytes: &[u8]) -> (Entry, Vec<u8>) {
    let kind = EntryKind::File {
        size: bytes.len() as u64,
        digest: ContentDigest::new([0; 32]),
        offset: 0,
    };
    (entry(text, kind, 0o644), bytes.to_vec())
}

pub(crate) fn symlink(text: &str, target: &str) -> (Entry, Vec<u8>) {
    let target = target.as_bytes().into();
    (
        entry(text, EntryKind::Symlink { target }, 0o777),
        Vec::new(),
    )
}

pub(crate) fn hard_link(text: &str, target: &str) -> (Entry, Vec<u8>) {
    let target = path(target);
    (
        entry(text, EntryKind::HardLink { target }, 0o644),
        Vec::new(),
    )
}

pub(crate) fn whiteout(text: &str) -> (Entry, Vec<u8>) {
    (entry(text, EntryKind::Whiteout, 0), Vec::new())
}

/// Bytes that compress, but not to nothing.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Puts a layer into the store as a tar.
pub(crate) fn layer(store: &Store, mut entries: Vec<(Entry, Vec<u8>)>) -> DiffId {
    entries.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    let entries: Vec<PackEntry> = entries
        .into_iter()
        .map(|(entry, bytes)| PackEntry {
            entry,
            bytes: FileBytes::Memory(Arc::from(bytes)),
            digest_is_known: false,
        })
        .collect();
    let mut blob = store.new_blob().expect("a blob");
    let packed = pack(entries.into_iter(), &mut blob).expect("packs");
    blob.finish(Some(packed.diff_id.into()), "test")
        .expect("a blob");
    store
        .layers()
        .put_tree(&packed.diff_id, &packed.tree)
        .expect("a tree");
    packed.diff_id
}

/// An image of layers.
pub(crate) fn image(layers: &[DiffId]) -> BuiltImage {
    let diff_ids: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let config = serde_json::json!({
        "architecture": Platform::host().architecture,
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": diff_ids.iter().map(|_| serde_json::json!({"created_by": "test"})).collect::<Vec<_>>(),
    });
    let layer = |diff_id: &DiffId| BuiltLayer {
        diff_id: *diff_id,
        original: None,
    };
    BuiltImage {
        config: serde_json::to_vec(&config).expect("JSON"),
        layers: layers.iter().map(layer).collect(),
        platform: Platform::host(),
        annotations: Default::default(),
        descriptor_annotations: Default::default(),
        file_time: None,
    }
}

/// An image of two layers, of 3 MiB and a few bytes.
pub(crate) fn sample(store: &Store) -> BuiltImage {
    let base = layer(
        store,
        vec![
            directory("bin"),
            file("bin/tool", &noise(3 << 20)),
            symlink("sbin", "bin"),
            file("gone", b"never seen"),
        ],
    );
    let top = layer(
        store,
        vec![
            directory("etc"),
            file("etc/name", b"kiln\n"),
            whiteout("gone"),
        ],
    );
    image(&[base, top])
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

pub(crate) fn options(destination: LayoutDestination, names: &[&str]) -> OciOptions {
    OciOptions {
        destination,
        names: names.iter().map(|name| reference(name)).collect(),
        compression: Compression::default(),
        force_compression: false,
        flavor: Flavor::Oci,
    }
}

pub(crate) async fn export_to_tar(store: &Store, image: &BuiltImage, path: &Path) -> Exported {
    let destination = LayoutDestination::Tar(Destination::File(path.to_owned()));
    let options = options(destination, &["app:1"]);
    to_oci(store, image.clone(), options, &StepReporter::silent())
        .await
        .expect("an export")
}

pub(crate) async fn export_to_directory(
    store: &Store,
    image: &BuiltImage,
    path: &Path,
) -> Exported {
    let options = options(LayoutDestination::Directory(path.to_owned()), &["app:1"]);
    to_oci(store, image.clone(), options, &StepReporter::silent())
        .await
        .expect("an export")
}

/// Runs a tool and returns what it prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run {program}: {error}; is it installed?"));
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {shown}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a tool on what is written to it.
pub(crate) fn filter(program: &str, args: &[&str], input: &Path) -> Vec<u8> {
    let input = std::fs::File::open(input).expect("a file");
    let output = Command::new(program)
        .args(args)
        .stdin(input)
        .output()
        .expect(program);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

pub(crate) async fn resolve(images: &Images, location: &Location) -> ResolvedImage {
    images
        .resolve(location, &Platform::host(), false)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn fetch_all(images: &Images, image: &ResolvedImage) {
    let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let fetched = images
        .fetch_layers(image, &layers, &StepReporter::silent())
        .await;
    fetched.unwrap_or_else(|error| panic!("{error}"));
}

/// What the store has as a blob.
pub(crate) fn blob(
    store: &Store,
    digest: &kiln_solver::Sha256Digest,
) -> Result<Vec<u8>, BlobError> {
    store.read_blob(digest, 1 << 30)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(bytes).expect("written");
}
