//! From the members of a tar to the entries of a tree.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use kiln_solver::path::PathError;
use kiln_solver::{ContentDigest, RelPath};

use super::super::header::{OPAQUE_NAME, WHITEOUT_PREFIX};
use super::error::IngestError;
use super::member::{Member, Members, Writer};
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree};

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
    Ok(LayerTree::new(parsed.entries))
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
}

impl Parsed {
    fn new(whiteouts: Whiteouts) -> Self {
        Self {
            whiteouts,
            is_cache_mount: false,
            checks_links: true,
            entries: Vec::new(),
            places: HashMap::new(),
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
        self.places.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
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

    /// What a member is; `None` for what does not become a file, such as the label of a volume.
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
            _ => return Ok(None),
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
