//! Walks a directory in parallel: ignore rules, metadata, and the hashes of files that changed.
//!
//! Others may write to it meanwhile. What is read of a file counts only if the file was the same before
//! and after, and is read again otherwise.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_solver::pattern::Patterns;
use kiln_solver::{ContentDigest, RelPath, StepReporter};
use rayon::prelude::*;
use rustix::fs::{FileType, Stat};

use super::directory::Directory;
use super::stat_index::{Known, KnownDirectory, Stamp, StatIndex};
use crate::io_error::{AtPath, IoError};
use crate::layer::mtime;
use crate::rooted::described;
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree, Timestamp, Xattrs};

/// How many symbolic links a path may lead through.
const MAXIMUM_LINKS: usize = 40;
/// Between two reports of progress.
const REPORT_EVERY: u64 = 4 * 1024 * 1024;
/// How often something is looked at that changes at the same time.
const ATTEMPTS: usize = 5;

/// What a scan found.
pub(super) struct Scan {
    pub(super) tree: LayerTree,
    pub(super) index: StatIndex,
}

pub(super) struct Scanner<'s> {
    root: &'s Path,
    directory: &'s OwnedFd,
    excludes: &'s Patterns,
    known: &'s StatIndex,
    reporter: &'s StepReporter,
    started: Timestamp,
    learned: Mutex<StatIndex>,
    hashed: AtomicU64,
}

/// An entry, and for a file with several names, which file it is.
struct Scanned {
    entry: Entry,
    inode: Option<(u64, u64)>,
}

impl Scanned {
    fn new(path: &RelPath, stat: &Stat, kind: EntryKind, xattrs: Xattrs) -> Self {
        let is_linked = matches!(kind, EntryKind::File { .. }) && stat.st_nlink > 1;
        // Whoever owns the context's files on the client does not matter to an image.
        let entry = Entry {
            path: path.clone(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime: mtime(stat),
            xattrs,
        };
        Self {
            entry,
            inode: is_linked.then_some((stat.st_dev, stat.st_ino)),
        }
    }
}

impl<'s> Scanner<'s> {
    pub(super) fn new(
        root: &'s Path,
        directory: &'s OwnedFd,
        excludes: &'s Patterns,
        known: &'s StatIndex,
        reporter: &'s StepReporter,
    ) -> Self {
        Self {
            root,
            directory,
            excludes,
            known,
            reporter,
            started: Timestamp::now(),
            learned: Mutex::default(),
            hashed: AtomicU64::new(0),
        }
    }

    /// Scans a path and all below it; the tree also has the path's parents, and the symbolic links
    /// that led to it.
    pub(super) fn scan(self, path: &RelPath) -> Result<Scan, IoError> {
        let mut found = Vec::new();
        if let Some(target) = self.follow(path, &mut found)? {
            found.extend(self.below(&target)?);
        }
        let hashed = self.hashed.load(Ordering::Relaxed);
        if hashed > 0 {
            self.reporter
                .transferred("transferring context", hashed, None);
        }
        let learned = self
            .learned
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Scan {
            tree: tree(found),
            index: learned,
        })
    }

