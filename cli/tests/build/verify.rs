//! `kiln store verify`: damage of every kind is found, and repaired so that the next build is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

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
        truncate(&path, 2);
        assert_found_and_repaired(&bench, &format!("truncated {}", path.display()));
    }
    for path in below(&bench.store().join("blobs/sha256")) {
        flip_a_bit(&path);
        assert_found_and_repaired(&bench, &format!("a bit of {}", path.display()));
    }
    fs::write(bench.store().join("blobs/sha256/no-digest"), "x").expect("writable");
    assert_found_and_repaired(&bench, "a stray file");
}

/// A copy that runs again takes what it can from the layer that it made before. If that one is damaged,
/// it takes nothing from it, and nobody has to repair the store first.
#[test]
fn a_damaged_earlier_layer_does_no_harm() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("a bit", flip_a_bit),
        ("half", |path| truncate(path, 2)),
        ("empty", |path| truncate(path, usize::MAX)),
        ("gone", |path| fs::remove_file(path).expect("removable")),
    ];
    for (what, damage) in damages {
        let bench = Bench::with("FROM scratch\nCOPY . /\n");
        bench.shell("for n in $(seq 40); do seq $n 400 >f$n; done; seq 100000 >large");
        bench.build("");
        let blobs = below(&bench.store().join("blobs/sha256"));
        let size = |path: &&PathBuf| fs::metadata(path).expect("a file").len();
        damage(blobs.iter().max_by_key(size).expect("the layer"));
        for home in below(&bench.store().join("layers")) {
            if what == "half" {
                truncate(&home.join("tree"), 2);
            }
        }
        bench.shell("echo changed >f7");
        let out = bench.files("out", "");
        let read = |name: &str| fs::read(out.join(name)).expect(name);
        assert_eq!(read("f7"), b"changed\n", "{what}");
        for name in ["f1", "f20", "f40", "large"] {
            let expected = fs::read(bench.context(name)).expect(name);
            assert!(read(name) == expected, "{what}: {name}");
        }
    }
}

/// After a power cut, records may name what never reached the disk. The first build of the machine's next
/// run finds that, and makes it anew.
#[test]
fn what_a_power_cut_took_is_made_anew() {
    let bench = app();
    let note = bench.store().join("boot");
    let this_run = fs::read_to_string(&note).expect("it was used");
    let mut damages: Vec<PathBuf> = below(&bench.store().join("blobs/sha256"));
    for home in below(&bench.store().join("layers")) {
        damages.push(home.join("tree"));
        damages.extend(["fs/copy", "fs/d/file"].map(|name| home.join(name)));
    }
    for path in damages.iter().filter(|path| path.is_file()) {
        let what = path.display();
        fs::write(path, "").expect("writable");
        fs::write(&note, "another run").expect("writable");
        let out = bench.files("out", "-t app:1");
        assert_eq!(
            fs::read(out.join("copy")).expect("it was built"),
            vec![b'x'; 20_000],
            "{what}"
        );
        assert_eq!(
            fs::read(out.join("d/file")).expect("it was built"),
            b"more\n",
            "{what}"
        );
        fs::remove_dir_all(out).expect("removable");
        assert_eq!(fs::read_to_string(&note).expect("it was used"), this_run);
        let whole = verify(&bench, "--repair");
        assert_eq!(whole.code, Some(0), "{what}: {}", said(&whole));
    }
    assert!(damages.iter().filter(|path| path.is_file()).count() > 5);
}

/// Leaves a part of a file.
fn truncate(path: &Path, parts: usize) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    let size = file.metadata().expect("metadata").len();
    file.set_len(size / parts as u64).expect("writable");
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

