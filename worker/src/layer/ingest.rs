//! From a tar of anybody's to a tree: the one place where foreign archives are read.

use std::io::{self, Read, Write};
use std::sync::Arc;

use kiln_solver::path::PathError;
use kiln_solver::{ContentDigest, DiffId, RelPath};
use sha2::{Digest, Sha256};

use super::contents::Contents;
use super::header::{OPAQUE_NAME, WHITEOUT_PREFIX};
use super::overlay;
use super::tar_stream::{OpenTarError, open_blob};
use crate::io_error::what_to_do;
use crate::store::{LayerBlob, LayerError, Store};
use crate::tree::{DirectoryKind, Entry, EntryKind, LayerTree, Timestamp, Xattrs};

/// Why an archive cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Its blob is missing or unreadable.
    #[error(transparent)]
    Open(#[from] OpenTarError),
    /// The store refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It is no tar, is cut off, or its compression is damaged.
    #[error("the archive is damaged: {0}")]
    Damaged(#[source] io::Error),
    /// What was read of it could not be written to the store.
    #[error("cannot write to the store: {source}{}", what_to_do(source))]
    Write {
        /// The operating system's answer.
        source: io::Error,
    },
    /// It names a path that leads out of it.
    #[error("the archive is refused: {0}")]
    Path(#[from] PathError),
    /// A hard link leads to something that is not in the archive.
    #[error(
        "the archive is damaged: {path} is a hard link to {target}, which does not come before it"
    )]
    Link {
        /// The link.
        path: RelPath,
        /// What it names.
        target: RelPath,
    },
    /// Its uncompressed bytes are not those that the image's config names.
    #[error("a layer's content has the diff id {found}, but the config says {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What the bytes hash to.
        found: DiffId,
    },
}

impl IngestError {
    /// Whether what is wrong is what the blob holds.
    fn is_of_the_blob(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Path(_) | Self::Link { .. } | Self::DiffId { .. } => true,
            Self::Open(_) | Self::Layer(_) | Self::Write { .. } => false,
        }
    }

    /// Tells a damaged archive from a store that takes no more: reading never fails for want of room.
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem => Self::Write { source: error },
            _ => Self::Damaged(error),
        }
    }
}

/// Takes in a layer that the store has as a compressed blob: verifies its diff id and notes what it
/// holds. The returned contents are an unnamed file with the uncompressed tar.
///
/// Which blob holds the layer is only what images say, and one may lie about a layer of another:
/// every blob is tried, and those that hold something else are not believed again.
pub fn ingest(store: &Store, diff_id: &DiffId) -> Result<(Arc<LayerTree>, Contents), IngestError> {
    first_that_holds(store, diff_id, |blob| ingest_blob(store, diff_id, blob))
}

/// The same without the bytes: for those who bring a layer that nobody has to see yet.
pub(crate) fn look_into(store: &Store, diff_id: &DiffId) -> Result<(), IngestError> {
    first_that_holds(store, diff_id, |blob| {
        let tree = parse_layer(store, diff_id, blob)?;
        Ok(store.layers().put_tree(diff_id, Arc::new(tree))?)
    })
}

fn first_that_holds<T>(
    store: &Store,
    diff_id: &DiffId,
    read: impl Fn(&LayerBlob) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let mut refused = IngestError::from(LayerError::Missing(*diff_id));
    for blob in store
        .index()
        .layer_blobs(diff_id)
        .map_err(OpenTarError::from)?
    {
        if !store.has_blob(&blob.digest) {
            continue;
        }
        match read(&blob) {
            Err(error) if error.is_of_the_blob() => {
                let index = store.index();
                let forgotten = index.remove_layer_blob(diff_id, &blob.compression);
                forgotten.map_err(OpenTarError::from)?;
                store.remove_damaged_blob(&blob.digest);
                refused = error;
            }
            result => return result,
        }
    }
    Err(refused)
}

