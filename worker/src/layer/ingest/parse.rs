//! From the members of a tar to the entries of a tree.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use kiln_solver::path::PathError;
use kiln_solver::{ContentDigest, RelPath};

use super::super::header::{OPAQUE_NAME, WHITEOUT_PREFIX};
use super::error::IngestError;
use super::member::{Member, Members, Writer};
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree};

/// The kind by which GNU's tar gives an archive a name.
const VOLUME_LABEL: u8 = b'V';

/// What files are whose names begin with `.wh.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Deletions, as in a layer (OCI image specification, "Whiteouts").
    Deletions,
    /// Files like others, as in any archive of a user's.
    Files,
}

/// Reads a tar to its end marker.
pub fn parse_tar(reader: &mut dyn Read, whiteouts: Whiteouts) -> Result<LayerTree, IngestError> {
    let mut members = Members::new(reader, Writer::Anybody);
    let mut parsed = Parsed::new(whiteouts);
    while let Some(member) = members.next()? {
        parsed.add(member, &mut members)?;
    }
    let links = parsed.links;
    let tree = LayerTree::new(parsed.entries);
    // What came over a directory took the files in it along.
    match links.is_empty() {
        true => Ok(tree),
        false => whole_links(tree),
    }
}

/// A tree whose hard links all name files of it, or an error.
fn whole_links(tree: LayerTree) -> Result<LayerTree, IngestError> {
    let target = |entry: &Entry| match &entry.kind {
        EntryKind::HardLink { target } => Some(target.clone()),
        _ => None,
    };
    let is_file = |path: &RelPath| matches!(tree.get(path), Some(entry) if matches!(entry.kind, EntryKind::File { .. }));
    for entry in tree.entries() {
        if let Some(target) = target(entry).filter(|target| !is_file(target)) {
            return Err(IngestError::Link {
                path: entry.path.clone(),
                target,
            });
        }
    }
    Ok(tree)
}

/// Reads an archive that is to be unpacked, and copies it to `copy` as far as its end marker: nobody has to
/// look at what comes behind. The entries come in the order of the tar, and a path may come several times;
/// the target of a hard link is what the archive says, whatever is there.
pub fn parse_archive(
    reader: &mut dyn Read,
    copy: &mut dyn Write,
) -> Result<Vec<Entry>, IngestError> {
    let mut source = Copied {
        inner: reader,
        copy,
        refused: None,
    };
    let mut members = Members::new(&mut source, Writer::Anybody);
    let mut parsed = Parsed::new(Whiteouts::Files);
    parsed.checks_links = false;
    let mut read = || {
        while let Some(member) = members.next()? {
            parsed.add(member, &mut members)?;
        }
        Ok(())
    };
    let result = read();
    match source.refused {
        Some(refused) => Err(IngestError::reading(refused)),
        None => result.map(|()| parsed.entries),
    }
}

/// Copies what is read.
struct Copied<'c> {
    inner: &'c mut dyn Read,
    copy: &'c mut dyn Write,
    /// Why the copy could not be written; whoever reads is only told that it failed.
    refused: Option<io::Error>,
}

impl Read for Copied<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        if let Err(error) = self.copy.write_all(&buffer[..length]) {
            let told = error.kind().into();
            self.refused = Some(error);
            return Err(told);
        }
        Ok(length)
    }
}

/// Reads a tar of a cache mount: it has what Kiln packs and nothing else, nothing in it is a deletion, and
/// times are exact. The entries come in the order of the tar; more than `limit` are refused.
pub(crate) fn parse_cache_tar(
    reader: &mut dyn Read,
    limit: usize,
) -> Result<Vec<Entry>, IngestError> {
    let mut members = Members::new(reader, Writer::CacheMounts);
    let mut parsed = Parsed::new(Whiteouts::Files);
    parsed.is_cache_mount = true;
    while let Some(member) = members.next()? {
        if parsed.entries.len() >= limit {
            return Err(IngestError::Entries(limit));
        }
        parsed.add(member, &mut members)?;
    }
    Ok(parsed.entries)
}

