//! The directory that is made while a layer is packed is the one that would be made of the layer later.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kiln_solver::RelPath;
use kiln_worker::layer::{
    PackEntry, Wanted, can_share_bytes, commit_layer, commit_layer_ahead, diff, directory,
};
use kiln_worker::snapshot::SnapshotLayer;
use kiln_worker::store::Store;
use kiln_worker::tree::{DirectoryKind, Entry, EntryKind, Timestamp, View};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, UTIME_NOW, mknodat, utimensat};

fn wanted() -> Wanted {
    Wanted {
        directory: true,
        ..Wanted::default()
    }
}

fn store(directory: &Path, name: &str) -> Store {
    Store::open(&directory.join(name)).expect("a store")
}

/// The directory that the store has of a layer, without making one.
fn ready(store: &Store, layer: &SnapshotLayer) -> Option<PathBuf> {
    store.layers().directory(&layer.diff_id, "")
}

/// Files of all kinds, among them some that are read ahead in several batches and one that is not.
fn fill(root: &Path) {
    let write = |name: &str, bytes: &[u8], mode: u32| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    for number in 0..700 {
        write(
            &format!("many/{}/{number}", number % 7),
            number.to_string().as_bytes(),
            0o640,
        );
    }
    write("large", &vec![b'x'; 300_000], 0o600);
    write("holes", &vec![0; 200_000], 0o644);
    write("program", b"#!/bin/sh\n", 0o4755);
    write("empty", b"", 0o444);
    write("closed/within", b"secret", 0o000);
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o111)).expect("chmod");
    std::os::unix::fs::chown(root.join("empty"), Some(7), Some(9)).expect("chown");
    symlink("/nowhere", root.join("link")).expect("a link");
    for (name, target) in [("large-too", "large"), ("many/too", "many/3/3")] {
        fs::hard_link(root.join(target), root.join(name)).expect("a hard link");
    }
    let mode = Mode::from_raw_mode(0o620);
    mknodat(CWD, root.join("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
    let device = rustix::fs::makedev(1, 3);
    mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        device,
    )
    .expect("root may");
    let attribute = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("program"), "user.kiln", b"yes", attribute).expect("an xattr");
    let old = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        last_modification: Timespec {
            tv_sec: 1_000_000,
            tv_nsec: 123_456_789,
        },
    };
    for name in ["large", "many/3", "closed", "pipe"] {
        utimensat(CWD, root.join(name), &old, rustix::fs::AtFlags::empty()).expect("utimes");
    }
}

/// All that can be seen of what is in a directory.
fn seen(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            let stat = path.symlink_metadata().expect("metadata");
            let name = path.strip_prefix(root).expect("below").display();
            let content = match stat.mode() & libc::S_IFMT {
                libc::S_IFREG => blake3::hash(&fs::read(&path).expect("it reads")).to_string(),
                libc::S_IFLNK => fs::read_link(&path).expect("a link").display().to_string(),
                _ => String::new(),
            };
            let mut attribute = [0; 16];
            let attribute = rustix::fs::lgetxattr(&path, "user.kiln", &mut attribute[..]);
            let links = if stat.is_dir() { 0 } else { stat.nlink() };
            lines.push(format!(
                "{name} {:o} {}:{} {} {}.{} {} {links} {content} {attribute:?}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.size() * u64::from(!stat.is_dir()),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.rdev(),
            ));
            if stat.is_dir() {
                pending.push(path);
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn it_is_what_would_be_made_later() {
    let home = tempfile::tempdir().expect("a directory");
    let files = home.path().join("files");
    fs::create_dir(&files).expect("a directory");
    fill(&files);
    let entries = || diff(&files, &View::default()).expect("it can be read");
    let (now, later) = (store(home.path(), "now"), store(home.path(), "later"));
    let layer = commit_layer_ahead(&now, entries(), &wanted()).expect("a layer");
    let same = commit_layer(&later, entries()).expect("a layer");
    assert_eq!(layer.diff_id, same.diff_id);
    assert_eq!(ready(&later, &same), None);
    let made = directory(&later, &View::default(), &same.diff_id).expect("a directory");
    if can_share_bytes(&now) {
        return assert_eq!(ready(&now, &layer), None);
    }
    let ready = ready(&now, &layer).expect("it is there at once");
    let seen_now = seen(&ready);
    assert_eq!(seen_now.len(), 719);
    assert_eq!(seen_now, seen(&made));
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).expect("a path")
}

fn entry(name: &str, kind: EntryKind) -> PackEntry {
    let bytes = kiln_worker::layer::FileBytes::Memory(b"x"[..].into());
    let entry = Entry::directory(path(name), 0o755, Timestamp::default());
    PackEntry {
        entry: Entry { kind, ..entry },
        bytes,
        digest_is_known: false,
    }
}

fn file() -> EntryKind {
    EntryKind::File {
        size: 1,
        digest: kiln_solver::ContentDigest::new([0; 32]),
        offset: 0,
    }
}

#[test]
fn nothing_is_made_behind_a_link() {
    let home = tempfile::tempdir().expect("a directory");
    let outside = home.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    let target = outside.to_str().expect("plain").as_bytes().to_vec();
    let link = || {
        entry(
            "a",
            EntryKind::Symlink {
                target: target.clone().into(),
            },
        )
    };
    let implied = || entry("a", EntryKind::Directory(DirectoryKind::Implied));
    let merged = || entry("a", EntryKind::Directory(DirectoryKind::Merged));
    for (first, is_ready) in [(link(), false), (implied(), false), (merged(), true)] {
        let store = store(home.path(), "store");
        let entries = vec![first, entry("a/b", file()), entry("c", file())];
        let layer = commit_layer_ahead(&store, entries.into_iter(), &wanted()).expect("a layer");
        let is_wanted = is_ready && !can_share_bytes(&store);
        assert_eq!(ready(&store, &layer).is_some(), is_wanted);
        assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0);
        fs::remove_dir_all(home.path().join("store")).expect("it can be removed");
    }
}
