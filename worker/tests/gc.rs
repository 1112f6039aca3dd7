//! What holds a store's bytes, and what prune lets go.

use std::sync::Arc;

use kiln_solver::{ContentDigest, DiffId, Key, Sha256Digest, StepKeys};
use kiln_worker::gc::{Holder, Item, ItemKind, PrunePolicy, prune, usage};
use kiln_worker::snapshot::{Snapshot, SnapshotLayer};
use kiln_worker::store::{ImageRecord, LayerBlob, Store};
use kiln_worker::tree::{LayerTree, Timestamp};

/// The layer of an image, and one that only the cache knows.
const IMAGE_LAYER: DiffId = DiffId::new([1; 32]);
const CACHE_LAYER: DiffId = DiffId::new([2; 32]);

/// A store with an image of one layer, the cache record of that layer, a cache record of a second
/// layer on top, a blob and a directory of each layer, a blob that nobody needs, and a log.
fn fill(store: &Store) {
    for (diff_id, bytes) in [(IMAGE_LAYER, b"one"), (CACHE_LAYER, b"two")] {
        let digest = store.put_blob(bytes).expect("writable");
        let (compression, media_type) = ("none".to_owned(), "tar".to_owned());
        let blob = LayerBlob {
            compression,
            digest,
            size: 3,
            media_type,
        };
        store
            .index()
            .put_layer_blob(&diff_id, &blob)
            .expect("writable");
        store
            .layers()
            .put_tree(&diff_id, Arc::new(LayerTree::new([])))
            .expect("writable");
    }
    store.put_blob(b"nobody needs this").expect("writable");
    put_image(store);
    put_record(store, 1, &[IMAGE_LAYER]);
    put_record(store, 2, &[IMAGE_LAYER, CACHE_LAYER]);
    let builds = store.directory("builds").expect("writable");
    std::fs::write(builds.join("log"), "log").expect("writable");
}

fn put_image(store: &Store) {
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [IMAGE_LAYER.to_string()]},
    });
    let config = store
        .put_blob(config.to_string().as_bytes())
        .expect("writable");
    let descriptor = |kind: &str, digest: &Sha256Digest| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        serde_json::json!({"mediaType": media_type, "digest": digest.to_string(), "size": 3})
    };
    let layer = store.put_blob(b"one").expect("writable");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = store
        .put_blob(manifest.to_string().as_bytes())
        .expect("writable");
    let name = "docker.io/library/app:latest".to_owned();
    let image = ImageRecord {
        name,
        manifest,
        created: Timestamp::now(),
    };
    store.index().put_image(&image).expect("writable");
}

fn put_record(store: &Store, key: u8, layers: &[DiffId]) {
    let layer = |diff_id: &DiffId| SnapshotLayer {
        diff_id: *diff_id,
        content: ContentDigest::new(*diff_id.as_bytes()),
        created: None,
    };
    let snapshot = Snapshot {
        layers: layers.iter().map(layer).collect(),
    };
    let key = Key::new([key; 32]);
    let keys = StepKeys {
        definition: key,
        content: key,
        outline: key,
        inputs: key,
        explanation: Vec::new(),
    };
    store
        .index()
        .put_step(&keys, &snapshot.encode())
        .expect("writable");
}

fn count(items: &[Item]) -> Vec<(ItemKind, Holder, usize)> {
    let mut counts: Vec<(ItemKind, Holder, usize)> = Vec::new();
    let mut kinds: Vec<_> = items.iter().map(|item| (item.kind, item.holder)).collect();
    kinds.sort();
    for (kind, holder) in kinds {
        match counts.last_mut() {
            Some(last) if (last.0, last.1) == (kind, holder) => last.2 += 1,
            _ => counts.push((kind, holder, 1)),
        }
    }
    counts
}

#[test]
fn usage_tells_who_holds_what() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("writable");
    fill(&store);
    let items = usage(&store).expect("readable");
    let expected = [
        (ItemKind::Blob, Holder::Image, 3),
        (ItemKind::Blob, Holder::Cache, 1),
        (ItemKind::Blob, Holder::Nobody, 1),
        (ItemKind::Layer, Holder::Image, 1),
        (ItemKind::Layer, Holder::Cache, 1),
        (ItemKind::Build, Holder::Cache, 1),
    ];
    assert_eq!(count(&items), expected);
    assert!(items.iter().all(|item| item.bytes > 0), "{items:?}");
}

#[test]
fn prune_leaves_what_images_need() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fill(&Store::open(directory.path()).expect("writable"));
    let pruned = prune(directory.path(), PrunePolicy::default(), || {}).expect("writable");
    assert_eq!(pruned.records, 1);
    let store = Store::open(directory.path()).expect("writable");
    let left = [
        (ItemKind::Blob, Holder::Image, 3),
        (ItemKind::Layer, Holder::Image, 1),
    ];
    assert_eq!(count(&usage(&store).expect("readable")), left);
    assert!(
        store
            .index()
            .record(&Key::new([1; 32]))
            .expect("readable")
            .is_some()
    );
    drop(store);

    let all = PrunePolicy {
        all: true,
        ..PrunePolicy::default()
    };
    assert_eq!(
        prune(directory.path(), all, || {})
            .expect("writable")
            .records,
        1
    );
    let store = Store::open(directory.path()).expect("writable");
    assert_eq!(count(&usage(&store).expect("readable")), left);
}

#[test]
fn prune_leaves_cache_that_was_used_lately() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fill(&Store::open(directory.path()).expect("writable"));
    let unused_since = Some(Timestamp::now().seconds - 3600);
    let pruned = prune(
        directory.path(),
        PrunePolicy {
            all: true,
            unused_since,
        },
        || {},
    );
    let pruned = pruned.expect("writable");
    assert_eq!(count(&pruned.items), [(ItemKind::Blob, Holder::Nobody, 1)]);
    assert_eq!(pruned.records, 0);
}