    /// Goes down to a path, links followed inside the root, and returns where it leads; the parents
    /// and links on the way are added to `found`. `None` if nothing is there.
    fn follow(&self, path: &RelPath, found: &mut Vec<Scanned>) -> Result<Option<RelPath>, IoError> {
        let mut pending: Vec<Box<[u8]>> = path.components().rev().map(Into::into).collect();
        let mut at = RelPath::root();
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if &*component == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            let next = at.join_name(&component);
            let is_hidden =
                self.excludes.excludes(&next) && !self.excludes.may_include_below(&next);
            let Some(directory) = self.open(&at)?.filter(|_| !is_hidden) else {
                return Ok(None);
            };
            let Some(passed) = self.passed(&directory, &next)? else {
                return Ok(None);
            };
            let target = match &passed.entry.kind {
                EntryKind::Symlink { target } => target.clone(),
                EntryKind::Directory(_) => {
                    at = next;
                    found.push(passed);
                    continue;
                }
                // What the path leads to is looked at later.
                _ if pending.is_empty() => return Ok(Some(next)),
                _ => return Ok(None),
            };
            found.push(passed);
            links += 1;
            if links > MAXIMUM_LINKS {
                return Ok(None);
            }
            if target.first() == Some(&b'/') {
                at = RelPath::root();
            }
            let names = target
                .split(|b| *b == b'/')
                .filter(|c| !matches!(*c, b"" | b"."));
            pending.extend(names.rev().map(Into::into));
        }
        Ok(Some(at))
    }

    /// What a path leads through; the bytes of files are not looked at.
    fn passed(&self, directory: &Directory, path: &RelPath) -> Result<Option<Scanned>, IoError> {
        let name = path.file_name().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let Some(stat) = directory.stat(name)? else {
                return Ok(None);
            };
            let scanned = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink | FileType::Directory => {
                    self.look_at(directory, path, &stat, None)?
                }
                _ => Some(Scanned::new(path, &stat, EntryKind::Fifo, Xattrs::new())),
            };
            if scanned.is_some() {
                return Ok(scanned);
            }
        }
        Err(restless(directory, name))
    }

    fn open(&self, path: &RelPath) -> Result<Option<Directory>, IoError> {
        Directory::open(self.directory, self.root, path)
    }

    /// Everything at a resolved path and below it, in path order.
    fn below(&self, path: &RelPath) -> Result<Vec<Scanned>, IoError> {
        if let Some(directory) = self.open(path)? {
            return self.list(&directory, path);
        }
        let parent = path.parent().unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_vec();
        let Some(directory) = self.open(&parent)? else {
            return Ok(Vec::new());
        };
        let mut files = KnownDirectory::new();
        let known_files = self.known.directory(&parent);
        let known = lookup(&known_files, &name);
        let scanned = self.child(&directory, &parent, &name, known)?;
        files.extend(scanned.iter().filter_map(|child| self.as_known(child)));
        // Beside what is known of other files in the directory.
        let others = known_files.iter().filter(|(other, _)| **other != *name);
        files.extend(others.cloned());
        files.sort_by(|a, b| a.0.cmp(&b.0));
        self.learn(parent, &files);
        Ok(scanned.into_iter().map(|child| child.scanned).collect())
    }

    fn list(&self, directory: &Directory, path: &RelPath) -> Result<Vec<Scanned>, IoError> {
        let names = directory.names()?;
        let known = self.known.directory(path);
        let children: Vec<Option<Child>> = names
            .par_iter()
            .with_min_len(16)
            .map(|name| self.child(directory, path, name, lookup(&known, name)))
            .collect::<Result<_, _>>()?;
        let children: Vec<Child> = children.into_iter().flatten().collect();
        let files = children
            .iter()
            .filter_map(|child| self.as_known(child))
            .collect();
        self.learn(path.clone(), &files);
        let mut all = Vec::with_capacity(children.len());
        let below: Vec<Vec<Scanned>> = children
            .par_iter()
            .map(|child| match child.scanned.entry.kind {
                EntryKind::Directory(_) => self.list_child(&child.scanned.entry.path),
                _ => Ok(Vec::new()),
            })
            .collect::<Result<_, _>>()?;
        for (child, below) in children.into_iter().zip(below) {
            let only_leads_somewhere = child.is_excluded && below.is_empty();
            if !only_leads_somewhere {
                all.push(child.scanned);
                all.extend(below);
            }
        }
        Ok(all)
    }

    /// What is in a directory that was there a moment ago.
    fn list_child(&self, path: &RelPath) -> Result<Vec<Scanned>, IoError> {
        match self.open(path)? {
            Some(directory) => self.list(&directory, path),
            None => {
                let gone = io::Error::other(
                    "it was a directory a moment ago; build again once it is at rest",
                );
                Err(gone).at("read", described(self.root, path))
            }
        }
    }

    fn child(
        &self,
        directory: &Directory,
        parent: &RelPath,
        name: &[u8],
        known: Option<&Known>,
    ) -> Result<Option<Child>, IoError> {
        let path = parent.join_name(name);
        let is_excluded = self.excludes.excludes(&path);
        if is_excluded && !self.excludes.may_include_below(&path) {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            // Gone since it was listed.
            let Some(stat) = directory.stat(name)? else {
                return Ok(None);
            };
            if is_excluded && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Ok(None);
            }
            if let Some(scanned) = self.look_at(directory, &path, &stat, known)? {
                let stamp = Stamp::of(&stat);
                return Ok(Some(Child {
                    scanned,
                    is_excluded,
                    stamp,
                }));
            }
        }
        Err(restless(directory, name))
    }

    /// What is at a path that `stat` tells of; `None` if it is something else by now.
    fn look_at(
        &self,
        directory: &Directory,
        path: &RelPath,
        stat: &Stat,
        known: Option<&Known>,
    ) -> Result<Option<Scanned>, IoError> {
        let name = path.file_name().unwrap_or_default();
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let mut xattrs = Xattrs::new();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let known = known.filter(|known| known.stamp == Stamp::of(stat));
                let digest = match known {
                    Some(known) => {
                        xattrs.clone_from(&known.xattrs);
                        known.digest
                    }
                    None => {
                        let Some(read) = self.read(directory, name, stat)? else {
                            return Ok(None);
                        };
                        xattrs = read.xattrs;
                        read.digest
                    }
                };
                EntryKind::File {
                    size: size(stat),
                    digest,
                    offset: 0,
                }
            }
            FileType::Directory => {
                let Some(found) = directory.xattrs(name)? else {
                    return Ok(None);
                };
                xattrs = found;
                EntryKind::Directory(DirectoryKind::Merged)
            }
            FileType::Symlink => {
                let Some(target) = directory.read_link(name)? else {
                    return Ok(None);
                };
                EntryKind::Symlink { target }
            }
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Socket | FileType::Unknown => EntryKind::File {
                size: 0,
                digest: ContentDigest::new(*blake3::hash(b"").as_bytes()),
                offset: 0,
            },
        };
        Ok(Some(Scanned::new(path, stat, kind, xattrs)))
    }

    /// Reads a file that `stat` tells of; `None` if it is not the same any more at the end.
    fn read(
        &self,
        directory: &Directory,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Option<Bytes>, IoError> {
        let Some(mut file) = directory.open_file(name)? else {
            return Ok(None);
        };
        let size = size(stat);
        let digest = hash_file(&mut file, size).at("read", directory.absolute(name))?;
        let xattrs = match has_no_xattrs(&file) {
            true => Some(Xattrs::new()),
            false => directory.xattrs(name)?,
        };
        let after = directory.stat(name)?.map(|stat| Stamp::of(&stat));
        if after != Some(Stamp::of(stat)) {
            return Ok(None);
        }
        let before = self.hashed.fetch_add(size, Ordering::Relaxed);
        if before / REPORT_EVERY != (before + size) / REPORT_EVERY {
            self.reporter
                .transferred("transferring context", before + size, None);
        }
        Ok(xattrs.map(|xattrs| Bytes { digest, xattrs }))
    }

    fn as_known(&self, child: &Child) -> Option<(Box<[u8]>, Known)> {
        let entry = &child.scanned.entry;
        let EntryKind::File { digest, .. } = entry.kind else {
            return None;
        };
        let name = entry.path.file_name()?;
        let known = Known {
            stamp: child.stamp,
            digest,
            xattrs: entry.xattrs.clone(),
        };
        child
            .stamp
            .is_settled_at(self.started)
            .then(|| (name.into(), known))
    }

    fn learn(&self, path: RelPath, files: &KnownDirectory) {
        let mut learned = self
            .learned
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        learned.learn(path, files, self.known);
    }
}

