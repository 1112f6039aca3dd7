//! What holds a store's bytes, and what prune lets go.

use kiln_solver::{ContentDigest, DiffId, Key, Sha256Digest, StepKeys};
use kiln_worker::gc::{Holder, Item, ItemKind, Policy, Pruned, Space, Survey, prune};
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
            is_proven: true,
        };
        store
            .index()
            .put_layer_blob(&diff_id, &blob)
            .expect("writable");
        store
            .layers()
            .put_tree(&diff_id, &LayerTree::new([]).encode())
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

/// What there is, by kind and holder.
fn count<'i>(items: impl IntoIterator<Item = &'i Item>) -> Vec<(ItemKind, Holder, usize)> {
    let mut counts: Vec<(ItemKind, Holder, usize)> = Vec::new();
    let kinds = items.into_iter().map(|item| (item.kind, item.holder()));
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort();
    for (kind, holder) in kinds {
        match counts.last_mut() {
            Some(last) if (last.0, last.1) == (kind, holder) => last.2 += 1,
            _ => counts.push((kind, holder, 1)),
        }
    }
    counts
}

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(directory.path()).expect("writable")
}

/// A moment when everything is old.
fn later() -> i64 {
    Timestamp::now().seconds + 10
}

fn survey(store: &Store) -> Survey {
    Survey::take(store).expect("readable")
}

fn prune_with(store: &Store, policy: Policy) -> Pruned {
    prune(store, &[policy], later(), false).expect("writable")
}

fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fill(&open(&directory));
    directory
}

#[test]
fn a_survey_tells_who_holds_what() {
    let directory = filled();
    let store = open(&directory);
    let survey = survey(&store);
    let expected = [
        (ItemKind::Layer, Holder::Image, 1),
        (ItemKind::Layer, Holder::Cache, 1),
        (ItemKind::Blob, Holder::Image, 2),
        (ItemKind::Blob, Holder::Nobody, 1),
        (ItemKind::Build, Holder::Cache, 1),
    ];
    assert_eq!(count(&survey.items), expected);
    assert!(survey.items.iter().all(|item| item.bytes > 0));
    let on_top = |item: &&Item| !item.parents.is_empty();
    let tops: Vec<_> = survey.items.iter().filter(on_top).collect();
    assert_eq!(tops.len(), 1);
    assert_eq!(tops[0].parents, [IMAGE_LAYER.hex()]);
    assert_eq!(tops[0].records, [Key::new([2; 32])]);
}

#[test]
fn prune_leaves_what_images_need() {
    let directory = filled();
    let store = open(&directory);
    let policy = Policy::default();
    let told = prune(&store, std::slice::from_ref(&policy), later(), true).expect("readable");
    assert_eq!(survey(&store).items.len(), 6);
    let pruned = prune_with(&store, policy);
    assert_eq!((pruned.records, &pruned.items), (1, &told.items));
    let left = [
        (ItemKind::Layer, Holder::Image, 1),
        (ItemKind::Blob, Holder::Image, 2),
        (ItemKind::Build, Holder::Cache, 1),
    ];
    assert_eq!(count(&survey(&store).items), left);
    let kept = store.index().record(&Key::new([1; 32]));
    assert!(kept.expect("readable").is_some());

    let all = Policy {
        all: true,
        ..Policy::default()
    };
    assert_eq!(prune_with(&store, all).records, 1);
    assert_eq!(count(&survey(&store).items), left[..2]);
}

#[test]
fn prune_leaves_what_other_processes_use() {
    let directory = filled();
    let other = open(&directory);
    assert!(other.layers().contains(&CACHE_LAYER));
    let store = open(&directory);
    let pruned = prune_with(&store, Policy::default());
    assert_eq!(pruned.records, 0);
    let gone = [(ItemKind::Blob, Holder::Nobody, 1)];
    assert_eq!(count(&pruned.items), gone);
    let uses: Vec<_> = survey(&store).items;
    let used = uses.iter().find(|item| item.name == CACHE_LAYER.hex());
    assert_eq!(used.expect("it stays").processes, [std::process::id()]);
    drop(other);
    assert_eq!(prune_with(&store, Policy::default()).records, 1);
    assert!(!store.layers().contains(&CACHE_LAYER));
}

