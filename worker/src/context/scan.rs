//! Walks a directory in parallel: ignore rules, metadata, and the hashes of files that changed.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_solver::pattern::Patterns;
use kiln_solver::{ContentDigest, RelPath, StepReporter};
use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};

use super::stat_index::{Known, KnownDirectory, Stamp, StatIndex};
use crate::io_error::{AtPath, IoError};
use crate::layer::{mtime, open_below, read_xattrs};
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree, Timestamp, Xattrs};

/// How many symbolic links a path may lead through.
const MAXIMUM_LINKS: usize = 40;
/// Between two reports of progress.
const REPORT_EVERY: u64 = 4 * 1024 * 1024;

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
            let Some(stat) = self.stat(&next)?.filter(|_| !is_hidden) else {
                return Ok(None);
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    let entry = self.entry(next.clone(), &stat, None)?;
                    let target = match &entry.entry.kind {
                        EntryKind::Symlink { target } => target.clone(),
                        _ => return Ok(None),
                    };
                    found.push(entry);
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
                FileType::Directory => {
                    found.push(self.entry(next.clone(), &stat, None)?);
                    at = next;
                }
                _ if pending.is_empty() => at = next,
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Stat>, IoError> {
        match rustix::fs::statat(self.directory, path.as_os_path(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).at("stat", self.absolute(path)),
        }
    }

    /// Everything at a resolved path and below it, in path order.
    fn below(&self, path: &RelPath) -> Result<Vec<Scanned>, IoError> {
        let is_directory = match self.stat(path)? {
            None => return Ok(Vec::new()),
            Some(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        };
        if is_directory {
            return self.list(path);
        }
        let parent = path.parent().unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_vec();
        let mut files = KnownDirectory::new();
        let known_files = self.known.directory(&parent);
        let known = lookup(&known_files, &name);
        let scanned = self.child(&parent, &name, known)?;
        files.extend(scanned.iter().filter_map(|child| self.as_known(child)));
        // Beside what is known of other files in the directory.
        let others = known_files.iter().filter(|(other, _)| **other != *name);
        files.extend(others.cloned());
        files.sort_by(|a, b| a.0.cmp(&b.0));
        self.learn(parent, &files);
        Ok(scanned.into_iter().map(|child| child.scanned).collect())
    }

    fn list(&self, path: &RelPath) -> Result<Vec<Scanned>, IoError> {
        let names = self.names(path)?;
        let known = self.known.directory(path);
        let children: Vec<Option<Child>> = names
            .par_iter()
            .with_min_len(16)
            .map(|name| self.child(path, name, lookup(&known, name)))
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
                EntryKind::Directory(_) => self.list(&child.scanned.entry.path),
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

    /// The names in a directory, sorted.
    fn names(&self, path: &RelPath) -> Result<Vec<Box<[u8]>>, IoError> {
        let absolute = || self.absolute(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.directory, path.as_os_path(), flags, Mode::empty())
            .at("open", absolute())?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut listing = RawDir::new(opened, &mut buffer);
        let mut names: Vec<Box<[u8]>> = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.at("read", absolute())?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn child(
        &self,
        parent: &RelPath,
        name: &[u8],
        known: Option<&Known>,
    ) -> Result<Option<Child>, IoError> {
        let path = parent.join_name(name);
        let is_excluded = self.excludes.excludes(&path);
        if is_excluded && !self.excludes.may_include_below(&path) {
            return Ok(None);
        }
        // Gone since it was listed.
        let Some(stat) = self.stat(&path)? else {
            return Ok(None);
        };
        if is_excluded && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(None);
        }
        let scanned = self.entry(path, &stat, known)?;
        Ok(Some(Child {
            scanned,
            is_excluded,
            stamp: Stamp::of(&stat),
        }))
    }

    fn entry(&self, path: RelPath, stat: &Stat, known: Option<&Known>) -> Result<Scanned, IoError> {
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let mut xattrs = Xattrs::new();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let digest = match known.filter(|known| known.stamp == Stamp::of(stat)) {
                    Some(known) => {
                        xattrs.clone_from(&known.xattrs);
                        known.digest
                    }
                    None => {
                        xattrs = read_xattrs(&self.absolute(&path))?;
                        self.hash(&path, size)?
                    }
                };
                EntryKind::File {
                    size,
                    digest,
                    offset: 0,
                }
            }
            FileType::Directory => {
                xattrs = read_xattrs(&self.absolute(&path))?;
                EntryKind::Directory(DirectoryKind::Merged)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(self.directory, path.as_os_path(), Vec::new())
                    .at("read", self.absolute(&path))?;
                EntryKind::Symlink {
                    target: target.as_bytes().into(),
                }
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
        let is_linked = matches!(kind, EntryKind::File { .. }) && stat.st_nlink > 1;
        let inode = is_linked.then_some((stat.st_dev, stat.st_ino));
        // Whoever owns the context's files on the client does not matter to an image.
        let entry = Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime: mtime(stat),
            xattrs,
        };
        Ok(Scanned { entry, inode })
    }

    fn hash(&self, path: &RelPath, size: u64) -> Result<ContentDigest, IoError> {
        let absolute = || self.absolute(path);
        let mut file = open_below(self.directory, path).at("open", absolute())?;
        let digest = hash_file(&mut file, size).at("read", absolute())?;
        let before = self.hashed.fetch_add(size, Ordering::Relaxed);
        if before / REPORT_EVERY != (before + size) / REPORT_EVERY {
            self.reporter
                .transferred("transferring context", before + size, None);
        }
        Ok(digest)
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

    fn absolute(&self, path: &RelPath) -> PathBuf {
        if path.is_root() {
            self.root.to_owned()
        } else {
            self.root.join(path.as_os_path())
        }
    }
}

struct Child {
    scanned: Scanned,
    /// Itself; something below it may be included.
    is_excluded: bool,
    stamp: Stamp,
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
