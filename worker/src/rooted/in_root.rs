//! Paths in a step's root, or in a part of it: links are followed, and lead nowhere else.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// Neither links nor `..` lead out, and the links of `/proc` lead nowhere.
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// Finds what `path` names within `root`, without opening it for anything; an empty path is `root`.
pub(crate) fn find_in_root(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    open_in_root(root, path, OFlags::PATH)
}

/// Opens what `path` names within `root`.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let asked = if path.is_empty() { "." } else { path };
    match openat2(root, asked, flags, Mode::empty(), WITHIN) {
        // The kernel gives up a path with `..`, of links too, if anybody on the machine renames anything
        // meanwhile. It would do so again where somebody goes on.
        Err(Errno::AGAIN) => walk_in_root(root, path, flags, &mut |_, _, _| Err(Errno::NOENT)),
        result => result,
    }
}

/// What a name becomes that is not there: it is given the directory, the name, and whether it is the path's
/// last one, and returns what it made, opened without being followed.
pub(crate) type Missing<'m> =
    dyn FnMut(BorrowedFd<'_>, &[u8], bool) -> rustix::io::Result<OwnedFd> + 'm;

/// Resolves a path as the kernel would, one name at a time, where the kernel does not suffice.
pub(crate) fn walk_in_root(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    missing: &mut Missing<'_>,
) -> rustix::io::Result<OwnedFd> {
    let mut rest: VecDeque<Vec<u8>> = names(path.as_bytes()).collect();
    // The directories from the root down to where the walk is; `..` goes back up in this list, never
    // in the file system, which another step may be changing through a shared mount.
    let mut trail = vec![rustix::io::fcntl_dupfd_cloexec(root, 0)?];
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == b".." {
            trail.truncate(trail.len().saturating_sub(1).max(1));
            continue;
        }
        let here = trail.last().expect("the root is never taken off");
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut found = match openat(here, &name[..], look, Mode::empty()) {
            Err(Errno::NOENT) => missing(here.as_fd(), &name, rest.is_empty())?,
            result => result?,
        };
        if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            let target = readlinkat(&found, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                trail.truncate(1);
            }
            for name in names(&target).rev() {
                rest.push_front(name);
            }
            continue;
        }
        if rest.is_empty() && !flags.contains(OFlags::PATH) {
            found = openat(here, &name[..], flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        trail.push(found);
    }
    trail.pop().ok_or(Errno::NOENT)
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, mkdirat, renameat_with};

    use super::*;

    const ROUNDS: usize = 10_000;

    /// A root beside a directory that is none of its business, with a directory `a` and links that want to
    /// take its place.
    fn prepare(directory: &Path) -> OwnedFd {
        let root = directory.join("root");
        fs::create_dir_all(root.join("a/b")).expect("directories");
        fs::create_dir_all(directory.join("out/b")).expect("directories");
        fs::write(root.join("a/b/f"), "inside").expect("writable");
        fs::write(directory.join("out/b/f"), "outside").expect("writable");
        symlink("../out", root.join("climbs")).expect("a link");
        symlink(directory.join("out"), root.join("jumps")).expect("a link");
        symlink("../../a/../a", root.join("near")).expect("a link");
        rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .expect("it is there")
    }

    fn exchange(root: &Path, one: &str, other: &str) {
        let (one, other) = (root.join(one), root.join(other));
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("both are there");
    }

    /// Runs `attack` while somebody swaps the directory `a` with one of the links, over and over.
    fn while_swapped(directory: &Path, mut attack: impl FnMut()) {
        let root = directory.join("root");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for link in ["climbs", "jumps", "near"] {
                        exchange(&root, "a", link);
                        exchange(&root, "a", link);
                    }
                }
            });
            let _end = EndWith(&is_over);
            (0..ROUNDS).for_each(|_| attack());
        });
    }

    /// Ends the other thread, after a panic, too.
    struct EndWith<'e>(&'e AtomicBool);

    impl Drop for EndWith<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn content(file: OwnedFd) -> String {
        let mut text = String::new();
        fs::File::from(file)
            .read_to_string(&mut text)
            .expect("readable");
        text
    }

    #[test]
    fn what_is_swapped_meanwhile_leads_nowhere_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = prepare(directory.path());
        let mut found = 0;
        while_swapped(directory.path(), || {
            for path in ["a/b/f", "/../a/b/../b/f"] {
                let by_kernel = open_in_root(root.as_fd(), path, OFlags::RDONLY);
                let none = &mut |_: BorrowedFd<'_>, _: &[u8], _: bool| Err(Errno::NOENT);
                let by_hand = walk_in_root(root.as_fd(), path, OFlags::RDONLY, none);
                for result in [by_kernel, by_hand] {
                    match result {
                        Ok(file) => {
                            assert_eq!(content(file), "inside");
                            found += 1;
                        }
                        // The links lead to nothing within the root, `near` to itself while it is `a`.
                        Err(Errno::NOENT | Errno::LOOP) => {}
                        Err(errno) => panic!("{path}: {errno}"),
                    }
                }
            }
        });
        assert!(found > 0, "the directory was there now and then");
    }

    #[test]
    fn what_is_made_meanwhile_is_made_within() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = prepare(directory.path());
        let mut number = 0;
        while_swapped(directory.path(), || {
            number += 1;
            let make = &mut |parent: BorrowedFd<'_>, name: &[u8], _: bool| {
                mkdirat(parent, name, Mode::RWXU)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(parent, name, flags, Mode::empty())
            };
            let path = format!("a/b/made-{number}/x");
            let made = walk_in_root(root.as_fd(), &path, OFlags::PATH, make);
            assert!(matches!(made, Ok(_) | Err(Errno::LOOP)), "{made:?}");
        });
        let outside = fs::read_dir(directory.path().join("out/b")).expect("it is there");
        let names: Vec<_> = outside.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["f"]);
    }

    /// While others rename, the kernel answers that it does not know where `..` leads.
    #[test]
    fn paths_with_dots_are_found_while_somebody_renames() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = prepare(directory.path());
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(elsewhere.path().join("root")).expect("a directory");
        for name in ["a", "climbs", "jumps", "near"] {
            fs::write(elsewhere.path().join("root").join(name), "").expect("writable");
        }
        while_swapped(elsewhere.path(), || {
            let found = open_in_root(root.as_fd(), "near/b/../b/f", OFlags::RDONLY);
            assert_eq!(content(found.expect("it is always there")), "inside");
        });
    }
}