fn ingest_blob(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
) -> Result<(Arc<LayerTree>, Contents), IngestError> {
    let mut copy = store
        .scratch()
        .new_unnamed_file()
        .map_err(LayerError::from)?;
    let tree = Arc::new(read_layer(store, diff_id, blob, &mut copy)?);
    store.layers().put_tree(diff_id, Arc::clone(&tree))?;
    Ok((tree, Contents::Tar(Arc::new(copy.into_file()))))
}

/// What a layer holds by a blob that is said to hold it; an error if it does not.
pub(crate) fn parse_layer(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
) -> Result<LayerTree, IngestError> {
    read_layer(store, diff_id, blob, &mut io::sink())
}

/// Reads a layer and verifies its diff id; its uncompressed bytes go to `copy`, too.
fn read_layer(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
    copy: &mut dyn Write,
) -> Result<LayerTree, IngestError> {
    let mut source = Tee {
        inner: open_blob(store, blob)?,
        hasher: Sha256::new(),
        copy,
    };
    let tree = parse_tar(&mut source, Whiteouts::Deletions)?;
    io::copy(&mut source, &mut io::sink()).map_err(IngestError::reading)?;
    let found = DiffId::new(source.hasher.finalize().into());
    if found == *diff_id {
        return Ok(tree);
    }
    Err(IngestError::DiffId {
        expected: *diff_id,
        found,
    })
}

/// Hashes and copies what is read.
struct Tee<'c, R> {
    inner: R,
    hasher: Sha256,
    copy: &'c mut dyn Write,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.copy.write_all(&buffer[..length])?;
        Ok(length)
    }
}

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
    let mut archive = tar::Archive::new(BigReads {
        inner: reader,
        buffer: Vec::new(),
        at: 0,
    });
    let mut parsed = Parsed::new(whiteouts);
    for entry in archive.entries().map_err(IngestError::reading)? {
        parsed.add(&mut entry.map_err(IngestError::reading)?)?;
    }
    Ok(LayerTree::new(parsed.entries))
}

/// Reads a tar of a cache mount: nothing in it is a deletion, and times are exact. The entries come in the
/// order of the tar; more than `limit` are refused.
pub(crate) fn parse_cache_tar(
    reader: &mut dyn Read,
    limit: usize,
) -> Result<Vec<Entry>, IngestError> {
    let mut archive = tar::Archive::new(BigReads {
        inner: reader,
        buffer: Vec::new(),
        at: 0,
    });
    let mut parsed = Parsed::new(Whiteouts::Files);
    parsed.is_cache_mount = true;
    for entry in archive.entries().map_err(IngestError::reading)? {
        if parsed.entries.len() >= limit {
            let problem = format!("it has more than {limit} entries");
            return Err(IngestError::Damaged(io::Error::other(problem)));
        }
        parsed.add(&mut entry.map_err(IngestError::reading)?)?;
    }
    Ok(parsed.entries)
}

/// Reads ahead in large pieces, since the parser asks for 512 bytes at a time.
struct BigReads<'r> {
    inner: &'r mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
}

