//! What a build must not leave behind: mounts, processes, work in progress, locks.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::bench::text;

/// Fails if anything of a build on this store is left but the store itself.
#[track_caller]
pub(crate) fn assert_clean(store: &Path) {
    assert_eq!(mounts(store), [""; 0], "mounts");
    assert_eq!(processes(store), [""; 0], "processes");
    if let Ok(entries) = fs::read_dir(store.join("tmp")) {
        let left: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        let inside = left.iter().flat_map(fs::read_dir).flatten().flatten();
        let inside: Vec<_> = inside.map(|entry| entry.path()).collect();
        assert!(
            left.is_empty(),
            "work in progress: {left:?}, with {inside:?}"
        );
    }
    assert_unlocked(store);
}

/// Fails if the store is locked.
#[track_caller]
pub(crate) fn assert_unlocked(store: &Path) {
    if let Ok(lock) = File::open(store.join("lock")) {
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .expect("nobody has the lock");
    }
}

/// Mounts below or of the store, in whatever namespace there is.
pub(crate) fn mounts(store: &Path) -> Vec<String> {
    let store = store.to_str().expect("tests use plain names");
    let mut found = Vec::new();
    for process in all_processes() {
        let Ok(mounts) = fs::read_to_string(process.join("mountinfo")) else {
            continue;
        };
        let lines = mounts.lines().filter(|line| is_of(line, store));
        found.extend(lines.map(|line| format!("{}: {line}", process.display())));
    }
    found
}

/// Processes that have the store in their environment or are rooted in a mount of it.
pub(crate) fn processes(store: &Path) -> Vec<String> {
    let needle = store.to_str().expect("tests use plain names").as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let mut found = Vec::new();
    for process in all_processes() {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let command = read("cmdline");
        let mounts = String::from_utf8_lossy(&read("mountinfo")).into_owned();
        let has_mount = mounts.lines().any(|line| is_of(line, text(store)));
        if holds(&command) || holds(&read("environ")) || has_mount {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("{}: {command}", process.display()));
        }
    }
    found
}

/// Whether a line of mountinfo is of a build on this store. The store may be a disk of its own.
fn is_of(line: &str, store: &str) -> bool {
    line.contains(store) && !line.contains(&format!(" {store} "))
}

fn all_processes() -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let paths = entries.flatten().map(|entry| entry.path());
    let is_process = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    paths.filter(is_process).collect()
}
