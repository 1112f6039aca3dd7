//! `kiln store verify`: damage of every kind is found, and repaired so that the next build is right.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, text};
use crate::finished::Finished;

const APP: &str = "FROM base
COPY data /data
RUN cat /data >/copy; mkdir /d; echo more >/d/file; ln -s /copy /d/link
COPY --from=base /bin/busybox /box
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("data", vec![b'x'; 20_000]);
    bench.build("-t app:1");
    bench
}

fn verify(bench: &Bench, more: &str) -> Finished {
    let mut kiln = bench.kiln();
    Finished::of(kiln.args(["store", "verify"]).args(more.split_whitespace()))
}

fn said(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stdout).into_owned()
}

/// Fails unless the damage is found, is repaired, and the next build is right.
#[track_caller]
fn assert_found_and_repaired(bench: &Bench, what: &str) {
    let found = verify(bench, "");
    assert_eq!(
        found.code,
        Some(3),
        "{what}: {}{}",
        said(&found),
        found.stderr
    );
    let repaired = verify(bench, "--repair");
    assert_eq!(
        repaired.code,
        Some(0),
        "{what}: {}{}",
        said(&repaired),
        repaired.stderr
    );
    assert!(said(&repaired).contains("(repaired)"), "{what}");
    let again = verify(bench, "");
    assert_eq!(
        again.code,
        Some(0),
        "{what}: {}{}",
        said(&again),
        again.stderr
    );
    let out = bench.files("out", "");
    let read = |name: &str| fs::read(out.join(name)).expect(name);
    assert_eq!(read("copy"), vec![b'x'; 20_000], "{what}");
    assert_eq!(read("d/file"), b"more\n", "{what}");
    assert_eq!(
        read("box"),
        fs::read("/bin/busybox").expect("it is there"),
        "{what}"
    );
    fs::remove_dir_all(out).expect("removable");
    bench.build("-t app:1");
    assert_eq!(verify(bench, "").code, Some(0), "{what}");
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn flip_a_bit(path: &Path) {
    let times = fs::metadata(path)
        .expect("a file")
        .modified()
        .expect("a time");
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writable");
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(times).expect("a time");
}

#[test]
fn a_store_that_is_whole() {
    let bench = app();
    let whole = verify(&bench, "");
    assert_eq!(whole.code, Some(0), "{}", said(&whole));
    assert!(
        said(&whole).contains("everything is whole"),
        "{}",
        said(&whole)
    );
    assert_eq!(said(&verify(&bench, "--format json")), "");
}

/// Each blob in turn: the image's documents, the base's layer, the tars of COPY.
#[test]
fn damaged_blobs() {
    let bench = app();
    for path in below(&bench.store().join("blobs/sha256")) {
        let file = fs::File::options().write(true).open(&path).expect("a file");
        let size = file.metadata().expect("metadata").len();
        file.set_len(size / 2).expect("writable");
        assert_found_and_repaired(&bench, &format!("truncated {}", path.display()));
    }
    for path in below(&bench.store().join("blobs/sha256")) {
        flip_a_bit(&path);
        assert_found_and_repaired(&bench, &format!("a bit of {}", path.display()));
    }
    fs::write(bench.store().join("blobs/sha256/no-digest"), "x").expect("writable");
    assert_found_and_repaired(&bench, "a stray file");
}

#[test]
fn damaged_layers() {
    let bench = app();
    // What the last step reads of base has directories, too.
    for home in below(&bench.store().join("layers")) {
        flip_a_bit(&home.join("tree"));
        assert_found_and_repaired(&bench, &format!("the tree of {}", home.display()));
    }
    let mut seen = 0;
    for home in below(&bench.store().join("layers")) {
        let files = home.join("fs");
        let is_damaged = ["copy", "bin/busybox", "data", "etc/passwd"]
            .iter()
            .any(|name| {
                let path = files.join(name);
                let is_there = path.is_file();
                if is_there {
                    flip_a_bit(&path);
                }
                is_there
            });
        if is_damaged {
            seen += 1;
            assert_found_and_repaired(&bench, &format!("a file of {}", files.display()));
        }
    }
    assert!(seen >= 3, "{seen}");
    for home in below(&bench.store().join("layers")) {
        // A base's layer is unpacked again; what a RUN left is nowhere else.
        if home.join("fs/copy").exists() {
            fs::remove_dir_all(home.join("fs")).expect("removable");
            assert_found_and_repaired(&bench, "a missing directory");
        }
    }
}

/// The damage is said, with what to do; images and records that can be read are kept.
#[test]
fn a_damaged_index() {
    let bench = app();
    let index = bench.store().join("index.db");
    let images = |bench: &Bench| {
        let listed = Finished::of(bench.kiln().args(["images", "-q"]));
        said(&listed)
    };
    fs::write(&index, "this is no database, and never was one").expect("writable");
    bench
        .try_build("")
        .assert_failed(1, &[text(&index), "kiln store verify --repair"]);
    assert_found_and_repaired(&bench, "no database");
    assert!(bench.store().join("index.db.damaged-1").exists());

    fs::write(&index, "").expect("writable");
    bench
        .try_build("")
        .assert_failed(1, &["kiln store verify --repair"]);
    assert_found_and_repaired(&bench, "an empty file");

    // Every page but the first, one after the other; something is kept of most.
    bench.build("-t app:1");
    // Whoever closes the index last moves the journal into it.
    let before = images(&bench);
    let whole = fs::read(&index).expect("a file");
    let pages = whole.len() / 4096;
    let mut kept = 0;
    for page in 1..pages {
        images(&bench);
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].fill(0x5a);
        fs::write(&index, damaged).expect("writable");
        if verify(&bench, "").code == Some(0) {
            // Nobody uses that page.
            continue;
        }
        let repaired = verify(&bench, "--repair");
        assert_eq!(
            repaired.code,
            Some(0),
            "{page}: {}{}",
            said(&repaired),
            repaired.stderr
        );
        kept += usize::from(images(&bench) == before);
        assert_eq!(bench.text("d/file", ""), "more\n");
        assert_eq!(verify(&bench, "").code, Some(0), "{page}");
    }
    assert!(kept > 0, "of {pages} pages");
}
