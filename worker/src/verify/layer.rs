//! One layer: its tree, its directories, and the tars that hold it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use kiln_solver::{ContentDigest, DiffId, RelPath};
use rustix::fs::{Mode, OFlags, major, minor};
use rustix::io::Errno;

use super::{Damage, Damaged, State, digest};
use crate::gc::GcError;
use crate::io_error::AtPath;
use crate::layer::{
    Contents, OPAQUE_ATTRIBUTES, PackEntry, PackError, opaque_marker, pack, parse_layer,
    read_xattrs,
};
use crate::rooted::{Parents, open_beneath, through};
use crate::store::{LayerBlob, Store};
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree};

/// What came of looking at a layer.
pub(super) struct LayerCheck {
    pub(super) diff_id: Option<DiffId>,
    /// Whether it can be used.
    pub(super) is_whole: bool,
    /// Whether it is unpacked in part, but nothing says what it holds: a build makes it, or left it so, or
    /// what said so is gone.
    pub(super) lacks_tree: bool,
    pub(super) damage: Vec<Damage>,
}

impl LayerCheck {
    fn broken(diff_id: DiffId, problem: String) -> Self {
        let what = Damaged::Layer(diff_id);
        Self {
            diff_id: Some(diff_id),
            is_whole: false,
            lacks_tree: false,
            damage: vec![Damage { what, problem }],
        }
    }
}

/// Checks the layer in `layers/NAME`.
pub(super) fn check_layer(store: &Store, name: &str, state: &State) -> Result<LayerCheck, GcError> {
    let home = store.lease("layers", name)?;
    let Some(diff_id) = digest::<DiffId>(name) else {
        let what = Damaged::Directory(home);
        let problem = "its name is no digest".to_owned();
        let damage = vec![Damage { what, problem }];
        return Ok(LayerCheck {
            diff_id: None,
            is_whole: false,
            lacks_tree: false,
            damage,
        });
    };
    if home.is_symlink() {
        let problem = "there is a link in its place".to_owned();
        return Ok(LayerCheck::broken(diff_id, problem));
    }
    let mut check = LayerCheck {
        diff_id: Some(diff_id),
        is_whole: true,
        lacks_tree: false,
        damage: Vec::new(),
    };
    let found = from_tar(store, &diff_id, state, &mut check.damage);
    let tree = match fs::read(home.join("tree")) {
        Ok(bytes) => LayerTree::decode(&bytes).map_err(|error| error.to_string()),
        // It is being made, or a build was killed that made it: nobody has it yet.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            check.lacks_tree = found.is_some() && home.exists();
            check.diff_id = found.map(|_| diff_id);
            return Ok(check);
        }
        Err(error) => Err(error.to_string()),
    };
    let directories = directories(&home)?;
    let tree = match (tree, &found) {
        (Ok(tree), Some(in_tar)) if is_same(&tree, in_tar) => tree,
        (Ok(_), Some(_)) => {
            return Ok(LayerCheck::broken(
                diff_id,
                "its tree is not what its tar holds".to_owned(),
            ));
        }
        (Ok(tree), None) => match packs_to(&tree, &home.join("fs"), &diff_id) {
            Ok(()) => tree,
            Err(problem) => return Ok(LayerCheck::broken(diff_id, problem)),
        },
        (Err(problem), _) => return Ok(LayerCheck::broken(diff_id, problem)),
    };
    for (name, path) in directories {
        let problem = match &*name {
            "fs" => check_directory(&tree, &path),
            _ => check_variant(&tree, &path),
        };
        let Some(problem) = problem.at("check", &path)? else {
            continue;
        };
        if found.is_none() {
            return Ok(LayerCheck::broken(diff_id, problem));
        }
        check.damage.push(Damage {
            what: Damaged::Directory(path),
            problem,
        });
    }
    Ok(check)
}

/// What the layer holds by one of its tars, if a whole one is there. Blobs that are said to hold the
/// layer and do not are damage.
fn from_tar(
    store: &Store,
    diff_id: &DiffId,
    state: &State,
    damage: &mut Vec<Damage>,
) -> Option<LayerTree> {
    let plain = LayerBlob {
        compression: String::new(),
        digest: (*diff_id).into(),
        size: 0,
        media_type: String::new(),
        is_proven: true,
    };
    let claims = state.claims.get(diff_id).into_iter().flatten();
    let mut found = None;
    for blob in std::iter::once(&plain).chain(claims) {
        let is_plain = blob.digest == plain.digest;
        let is_known = found.is_some() && is_plain;
        if is_known || state.bad_blobs.contains(&blob.digest) || !store.has_blob(&blob.digest) {
            continue;
        }
        match parse_layer(store, diff_id, blob) {
            Ok(tree) => found = Some(tree),
            Err(error) => damage.push(Damage {
                what: Damaged::LayerBlob(*diff_id, blob.compression.clone()),
                problem: error.to_string(),
            }),
        }
    }
    found
}