/// What was read of a file.
struct Bytes {
    digest: ContentDigest,
    xattrs: Xattrs,
}

struct Child {
    scanned: Scanned,
    /// Itself; something below it may be included.
    is_excluded: bool,
    stamp: Stamp,
}

/// Whether a file certainly has no extended attributes, as most; a name alone is slower to ask.
fn has_no_xattrs(file: &File) -> bool {
    use rustix::io::Errno;
    let mut names = [0; 64];
    let listed = rustix::fs::flistxattr(file, &mut names[..]);
    matches!(listed, Ok(0) | Err(Errno::OPNOTSUPP))
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn restless(directory: &Directory, name: &[u8]) -> IoError {
    let source = "it changes all the time; build again once it is at rest, or leave it out with .dockerignore";
    IoError {
        action: "read",
        path: directory.absolute(name),
        source: io::Error::other(source),
    }
}

fn lookup<'k>(known: &'k [(Box<[u8]>, Known)], name: &[u8]) -> Option<&'k Known> {
    let index = known
        .binary_search_by(|(other, _)| (**other).cmp(name))
        .ok()?;
    Some(&known[index].1)
}

fn hash_file(file: &mut impl Read, size: u64) -> io::Result<ContentDigest> {
    // One read tells that a small file is at its end.
    let mut buffer = vec![
        0;
        usize::try_from(size + 1)
            .unwrap_or(usize::MAX)
            .min(128 * 1024)
    ];
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    loop {
        let length = file.read(&mut buffer)?;
        hasher.update(&buffer[..length]);
        total += length as u64;
        if length == 0 || (total == size && length < buffer.len()) {
            return Ok(ContentDigest::new(*hasher.finalize().as_bytes()));
        }
    }
}

/// Makes a tree; of several names of one file, the first is the file and the others are links.
fn tree(mut found: Vec<Scanned>) -> LayerTree {
    if !found.is_sorted_by(|a, b| a.entry.path < b.entry.path) {
        found.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        found.dedup_by(|a, b| a.entry.path == b.entry.path);
    }
    let mut first_names = std::collections::HashMap::new();
    for Scanned { entry, inode } in &mut found {
        let Some(inode) = *inode else { continue };
        match first_names.get(&inode) {
            None => {
                first_names.insert(inode, entry.path.clone());
            }
            Some(first) => {
                entry.kind = EntryKind::HardLink {
                    target: RelPath::clone(first),
                }
            }
        }
    }
    LayerTree::from_sorted(found.into_iter().map(|scanned| scanned.entry).collect())
}
