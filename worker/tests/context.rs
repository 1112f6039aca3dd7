//! Contexts that change: between two builds, between scan and pack, and while they are scanned.
//!
//! Whatever happens, a layer holds what its tree says, and nothing from outside the context.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kiln_solver::pattern::Patterns;
use kiln_solver::{RelPath, StepReporter};
use kiln_worker::context::Context;
use kiln_worker::layer::{CommitError, PackEntry, PackError, commit_layer, open_tar};
use kiln_worker::snapshot::SnapshotLayer;
use kiln_worker::store::Store;
use kiln_worker::tree::{EntryKind, View};
use rustix::fs::{CWD, RenameFlags};

/// A store, and a context beside it.
struct Ground {
    directory: tempfile::TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("context")).expect("writable");
        let store = Store::open(&directory.path().join("store")).expect("writable");
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("context").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the context")).expect("writable");
        fs::write(path, content).expect("writable");
    }

    fn open(&self) -> Context {
        let (path, silent) = (self.path(""), StepReporter::silent());
        Context::open(&self.store, &path, Patterns::default(), silent).expect("it is there")
    }

    /// What the context holds according to a new scan, which is remembered.
    fn scanned(&self) -> BTreeMap<String, EntryKind> {
        let context = self.open();
        let view = whole(&context);
        context.remember().expect("writable");
        let entries = view.subtree(&RelPath::root()).into_iter();
        entries
            .map(|found| (found.entry.path.to_string(), found.entry.kind.clone()))
            .collect()
    }

    /// Waits until the change times of files are so old that scans rely on them.
    fn settle(&self) {
        let begun = SystemTime::now();
        while begun
            .elapsed()
            .is_ok_and(|elapsed| elapsed < Duration::from_millis(120))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The bytes of a file of a layer, as its tar has them.
    fn bytes(&self, layer: &SnapshotLayer, name: &str) -> Vec<u8> {
        let reader = open_tar(&self.store, &layer.diff_id).expect("it is there");
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("a whole entry");
            if entry.path_bytes() == name.as_bytes() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("whole bytes");
                return bytes;
            }
        }
        panic!("the layer has no {name}")
    }

    fn pack(&self, context: &Context, view: &View) -> Result<SnapshotLayer, CommitError> {
        let entries = view.subtree(&RelPath::root()).into_iter();
        let entries: Vec<PackEntry> = entries
            .map(|found| PackEntry {
                bytes: context.bytes(found.entry),
                digest_is_known: true,
                entry: found.entry.clone(),
            })
            .collect();
        commit_layer(&self.store, entries.into_iter())
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

fn whole(context: &Context) -> View {
    context.view(&[RelPath::root()]).expect("it can be scanned")
}

fn file(content: &[u8]) -> EntryKind {
    EntryKind::File {
        size: content.len() as u64,
        digest: kiln_solver::ContentDigest::new(*blake3::hash(content).as_bytes()),
        offset: 0,
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("it is ours");
}

/// What somebody does to a file, and what the next scan must find.
type Change = (&'static str, fn(&Path), &'static [u8]);

#[test]
fn a_change_between_two_scans_is_seen_however_well_it_is_hidden() {
    let changes: [Change; 6] = [
        (
            "other bytes, with the size and the time of before",
            |path| {
                let time = fs::metadata(path)
                    .and_then(|m| m.modified())
                    .expect("there");
                fs::write(path, "2nd").expect("writable");
                set_modified(path, time);
            },
            b"2nd",
        ),
        (
            "another file of that size and time in its place",
            |path| {
                let time = fs::metadata(path)
                    .and_then(|m| m.modified())
                    .expect("there");
                let other = path.with_extension("new");
                fs::write(&other, "2nd").expect("writable");
                set_modified(&other, time);
                fs::rename(other, path).expect("writable");
            },
            b"2nd",
        ),
        (
            "one more byte at the end, and the time of before",
            |path| {
                let time = fs::metadata(path)
                    .and_then(|m| m.modified())
                    .expect("there");
                let mut file = File::options().append(true).open(path).expect("there");
                file.write_all(b"+").expect("writable");
                set_modified(path, time);
            },
            b"1st+",
        ),
        (
            "the bytes of before, at another time",
            |path| fs::write(path, "1st").expect("writable"),
            b"1st",
        ),
        (
            "times far in the future",
            |path| {
                fs::write(path, "2nd").expect("writable");
                set_modified(path, SystemTime::now() + Duration::from_secs(1 << 30));
            },
            b"2nd",
        ),
        (
            "times before everything",
            |path| {
                fs::write(path, "2nd").expect("writable");
                set_modified(path, SystemTime::UNIX_EPOCH);
            },
            b"2nd",
        ),
    ];
    for (what, change, expected) in changes {
        let ground = Ground::new();
        ground.write("d/f", "1st");
        ground.settle();
        // The second scan takes the index's word for it.
        for _ in 0..2 {
            assert_eq!(ground.scanned()["/d/f"], file(b"1st"), "{what}");
        }
        change(&ground.path("d/f"));
        for _ in 0..2 {
            assert_eq!(ground.scanned()["/d/f"], file(expected), "{what}");
        }
    }
}

/// A clock that shows whole ticks cannot tell two changes in one of them apart.
#[test]
fn a_change_in_the_moment_of_the_scan_is_seen() {
    let ground = Ground::new();
    for round in 0..200_u32 {
        let content = format!("{round:03}");
        ground.write("f", &content);
        assert_eq!(ground.scanned()["/f"], file(content.as_bytes()));
    }
}

/// What somebody does between scan and pack to the file `d/f`, in a context that has a `d/other`, too.
type Meddling = (&'static str, fn(&Path));

#[test]
fn what_changed_between_scan_and_pack_is_no_layer() {
    let meddlings: [Meddling; 8] = [
        ("other bytes", |d| {
            fs::write(d.join("f"), "2nd").expect("writable")
        }),
        ("longer", |d| {
            fs::write(d.join("f"), "1st and more").expect("writable")
        }),
        ("shorter", |d| {
            fs::write(d.join("f"), "1").expect("writable")
        }),
        ("empty", |d| fs::write(d.join("f"), "").expect("writable")),
        ("gone", |d| fs::remove_file(d.join("f")).expect("there")),
        ("a link to the same bytes", |d| {
            fs::rename(d.join("f"), d.join("g")).expect("there");
            symlink("g", d.join("f")).expect("writable");
        }),
        ("its directory is gone", |d| {
            fs::remove_dir_all(d).expect("there")
        }),
        ("its directory is a link to the same files", |d| {
            let elsewhere = d.with_file_name("elsewhere");
            fs::rename(d, &elsewhere).expect("there");
            symlink(elsewhere, d).expect("writable");
        }),
    ];
    for (what, meddle) in meddlings {
        // A large file is read in pieces.
        for size in [3, 2 << 20] {
            let ground = Ground::new();
            ground.write("d/f", "1st".repeat(size / 3));
            ground.write("d/other", "other");
            let context = ground.open();
            let view = whole(&context);
            meddle(&ground.path("d"));
            match ground.pack(&context, &view) {
                Err(CommitError::Pack(PackError::Changed(path))) => {
                    assert_eq!(path, ground.path("d/f").canonicalize_parent(), "{what}");
                }
                Err(other) => panic!("{what}: {other}"),
                Ok(_) => panic!("{what}: a layer of what never was"),
            }
            let scratch = fs::read_dir(ground.store.root().join("tmp")).expect("there");
            let left = scratch
                .flatten()
                .flat_map(|entry| fs::read_dir(entry.path()));
            let left: Vec<_> = left.flatten().flatten().map(|e| e.file_name()).collect();
            assert_eq!(left, ["lock"], "{what}");
        }
    }
}

/// The test's directory as the context names it.
trait CanonicalParent {
    fn canonicalize_parent(&self) -> PathBuf;
}

impl CanonicalParent for PathBuf {
    fn canonicalize_parent(&self) -> PathBuf {
        let context = self.ancestors().find(|path| path.ends_with("context"));
        let context = context.expect("it is in the context");
        let below = self.strip_prefix(context).expect("it is below");
        context.canonicalize().expect("there").join(below)
    }
}

#[test]
fn a_file_that_others_replaced_by_its_equal_is_packed() {
    let ground = Ground::new();
    ground.write("d/f", "1st");
    let context = ground.open();
    let view = whole(&context);
    ground.write("d/new", "1st");
    fs::rename(ground.path("d/new"), ground.path("d/f")).expect("writable");
    ground.pack(&context, &view).expect("it holds the same");
}

/// Runs `work` again and again while `meddle` goes on on another thread.
fn during(meddle: impl Fn() + Sync, work: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                meddle();
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_directory_that_becomes_a_link_never_leads_outside() {
    let ground = Ground::new();
    for number in 0..20 {
        ground.write(&format!("d/sub/inside{number}"), "inside");
    }
    let outside = ground.directory.path().join("outside");
    fs::create_dir_all(outside.join("sub")).expect("writable");
    fs::write(outside.join("sub/secret"), "secret").expect("writable");
    fs::write(outside.join("sub/inside0"), "secret").expect("writable");
    symlink(&outside, ground.path("link")).expect("writable");
    let (d, link) = (ground.path("d"), ground.path("link"));
    let exchange = || {
        rustix::fs::renameat_with(CWD, &d, CWD, &link, RenameFlags::EXCHANGE).expect("both exist");
    };
    let secret = file(b"secret");
    let mut scans = 0;
    during(exchange, || {
        for round in 0..400 {
            let context = ground.open();
            // By its parent, by its name, and through it.
            let wanted = [
                RelPath::root(),
                path("d"),
                path("d/sub"),
                path("d/sub/inside0"),
            ];
            let Ok(view) = context.view(&wanted[round % 4..][..1]) else {
                continue;
            };
            scans += 1;
            for found in view.subtree(&RelPath::root()) {
                assert!(!found.entry.path.to_string().contains("secret"));
                assert_ne!(found.entry.kind, secret, "{}", found.entry.path);
            }
            if let Ok(layer) = ground.pack(&context, &view) {
                let mut tar = Vec::new();
                let mut reader = open_tar(&ground.store, &layer.diff_id).expect("it is there");
                reader.read_to_end(&mut tar).expect("it is whole");
                assert!(!tar.windows(6).any(|window| window == b"secret"));
            }
        }
    });
    assert!(scans > 0, "no scan came to its end");
}

/// What becomes a layer is the file as it was at one moment.
#[test]
fn a_file_that_changes_while_it_is_scanned_is_not_torn() {
    let ground = Ground::new();
    let contents = [
        vec![b'a'; 300_000],
        vec![b'b'; 300_000],
        vec![b'c'; 200_000],
    ];
    ground.write("f", &contents[0]);
    let place = ground.path("f");
    let rewrite = || {
        for content in &contents {
            fs::write(&place, content).expect("writable");
            // Long enough that some scans meet it at rest.
            std::thread::sleep(Duration::from_millis(3));
        }
    };
    // Written anew, it is empty and then grows; how it looks on the way is a moment, too.
    let is_moment = |bytes: &[u8]| contents.iter().any(|content| content.starts_with(bytes));
    let mut packed = 0;
    during(rewrite, || {
        for _ in 0..300 {
            let context = ground.open();
            let scanned = context.view(&[RelPath::root()]);
            context.remember().expect("writable");
            let view = match scanned {
                Ok(view) => view,
                Err(error) => {
                    assert!(error.to_string().contains("once it is at rest"), "{error}");
                    continue;
                }
            };
            match ground.pack(&context, &view) {
                Ok(layer) => {
                    packed += 1;
                    assert!(is_moment(&ground.bytes(&layer, "f")), "a torn file");
                }
                Err(CommitError::Pack(PackError::Changed(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert!(packed > 0, "the file was never at rest");
    // What was learned on the way is true.
    fs::write(&place, "at rest").expect("writable");
    ground.settle();
    for _ in 0..2 {
        assert_eq!(ground.scanned()["/f"], file(b"at rest"));
    }
}

#[test]
fn files_that_come_and_go_during_the_scan_do_not_disturb_it() {
    let ground = Ground::new();
    for number in 0..200 {
        ground.write(&format!("d/stays{number}"), "stays");
    }
    let come_and_go = || {
        for number in 0..50 {
            let path = ground.path(&format!("d/comes{number}"));
            fs::write(&path, "").expect("writable");
            fs::remove_file(&path).expect("there");
        }
    };
    during(come_and_go, || {
        for _ in 0..100 {
            let view = whole(&ground.open());
            let entries = view.subtree(&path("d"));
            let stays =
                |e: &&kiln_worker::tree::Found<'_>| e.entry.path.to_string().contains("stays");
            assert_eq!(entries.iter().filter(stays).count(), 200);
        }
    });
}

#[test]
fn several_builds_of_one_context_lose_nothing_of_the_index() {
    let ground = Ground::new();
    let names: Vec<String> = (0..24).map(|number| format!("d{number}/f")).collect();
    for name in &names {
        ground.write(name, name);
    }
    ground.settle();
    let begin = std::sync::Barrier::new(names.len());
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| {
                let context = ground.open();
                context.view(&[path(name)]).expect("it can be scanned");
                begin.wait();
                context.remember().expect("writable");
            });
        }
    });
    let indexes: Vec<_> = fs::read_dir(ground.store.root().join("contexts"))
        .expect("there")
        .flatten()
        .collect();
    assert_eq!(indexes.len(), 1);
    let bytes = fs::read(indexes[0].path()).expect("readable");
    for name in &names {
        let directory = name.split('/').next().expect("it has one").as_bytes();
        let mut needle = (directory.len() as u32).to_le_bytes().to_vec();
        needle.extend_from_slice(directory);
        let is_known = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(is_known, "{name} was lost");
    }
}

#[test]
fn what_a_step_reads_does_not_depend_on_what_others_scanned_before() {
    let ground = Ground::new();
    ground.write("a/first", "linked");
    fs::create_dir(ground.path("b")).expect("writable");
    for name in ["b/second", "b/third", "c"] {
        fs::hard_link(ground.path("a/first"), ground.path(name)).expect("writable");
    }
    symlink("b", ground.path("to-b")).expect("writable");
    let requests: [&[&str]; 6] = [
        &["b"],
        &["c"],
        &["a", "c"],
        &["b/third"],
        &["to-b"],
        &["to-b/third", "b"],
    ];
    for request in requests {
        let paths: Vec<RelPath> = request.iter().map(|text| path(text)).collect();
        let kinds = |context: &Context| -> Vec<(RelPath, EntryKind)> {
            let view = context.view(&paths).expect("it can be scanned");
            let of_path = |path: &RelPath| {
                let root = view.resolve(path).expect("no loop");
                let entries = view.subtree(&root);
                let kinds = entries
                    .iter()
                    .map(|e| (e.entry.path.clone(), e.entry.kind.clone()));
                kinds.collect::<Vec<_>>()
            };
            paths.iter().flat_map(of_path).collect()
        };
        let alone = kinds(&ground.open());
        let after_others = ground.open();
        whole(&after_others);
        assert_eq!(kinds(&after_others), alone, "{request:?}");
        assert!(!alone.is_empty());
    }
}

#[test]
fn the_mode_of_a_file_is_part_of_what_a_scan_finds() {
    let ground = Ground::new();
    ground.write("f", "f");
    ground.settle();
    ground.scanned();
    fs::set_permissions(ground.path("f"), fs::Permissions::from_mode(0o751)).expect("ours");
    let view = whole(&ground.open());
    let found = view.get(&path("f")).expect("it is there");
    assert_eq!(found.entry.mode, 0o751);
}