/// What does not stand in files: marks of overlayfs, the root's own mode, and the list of what is there.
#[test]
fn layers_that_would_look_different() {
    let bench = app();
    let directories = || -> Vec<PathBuf> {
        let homes = below(&bench.store().join("layers")).into_iter();
        homes
            .map(|home| home.join("fs"))
            .filter(|files| files.is_dir())
            .collect()
    };
    let (mut marked, mut changed) = (0, 0);
    for files in directories() {
        let inner: Vec<PathBuf> = below(&files)
            .into_iter()
            .filter(|path| is_dir(path))
            .collect();
        for directory in inner.iter().take(1).chain([&files]) {
            for attribute in ["trusted.overlay.opaque", "user.overlay.opaque"] {
                // What was repaired is made again when a step must see it.
                if !directory.is_dir() {
                    continue;
                }
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(directory, attribute, b"y", flags).expect("root may");
                marked += 1;
                let what = format!("{attribute} of {}", directory.display());
                assert_found_and_repaired(&bench, &what);
            }
        }
    }
    let bench = app();
    for home in below(&bench.store().join("layers")) {
        // What a tar tells again is not missed.
        if !home.join("fs").exists() {
            continue;
        }
        fs::remove_file(home.join("tree")).expect("it is whole");
        assert_found_and_repaired(&bench, &format!("no tree in {}", home.display()));
        changed += 1;
    }
    assert!(marked >= 3 && changed >= 3, "{marked}, {changed}");
}

fn is_dir(path: &Path) -> bool {
    path.is_dir() && !path.is_symlink()
}

/// A new directory hides nothing, though overlayfs marks it: with another base, its layer must not either.
#[test]
fn what_a_step_leaves_hides_nothing() {
    let bench = Bench::with("FROM base\nRUN mkdir -p /new/inner; rm -r /var; mkdir /var\n");
    bench.build("");
    let mut found = Vec::new();
    for home in below(&bench.store().join("layers")) {
        for directory in ["new", "new/inner", "var"] {
            let path = home.join("fs").join(directory);
            let mark = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut [0; 4]);
            if path.is_dir() && home.join("fs/new").is_dir() {
                found.push((directory, mark.is_ok()));
            }
        }
    }
    assert_eq!(found, [("new", false), ("new/inner", false), ("var", true)]);
    assert_eq!(verify(&bench, "").code, Some(0));
}

/// What somebody removed to make room is made anew, with a repair or without one.
#[test]
fn directories_that_were_removed() {
    let bench = app();
    for gone in ["blobs", "blobs/sha256", "layers"] {
        let remove = || fs::remove_dir_all(bench.store().join(gone)).expect("removable");
        remove();
        assert_found_and_repaired(&bench, gone);
        remove();
        let built = bench.build("-t app:1");
        assert_ne!(built.ran(), [""; 0], "{gone}");
        assert_eq!(bench.text("d/file", ""), "more\n", "{gone}");
        let whole = verify(&bench, "");
        assert_eq!(whole.code, Some(0), "{gone}: {}", said(&whole));
    }
}

/// What a link leads to is not the store's: it is neither used nor removed.
#[test]
fn links_in_place_of_layers() {
    let bench = app();
    let elsewhere = bench.path("elsewhere");
    for is_repaired in [true, false] {
        for home in below(&bench.store().join("layers")) {
            let _ = fs::remove_dir_all(&elsewhere);
            fs::rename(&home, &elsewhere).expect("it can be moved");
            std::os::unix::fs::symlink(&elsewhere, &home).expect("a link");
            let what = format!("a link at {}", home.display());
            if is_repaired {
                assert_found_and_repaired(&bench, &what);
            }
            bench.build("-t app:1");
            assert_eq!(bench.text("d/file", ""), "more\n", "{what}");
            let whole = verify(&bench, "--repair");
            assert_eq!(whole.code, Some(0), "{what}: {}", said(&whole));
            assert!(elsewhere.join("tree").is_file(), "{what}");
            assert!(!home.is_symlink(), "{what}");
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

/// All processors can be busy with layers of which each is read ahead.
#[test]
fn many_layers_of_many_files_are_verified() {
    let step = |number: usize| {
        format!("RUN mkdir /{number}; for i in $(seq 50); do echo $i >/{number}/$i; done\n")
    };
    let steps = 2 * std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let dockerfile = (0..steps).map(step).collect::<String>();
    let bench = Bench::with(&format!("FROM base\n{dockerfile}"));
    bench.build("");
    let mut command = bench.kiln();
    command.args(["store", "verify"]).stdout(Stdio::null());
    let mut verifying = command.spawn().expect("kiln runs");
    let end = Instant::now() + Duration::from_secs(120);
    let status = loop {
        match verifying.try_wait().expect("it was started") {
            Some(status) => break status,
            None if Instant::now() > end => {
                verifying.kill().expect("it runs");
                panic!("it does not end");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success());
}