struct Parsed {
    whiteouts: Whiteouts,
    /// Then times are exact, and hard links name files.
    is_cache_mount: bool,
    /// Whether hard links must name what came before them.
    checks_links: bool,
    entries: Vec<Entry>,
    /// Which of the entries is the last one at a path.
    places: HashMap<RelPath, usize>,
    /// The hard links to a file.
    links: HashMap<RelPath, Vec<usize>>,
}

impl Parsed {
    fn new(whiteouts: Whiteouts) -> Self {
        Self {
            whiteouts,
            is_cache_mount: false,
            checks_links: true,
            entries: Vec::new(),
            places: HashMap::new(),
            links: HashMap::new(),
        }
    }

    fn add(&mut self, mut member: Member, data: &mut Members<'_>) -> Result<(), IngestError> {
        let (uid, gid) = member.owner()?;
        let mut entry = Entry {
            mode: member.mode()?,
            uid,
            gid,
            mtime: member.mtime(self.is_cache_mount)?,
            kind: EntryKind::Fifo,
            xattrs: member.pax.xattrs(),
            path: member.path.clone(),
        };
        let file_name = entry.path.file_name();
        if let Some(name) = file_name.and_then(|name| name.strip_prefix(WHITEOUT_PREFIX))
            && self.whiteouts == Whiteouts::Deletions
        {
            let name = name.to_vec();
            self.add_whiteout(entry, &name);
            return Ok(());
        }
        let Some(kind) = self.kind(&member, data)? else {
            return Ok(());
        };
        if entry.path.is_root() && !matches!(kind, EntryKind::Directory(_)) {
            return Ok(());
        }
        entry.kind = kind;
        self.push(entry);
        Ok(())
    }