impl Read for BigReads<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.resize(256 * 1024, 0);
            let length = self.inner.read(&mut self.buffer)?;
            self.buffer.truncate(length);
            self.at = 0;
        }
        let length = out.len().min(self.buffer.len() - self.at);
        out[..length].copy_from_slice(&self.buffer[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

struct Parsed {
    whiteouts: Whiteouts,
    /// Then times are exact, and hard links name files.
    is_cache_mount: bool,
    entries: Vec<Entry>,
    files: std::collections::HashSet<RelPath>,
}

impl Parsed {
    fn new(whiteouts: Whiteouts) -> Self {
        Self {
            whiteouts,
            is_cache_mount: false,
            entries: Vec::new(),
            files: std::collections::HashSet::new(),
        }
    }

    fn add(&mut self, source: &mut tar::Entry<'_, impl Read>) -> Result<(), IngestError> {
        let Pax { xattrs, mtime } = pax(source)?;
        let mtime = mtime.as_ref();
        let path = RelPath::parse(&source.path_bytes())?;
        let header = source.header();
        let number = |value: io::Result<u64>| value.map_err(IngestError::reading);
        let mut entry = Entry {
            mode: header.mode().map_err(IngestError::reading)? & 0o7777,
            uid: id(number(header.uid())?)?,
            gid: id(number(header.gid())?)?,
            mtime: Timestamp {
                seconds: match mtime.and_then(PaxTime::whole_seconds) {
                    Some(seconds) => seconds,
                    None => i64::try_from(number(header.mtime())?).unwrap_or(i64::MAX),
                },
                nanoseconds: 0,
            },
            kind: EntryKind::Fifo,
            xattrs,
            path,
        };
        if self.is_cache_mount
            && let Some(exact) = mtime.and_then(PaxTime::exact)
        {
            entry.mtime = exact;
        }
        let file_name = entry.path.file_name();
        if let Some(name) = file_name.and_then(|name| name.strip_prefix(WHITEOUT_PREFIX))
            && self.whiteouts == Whiteouts::Deletions
        {
            let name = name.to_vec();
            self.add_whiteout(entry, &name);
            return Ok(());
        }
        let Some(kind) = self.kind(source, &entry.path)? else {
            return Ok(());
        };
        if let EntryKind::File { .. } = kind {
            self.files.insert(entry.path.clone());
        }
        if entry.path.is_root() && !matches!(kind, EntryKind::Directory(_)) {
            return Ok(());
        }
        entry.kind = kind;
        self.entries.push(entry);
        Ok(())
    }

    fn add_whiteout(&mut self, marker: Entry, name: &[u8]) {
        let directory = marker.path.parent().unwrap_or_default();
        if marker.path.file_name() == Some(OPAQUE_NAME) {
            self.make_opaque(&directory, &marker);
        } else if !name.starts_with(WHITEOUT_PREFIX) && !matches!(name, b"" | b"." | b"..") {
            let path = directory.join_name(name);
            self.entries.push(Entry {
                path,
                kind: EntryKind::Whiteout,
                ..marker
            });
        }
    }

    fn make_opaque(&mut self, directory: &RelPath, marker: &Entry) {
        let opaque = EntryKind::Directory(DirectoryKind::Opaque);
        match self
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.path == *directory)
        {
            Some(known) if known.is_directory() => known.kind = opaque,
            _ => self.entries.push(Entry {
                kind: opaque,
                ..Entry::directory(directory.clone(), 0o755, marker.mtime)
            }),
        }
    }

    /// What an entry is; `None` for what does not become a file, such as global PAX headers.
    fn kind(
        &self,
        source: &mut tar::Entry<'_, impl Read>,
        path: &RelPath,
    ) -> Result<Option<EntryKind>, IngestError> {
        use tar::EntryType;
        let link = source
            .link_name_bytes()
            .map(|name| name.into_owned())
            .unwrap_or_default();
        Ok(Some(match source.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => file(source)?,
            EntryType::Directory => EntryKind::Directory(self.directory_kind(path)),
            EntryType::Symlink => EntryKind::Symlink {
                target: link.into(),
            },
            EntryType::Link => {
                let target = RelPath::parse(&link)?;
                if !self.files.contains(&target) || target == *path {
                    return self.link_to_no_file(path, target).map(Some);
                }
                EntryKind::HardLink { target }
            }
            EntryType::Fifo => EntryKind::Fifo,
            EntryType::Char => {
                let (major, minor) = device(source)?;
                EntryKind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device(source)?;
                EntryKind::BlockDevice { major, minor }
            }
            _ => return Ok(None),
        }))
    }

    /// A hard link to a symbolic link or to another hard link becomes what that is.
    fn link_to_no_file(&self, path: &RelPath, target: RelPath) -> Result<EntryKind, IngestError> {
        let mut entries = self.entries.iter().rev();
        // To look for what Kiln does not write would take long where there are many.
        let known = match self.is_cache_mount {
            true => None,
            false => entries.find(|entry| entry.path == target),
        };
        match known.map(|entry| &entry.kind) {
            Some(
                kind @ (EntryKind::Symlink { .. }
                | EntryKind::HardLink { .. }
                | EntryKind::Fifo
                | EntryKind::CharDevice { .. }
                | EntryKind::BlockDevice { .. }),
            ) => Ok(kind.clone()),
            _ => Err(IngestError::Link {
                path: path.clone(),
                target,
            }),
        }
    }

    /// A directory stays opaque if its marker came before it.
    fn directory_kind(&self, path: &RelPath) -> DirectoryKind {
        let known = self
            .entries
            .iter()
            .rev()
            .take(64)
            .find(|entry| entry.path == *path);
        match known.map(|entry| &entry.kind) {
            Some(EntryKind::Directory(DirectoryKind::Opaque)) => DirectoryKind::Opaque,
            _ => DirectoryKind::Merged,
        }
    }
}