/// Whether a tree says what a tar holds; the tar knows times in seconds only.
fn is_same(tree: &LayerTree, in_tar: &LayerTree) -> bool {
    let entries = tree.entries().iter().zip(in_tar.entries());
    tree.entries().len() == in_tar.entries().len()
        && entries.into_iter().all(|(a, b)| {
            let mut a = a.clone();
            a.mtime.nanoseconds = b.mtime.nanoseconds;
            a == *b
        })
}

/// Packs a directory again; an error says why that does not give the layer.
fn packs_to(tree: &LayerTree, directory: &Path, diff_id: &DiffId) -> Result<(), String> {
    if !directory.exists() {
        return Err("neither its tar nor its files are there".to_owned());
    }
    let contents = Contents::open_directory(directory.to_owned()).map_err(|e| e.to_string())?;
    let entries = tree.entries().iter();
    let entries: Vec<PackEntry> = entries
        .filter(|entry| !matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied)))
        .map(|entry| PackEntry {
            bytes: contents.bytes(entry),
            digest_is_known: true,
            entry: entry.clone(),
        })
        .collect();
    match pack(entries.into_iter(), &mut io::sink()) {
        Ok(packed) if packed.diff_id == *diff_id => Ok(()),
        Ok(packed) => Err(format!("its files pack to {}", packed.diff_id)),
        Err(PackError::Changed(path)) => Err(format!(
            "{}: it is not what the layer has there",
            path.display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn directories(home: &Path) -> Result<Vec<(String, std::path::PathBuf)>, GcError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(home).at("list", home)? {
        let entry = entry.at("list", home)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("fs") {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// What is wrong with a layer's directory. What it has beside the layer's entries does not count: a
/// RUN leaves there what it opened without changing it.
fn check_directory(tree: &LayerTree, root: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags, Mode::empty())?;
    let mut parents = Parents::below(&opened);
    for entry in tree.entries() {
        let problem = match entry.path.is_root() {
            true => check_root(entry, root)?,
            false => check_entry(entry, &opened, &mut parents)?,
        };
        if let Some(problem) = problem {
            return Ok(Some(format!("{}: {problem}", entry.path)));
        }
    }
    check_marks(tree, root)
}

/// Of the layer's root directory, the mode and the owner; its time is not the layer's alone.
fn check_root(entry: &Entry, root: &Path) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(root)?;
    let is_implied = matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied));
    let found = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    let is_right = is_implied || found == (entry.mode, entry.uid, entry.gid);
    Ok((!is_right).then(|| "its mode or owner is not the layer's".to_owned()))
}

/// A directory that is marked opaque and is not so in the layer hides what the layers below have.
fn check_marks(tree: &LayerTree, root: &Path) -> io::Result<Option<String>> {
    for path in marked_directories(root)? {
        let below = path.strip_prefix(root).unwrap_or(&path);
        let below = RelPath::parse(below.as_os_str().as_bytes()).unwrap_or_default();
        let entry = tree.get(&below);
        let is_opaque =
            |entry: &Entry| matches!(entry.kind, EntryKind::Directory(DirectoryKind::Opaque));
        if !entry.is_some_and(is_opaque) {
            return Ok(Some(format!(
                "{below}: it hides what is below it, as the layer does not"
            )));
        }
    }
    Ok(None)
}

/// The directories of a layer that overlayfs takes for opaque, whoever mounts them.
fn marked_directories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut marked = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
        if is_marked(&directory)? {
            marked.push(directory);
        }
    }
    Ok(marked)
}