    fn push(&mut self, entry: Entry) {
        if let EntryKind::HardLink { target } = &entry.kind {
            let names = self.links.entry(target.clone()).or_default();
            names.push(self.entries.len());
        }
        self.part_from_links(&entry);
        self.places.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// What replaces a file leaves its other names what they were: the first of them becomes the file.
    fn part_from_links(&mut self, new: &Entry) {
        if self.is_cache_mount || !self.checks_links || new.kind == EntryKind::Whiteout {
            return;
        }
        let Some(links) = self.links.remove(&new.path) else {
            return;
        };
        let Some(file) = self.at(&new.path).map(|file| file.kind.clone()) else {
            return;
        };
        let is_link_still = |place: &usize| {
            let path = &self.entries[*place].path;
            self.places.get(path) == Some(place) && *path != new.path
        };
        let mut links = links.into_iter().filter(is_link_still);
        let Some(first) = links.next() else {
            return;
        };
        let others: Vec<usize> = links.collect();
        let target = self.entries[first].path.clone();
        self.entries[first].kind = file;
        for other in &others {
            let target = target.clone();
            self.entries[*other].kind = EntryKind::HardLink { target };
        }
        self.links.insert(target, others);
    }

    fn at(&self, path: &RelPath) -> Option<&Entry> {
        Some(&self.entries[*self.places.get(path)?])
    }

    fn add_whiteout(&mut self, marker: Entry, name: &[u8]) {
        let directory = marker.path.parent().unwrap_or_default();
        if marker.path.file_name() == Some(OPAQUE_NAME) {
            self.make_opaque(&directory, &marker);
        } else if !name.starts_with(WHITEOUT_PREFIX) && !matches!(name, b"" | b"." | b"..") {
            let path = directory.join_name(name);
            self.push(Entry {
                path,
                kind: EntryKind::Whiteout,
                ..marker
            });
        }
    }

    fn make_opaque(&mut self, directory: &RelPath, marker: &Entry) {
        let opaque = EntryKind::Directory(DirectoryKind::Opaque);
        let known = self.places.get(directory).copied();
        match known.map(|place| &mut self.entries[place]) {
            Some(known) if known.is_directory() => known.kind = opaque,
            _ => self.push(Entry {
                kind: opaque,
                ..Entry::directory(directory.clone(), 0o755, marker.mtime)
            }),
        }
    }

    /// What a member is; `None` for the label of a volume, which is no file. Other kinds are refused, as in BuildKit:
    /// to leave a member out would be to build something else than was asked for.
    fn kind(
        &self,
        member: &Member,
        data: &mut Members<'_>,
    ) -> Result<Option<EntryKind>, IngestError> {
        use tar::EntryType;
        Ok(Some(match member.kind {
            EntryType::Regular | EntryType::Continuous => file(member, data)?,
            EntryType::Directory => EntryKind::Directory(self.directory_kind(&member.path)),
            EntryType::Symlink => EntryKind::Symlink {
                target: member.link.as_slice().into(),
            },
            EntryType::Link if !self.checks_links => EntryKind::HardLink {
                target: within_root(&member.link)?,
            },
            EntryType::Link => self.link(&member.path, within_root(&member.link)?)?,
            EntryType::Fifo => EntryKind::Fifo,
            EntryType::Char => {
                let (major, minor) = member.device()?;
                EntryKind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = member.device()?;
                EntryKind::BlockDevice { major, minor }
            }
            kind if kind.as_byte() == VOLUME_LABEL => return Ok(None),
            kind => {
                return Err(IngestError::UnknownKind {
                    path: member.path.clone(),
                    kind: kind.as_byte().into(),
                });
            }
        }))
    }

    /// A hard link to a symbolic link or to another hard link becomes what that is.
    fn link(&self, path: &RelPath, target: RelPath) -> Result<EntryKind, IngestError> {
        let known = self.at(&target).filter(|known| known.path != *path);
        match known.map(|known| &known.kind) {
            Some(EntryKind::File { .. }) => Ok(EntryKind::HardLink { target }),
            Some(
                kind @ (EntryKind::Symlink { .. }
                | EntryKind::HardLink { .. }
                | EntryKind::Fifo
                | EntryKind::CharDevice { .. }
                | EntryKind::BlockDevice { .. }),
            ) if !self.is_cache_mount => Ok(kind.clone()),
            _ => Err(IngestError::Link {
                path: path.clone(),
                target,
            }),
        }
    }

    /// A directory stays opaque if its marker came before it.
    fn directory_kind(&self, path: &RelPath) -> DirectoryKind {
        match self.at(path).map(|known| &known.kind) {
            Some(EntryKind::Directory(DirectoryKind::Opaque)) => DirectoryKind::Opaque,
            _ => DirectoryKind::Merged,
        }
    }
}

/// What a hard link names: `..` goes up and stops at the root, as for all who unpack into a root of its own.
fn within_root(target: &[u8]) -> Result<RelPath, PathError> {
    let mut path = RelPath::root();
    for name in target.split(|byte| *byte == b'/') {
        path = match name {
            b"" | b"." => continue,
            b".." => path.parent().unwrap_or_default(),
            name => path.join(&RelPath::parse(name)?),
        };
    }
    Ok(path)
}

fn file(member: &Member, data: &mut Members<'_>) -> Result<EntryKind, IngestError> {
    let mut hasher = blake3::Hasher::new();
    data.copy_data(&mut hasher)?;
    Ok(EntryKind::File {
        size: member.size,
        digest: ContentDigest::new(*hasher.finalize().as_bytes()),
        offset: member.offset,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::header::{Times, write_entry};
    use super::*;
    use crate::tree::Timestamp;

    /// A tar of files and hard links: a name, and what it holds or, with `=`, links to.
    fn tar_of(members: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, what) in members {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_path(name).expect("a short path");
            let data = match what.strip_prefix('=') {
                Some(target) => {
                    header.set_entry_type(tar::EntryType::Link);
                    header.set_link_name_literal(target).expect("a short path");
                    ""
                }
                None => what,
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            tar.append(&header, data.as_bytes()).expect("memory");
        }
        tar.into_inner().expect("memory")
    }

    /// What a tree has: a file's content or, with `=`, the link's target.
    fn shown(tar: &[u8], tree: &LayerTree) -> Vec<(String, String)> {
        let shown = |entry: &Entry| match &entry.kind {
            EntryKind::File { size, offset, .. } => {
                let from = usize::try_from(*offset).expect("it fits");
                let to = from + usize::try_from(*size).expect("it fits");
                String::from_utf8_lossy(&tar[from..to]).into_owned()
            }
            EntryKind::HardLink { target } => {
                format!("={}", String::from_utf8_lossy(target.as_bytes()))
            }
            other => format!("{other:?}"),
        };
        let entries = tree.entries().iter();
        entries
            .map(|entry| {
                (
                    String::from_utf8_lossy(entry.path.as_bytes()).into_owned(),
                    shown(entry),
                )
            })
            .collect()
    }

    #[test]
    fn what_replaces_a_file_leaves_its_other_names_alone() {
        type Names = &'static [(&'static str, &'static str)];
        let cases: [(Names, Names); 6] = [
            (
                &[("h", "x"), ("f", "=h"), ("h", "new")],
                &[("f", "x"), ("h", "new")],
            ),
            (
                &[("h", "x"), ("f", "=h"), ("a", "=h"), ("h", "new")],
                &[("a", "=f"), ("f", "x"), ("h", "new")],
            ),
            (
                &[("h", "x"), ("f", "=h"), ("f", "new")],
                &[("f", "new"), ("h", "x")],
            ),
            (
                &[("h", "x"), ("f", "=h"), ("f", "2"), ("h", "3")],
                &[("f", "2"), ("h", "3")],
            ),
            (
                &[("h", "x"), ("f", "=h"), ("h", "2"), ("g", "=h"), ("f", "3")],
                &[("f", "3"), ("g", "=h"), ("h", "2")],
            ),
            (
                &[("h", "x"), ("f", "=../d/../h"), ("g", "=/f")],
                &[("f", "=h"), ("g", "=h"), ("h", "x")],
            ),
        ];
        for (members, expected) in cases {
            let tar = tar_of(members);
            let tree = parse_tar(&mut &tar[..], Whiteouts::Deletions).expect("a tar");
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
                .collect();
            assert_eq!(shown(&tar, &tree), expected, "{members:?}");
        }
    }

    #[test]
    fn what_replaces_a_directory_takes_what_is_in_it() {
        let tar = tar_of(&[("x/y", "1"), ("x/z", "2"), ("x", "file"), ("z", "3")]);
        let tree = parse_tar(&mut &tar[..], Whiteouts::Deletions).expect("a tar");
        let expected = [("x", "file"), ("z", "3")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(shown(&tar, &tree), expected);
        let tar = tar_of(&[("x/y", "1"), ("f", "=x/y"), ("x", "file")]);
        let error = parse_tar(&mut &tar[..], Whiteouts::Deletions).expect_err("a link to nothing");
        assert!(matches!(error, IngestError::Link { .. }), "{error}");
    }

    #[test]
    fn exact_times_are_read_as_they_are_written() {
        let moments = [
            (0, 0),
            (0, 1),
            (-1, 250_000_000),
            (-1, 0),
            (-3, 999_999_999),
            (1_700_000_000, 123_456_789),
            (1 << 40, 5),
            (-(1 << 40), 5),
        ];
        for (seconds, nanoseconds) in moments {
            let mtime = Timestamp {
                seconds,
                nanoseconds,
            };
            let entry = Entry::directory(RelPath::parse(b"d").expect("a path"), 0o755, mtime);
            let mut tar = Vec::new();
            write_entry(&entry, Times::Exact, &mut tar);
            tar.resize(tar.len() + 1024, 0);
            let read = parse_cache_tar(&mut &tar[..], 1).expect("a tar");
            assert_eq!(read[0].mtime, mtime, "{seconds} {nanoseconds}");
        }
        assert!(parse_cache_tar(&mut &[][..], 1).is_ok_and(|read| read.is_empty()));
    }
}