fn file(source: &mut tar::Entry<'_, impl Read>) -> Result<EntryKind, IngestError> {
    let offset = source.raw_file_position();
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let mut buffer = [0; 64 * 1024];
    loop {
        let length = source.read(&mut buffer).map_err(IngestError::reading)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
    }
    if size != source.size() {
        return Err(IngestError::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    let digest = ContentDigest::new(*hasher.finalize().as_bytes());
    Ok(EntryKind::File {
        size,
        digest,
        offset,
    })
}

fn id(value: u64) -> Result<u32, IngestError> {
    u32::try_from(value)
        .map_err(|_| IngestError::Damaged(io::Error::other("an owner is out of range")))
}

fn device(source: &tar::Entry<'_, impl Read>) -> Result<(u32, u32), IngestError> {
    let major = source
        .header()
        .device_major()
        .map_err(IngestError::reading)?;
    let minor = source
        .header()
        .device_minor()
        .map_err(IngestError::reading)?;
    Ok((major.unwrap_or(0), minor.unwrap_or(0)))
}

/// What stands in PAX records only (pax(1), "pax Extended Header").
#[derive(Default)]
struct Pax {
    xattrs: Xattrs,
    /// The parser applies the other records to the header itself.
    mtime: Option<PaxTime>,
}

/// A time as it is written: seconds in decimal, with a fraction or without.
struct PaxTime(String);

impl PaxTime {
    /// What stands before the point.
    fn whole_seconds(&self) -> Option<i64> {
        self.0.split('.').next()?.parse().ok()
    }

    /// The moment with its nanoseconds; further digits are dropped.
    fn exact(&self) -> Option<Timestamp> {
        let (is_before_1970, text) = match self.0.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, &*self.0),
        };
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = seconds.parse().ok()?;
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        let nanoseconds: u32 = digits.parse().ok()?;
        Some(match (is_before_1970, nanoseconds) {
            (false, nanoseconds) => Timestamp {
                seconds,
                nanoseconds,
            },
            (true, 0) => Timestamp::of_seconds(-seconds),
            (true, after) => Timestamp {
                seconds: -seconds - 1,
                nanoseconds: 1_000_000_000 - after,
            },
        })
    }
}

fn pax(source: &mut tar::Entry<'_, impl Read>) -> Result<Pax, IngestError> {
    let mut pax = Pax::default();
    let Some(records) = source.pax_extensions().map_err(IngestError::reading)? else {
        return Ok(pax);
    };
    for record in records {
        let record = record.map_err(IngestError::reading)?;
        if record.key_bytes() == b"mtime" {
            pax.mtime = record.value().ok().map(|text| PaxTime(text.to_owned()));
        }
        let name = record.key_bytes().strip_prefix(b"SCHILY.xattr.");
        if let Some(name) = name.filter(|name| !overlay::is_overlay_attribute(name)) {
            pax.xattrs.push((name.into(), record.value_bytes().into()));
        }
    }
    pax.xattrs.sort();
    Ok(pax)
}

#[cfg(test)]
mod tests {
    use super::super::header::{Times, write_entry};
    use super::*;

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