fn is_marked(directory: &Path) -> io::Result<bool> {
    for attribute in OPAQUE_ATTRIBUTES {
        match rustix::fs::lgetxattr(directory, attribute, &mut [0; 16]) {
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

fn check_entry(
    entry: &Entry,
    root: &OwnedFd,
    parents: &mut Parents<'_>,
) -> io::Result<Option<String>> {
    let found = parents.of(&entry.path).map_err(io::Error::from);
    let found = found.and_then(|(parent, name)| {
        let path = through(&parent, name);
        Ok((fs::symlink_metadata(&path)?, path, parent))
    });
    // The path is good for as long as the directory is open.
    let (metadata, path, _parent) = match found {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Devices are left out where they cannot be made.
            let is_device = matches!(
                entry.kind,
                EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
            );
            return Ok((!is_device).then(|| "it is missing".to_owned()));
        }
        Err(error) if is_elsewhere(&error) => {
            return Ok(Some("what it is in is no directory".to_owned()));
        }
        found => found?,
    };
    let kind = metadata.file_type();
    let device = (major(metadata.rdev()), minor(metadata.rdev()));
    let is_right = match &entry.kind {
        EntryKind::File { size, digest, .. } => {
            kind.is_file() && metadata.len() == *size && hash(&path)? == *digest
        }
        EntryKind::Directory(DirectoryKind::Opaque) => {
            let mut value = [0; 1];
            let marked = rustix::fs::lgetxattr(&path, opaque_marker(), &mut value);
            kind.is_dir() && marked == Ok(1) && value == *b"y"
        }
        EntryKind::Directory(_) => kind.is_dir(),
        EntryKind::Symlink { target } => {
            kind.is_symlink() && fs::read_link(&path)?.as_os_str().as_bytes() == &**target
        }
        EntryKind::HardLink { target } => {
            let target = open_beneath(root, target, OFlags::PATH).and_then(rustix::fs::fstat);
            target.is_ok_and(|target| target.st_ino == metadata.ino())
        }
        EntryKind::Fifo => kind.is_fifo(),
        EntryKind::CharDevice { major, minor } => {
            kind.is_char_device() && device == (*major, *minor)
        }
        EntryKind::BlockDevice { major, minor } => {
            kind.is_block_device() && device == (*major, *minor)
        }
        EntryKind::Whiteout => return Ok((device != (0, 0)).then(|| "it is there".to_owned())),
    };
    if !is_right {
        return Ok(Some("it is not what the layer has there".to_owned()));
    }
    let is_implied = matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied));
    let is_link = matches!(
        entry.kind,
        EntryKind::Symlink { .. } | EntryKind::HardLink { .. }
    );
    if is_implied || is_link {
        return Ok(None);
    }
    let owner = (metadata.uid(), metadata.gid());
    if (metadata.mode() & 0o7777, owner) != (entry.mode, (entry.uid, entry.gid)) {
        return Ok(Some("its mode or owner is not the layer's".to_owned()));
    }
    if metadata.mtime() != entry.mtime.seconds {
        return Ok(Some("its time is not the layer's".to_owned()));
    }
    // Attributes that this disk or user cannot have were left out.
    let xattrs = read_xattrs(&path).map_err(|error| error.source)?;
    let is_foreign = xattrs
        .iter()
        .any(|attribute| !entry.xattrs.contains(attribute));
    Ok(is_foreign.then(|| "its extended attributes are not the layer's".to_owned()))
}

/// Whether something on the way to an entry is a link or a file.
fn is_elsewhere(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::LOOP | Errno::NOTDIR))
}

/// What is wrong with a directory whose entries stand elsewhere than in the layer, depending on what
/// was below: it has the same files, wherever they are.
fn check_variant(tree: &LayerTree, root: &Path) -> io::Result<Option<String>> {
    let mut expected: HashMap<ContentDigest, usize> = HashMap::new();
    for entry in tree.entries() {
        if let EntryKind::File { digest, .. } = entry.kind {
            *expected.entry(digest).or_default() += 1;
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                pending.push(path);
            } else if metadata.is_file() && seen.insert(metadata.ino()) {
                match expected.get_mut(&hash(&path)?) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => {
                        let path = path.strip_prefix(root).unwrap_or(&path).display();
                        return Ok(Some(format!("{path}: it is not what the layer has")));
                    }
                }
            }
        }
    }
    if expected.values().any(|count| *count > 0) {
        return Ok(Some("a file is missing".to_owned()));
    }
    let opaque = tree
        .entries()
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::Directory(DirectoryKind::Opaque)));
    let has_more = marked_directories(root)?.len() > opaque.count();
    Ok(has_more.then(|| "a directory hides what is below it, as the layer does not".to_owned()))
}

fn hash(path: &Path) -> io::Result<ContentDigest> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(ContentDigest::new(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tree::Timestamp;

    /// Where the layer has an entry for its root, the step sees its mode.
    #[test]
    fn the_root_of_a_layer_has_its_mode() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let change_mode = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(directory.path(), mode).expect("it is ours");
        };
        let metadata = fs::metadata(directory.path()).expect("it is there");
        let mut root = Entry::directory(RelPath::root(), 0o755, Timestamp::default());
        (root.uid, root.gid) = (metadata.uid(), metadata.gid());
        let tree = LayerTree::new(vec![root]);
        let is_right = |tree| {
            let problem = check_directory(tree, directory.path());
            problem.expect("it can be read").is_none()
        };
        change_mode(0o755);
        assert!(is_right(&tree));
        change_mode(0o700);
        assert!(!is_right(&tree));
        assert!(is_right(&LayerTree::new(Vec::new())));
    }
}