/// What is in the making is leased before it is in its place.
#[test]
fn prune_leaves_what_is_being_made() {
    let directory = filled();
    let other = open(&directory);
    let diff_id = DiffId::new([3; 32]);
    let tree = LayerTree::new([]).encode();
    let digest = other.put_blob(b"three").expect("writable");
    other.layers().put_tree(&diff_id, &tree).expect("writable");
    let store = open(&directory);
    prune_with(&store, Policy::default());
    assert!(other.has_blob(&digest) && other.layers().contains(&diff_id));
    put_record(&other, 3, &[diff_id]);
    drop(other);
    let kept = store.index().record(&Key::new([3; 32])).expect("readable");
    assert!(kept.is_some());
    assert_eq!(prune_with(&store, Policy::default()).records, 1);
    assert!(!store.has_blob(&digest));
}

#[test]
fn prune_leaves_cache_that_was_used_lately() {
    let directory = filled();
    let store = open(&directory);
    let policy = Policy {
        all: true,
        keep_duration: Some(3600),
        ..Policy::default()
    };
    let pruned = prune_with(&store, policy);
    assert_eq!((pruned.records, &pruned.items[..]), (0, &[][..]));
}

/// The longest unused goes first, and no more than must; a layer is used with those above it.
#[test]
fn the_cap_is_a_cap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(&directory);
    let layer = |number: u8| DiffId::new([number; 32]);
    let base = layer(100);
    for number in (0..20).chain([100]) {
        let digest = store.put_blob(&[number; 100_000]).expect("writable");
        let blob = LayerBlob {
            compression: "none".to_owned(),
            digest,
            size: 100_000,
            media_type: "tar".to_owned(),
            is_proven: true,
        };
        let index = store.index();
        index
            .put_layer_blob(&layer(number), &blob)
            .expect("writable");
        if number != 100 {
            put_record(&store, number, &[base, layer(number)]);
        }
    }
    drop(store);
    let store = open(&directory);
    // Records 5 to 9 were used later than the others.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for number in 5..10 {
        put_record(&store, number, &[base, layer(number)]);
    }
    let full = survey(&store).bytes();
    let policy = |maximum| Policy {
        max_used_space: Some(Space::Bytes(maximum)),
        ..Policy::default()
    };
    assert_eq!(prune_with(&store, policy(full + 1)).items, []);
    let pruned = prune_with(&store, policy(full - 450_000));
    assert_eq!(pruned.items.len(), 5);
    assert!(survey(&store).bytes() < full - 450_000);
    let pruned = prune_with(&store, policy(full - 1_350_000));
    assert_eq!(pruned.shortfall, None);
    for number in 5..10 {
        let record = store.index().record(&Key::new([number; 32]));
        assert!(record.expect("readable").is_some(), "{number}");
    }
    // What is in use stays, and that is said.
    let other = open(&directory);
    assert!(other.has_blob(&kiln_worker::store::sha256(&[7; 100_000])));
    assert!(other.has_blob(&kiln_worker::store::sha256(&[100; 100_000])));
    let pruned = prune_with(&store, policy(1));
    let shortfall = pruned.shortfall.expect("something is left");
    assert_eq!((shortfall.wanted, shortfall.left), (1, pruned.left));
    assert_eq!(
        count(&survey(&store).items),
        [(ItemKind::Layer, Holder::Process, 2)]
    );
}

#[test]
fn policies_choose_by_filters_in_order() {
    let directory = filled();
    let store = open(&directory);
    for name in ["cache-mounts/a", "cache-mounts/b"] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(&path).expect("writable");
        std::fs::write(path.join("id"), &name[13..]).expect("writable");
    }
    let filtered = |filter: &str| Policy {
        filters: vec![filter.parse().expect("a filter")],
        ..Policy::default()
    };
    let policies = [
        filtered("type==exec.cachemount,description~=mount a"),
        filtered("type==source.local"),
    ];
    let pruned = prune(&store, &policies, later(), false).expect("writable");
    let names: Vec<_> = pruned.items.iter().map(|item| &*item.name).collect();
    assert_eq!(names, ["a"]);
    // A layer that another stands on stays, if that other one stays.
    let filter = format!("id=={}", IMAGE_LAYER.hex());
    store
        .index()
        .remove_image("docker.io/library/app:latest")
        .expect("writable");
    assert_eq!(prune_with(&store, filtered(&filter)).items, []);
}

#[test]
fn selections_go_with_the_rest() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(&directory);
    let (key, content) = (Key::new([9; 32]), ContentDigest::new([9; 32]));
    store
        .index()
        .put_selection(&key, &content)
        .expect("writable");
    let recent = Policy {
        keep_duration: Some(3600),
        ..Policy::default()
    };
    for (policy, is_left) in [(recent, true), (Policy::default(), false)] {
        prune_with(&store, policy);
        let left = store.index().selection(&key).expect("readable");
        assert_eq!(left.is_some(), is_left);
    }
}
