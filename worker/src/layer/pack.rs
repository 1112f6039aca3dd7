//! From entries and their bytes to a layer's tar, its diff id and its tree, in one pass.
//!
//! Small files are read ahead by several threads; the tar is written and hashed in order by one.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc;

use kiln_solver::{ContentDigest, DiffId, RelPath};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::contents::FileBytes;
use super::header::{self, Times};
use crate::io_error::{IoError, is_not_found};
use crate::tree::{DirectoryKind, EncodedTree, Entry, EntryKind, TreeWriter};

/// Files up to this size are read whole, ahead of their turn.
const SMALL: u64 = 256 * 1024;
/// How much is read ahead at once.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// How many files are read ahead at once.
const BATCH_FILES: usize = 256;
/// Fewer files than this are not worth a thread.
const WORTH_A_THREAD: usize = 32;

/// An entry to pack. The offset of a file is filled in; its size must be right.
#[derive(Clone)]
pub struct PackEntry {
    /// What stands in the layer.
    pub entry: Entry,
    /// A file's bytes.
    pub bytes: FileBytes,
    /// Whether a file's bytes must hash to the digest that stands in the entry; else that is filled
    /// in, too.
    pub digest_is_known: bool,
}

/// A packed layer.
pub struct Packed {
    /// The SHA-256 of the tar.
    pub diff_id: DiffId,
    /// The tar's size.
    pub size: u64,
    /// What the layer holds.
    pub tree: EncodedTree,
    /// What changed while it was packed, and so is not in it; only [`pack_restless`] leaves anything out.
    pub left_out: Vec<RelPath>,
}

/// Why a layer could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file could not be read.
    #[error(transparent)]
    Read(IoError),
    /// A file is not what it was when the build began.
    #[error("{} changed while it was being read; build again once it is at rest", .0.display())]
    Changed(PathBuf),
    /// The tar could not be written.
    #[error("cannot write a layer: {0}")]
    Write(#[source] io::Error),
    /// A hard link names no file that comes before it: nobody could unpack the layer.
    #[error("{path} would be a hard link to {target}, which does not come before it in the layer")]
    Link {
        /// The link.
        path: RelPath,
        /// What it names.
        target: RelPath,
    },
}

impl From<IoError> for PackError {
    /// What is not there any more, or is behind a link by now, changed.
    fn from(error: IoError) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error.source) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                Self::Changed(error.path)
            }
            _ => Self::Read(error),
        }
    }
}

/// Packs entries, which are sorted by path with each path once, and writes the tar to `sink`. Of the names of a
/// file, the first must be the file and the others links to it.
pub fn pack(
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
    sink: &mut dyn Write,
) -> Result<Packed, PackError> {
    pack_for(Purpose::Layer, entries, sink)
}

/// The same for a directory that others write to meanwhile. Files that are not what their entries say any
/// more are left out, with the links to them; only one that changes while it is copied is an error. Times
/// are exact.
pub(crate) fn pack_restless(
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
    sink: &mut dyn Write,
) -> Result<Packed, PackError> {
    pack_for(Purpose::Restless, entries, sink)
}

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// What nobody writes to, into an image's layer.
    Layer,
    /// What is in use.
    Restless,
}

fn pack_for(
    purpose: Purpose,
    entries: impl ExactSizeIterator<Item = PackEntry> + Send,
    sink: &mut dyn Write,
) -> Result<Packed, PackError> {
    let mut tar = TarWriter {
        purpose,
        sink,
        hasher: Sha256::new(),
        size: 0,
        pending: Vec::new(),
        files: Vec::new(),
        left_out: Vec::new(),
    };
    let mut tree = TreeWriter::default();
    // Whoever packs on one of the threads that read ahead must not wait for them.
    let is_alone = rayon::current_thread_index().is_some();
    if is_alone || entries.len() < WORTH_A_THREAD {
        for entry in entries {
            let read_ahead = read_small(purpose, &entry);
            if let Some(entry) = tar.append(entry, read_ahead)? {
                tree.push(&entry);
            }
        }
    } else {
        std::thread::scope(|scope| {
            let (sender, batches) = mpsc::sync_channel(1);
            scope.spawn(move || read_ahead(purpose, entries, &sender));
            for (entry, read_ahead) in batches.into_iter().flatten() {
                if let Some(entry) = tar.append(entry, read_ahead)? {
                    tree.push(&entry);
                }
            }
            Ok::<_, PackError>(())
        })?;
    }
    let left_out = std::mem::take(&mut tar.left_out);
    let (diff_id, size) = tar.finish()?;
    Ok(Packed {
        diff_id,
        size,
        tree: tree.finish(),
        left_out,
    })
}

/// A small file's bytes and their hash, read before its turn; `None` for what has none or is too long.
type ReadAhead = Option<Result<(Vec<u8>, blake3::Hash), PackError>>;

fn read_ahead(
    purpose: Purpose,
    entries: impl Iterator<Item = PackEntry>,
    sender: &mpsc::SyncSender<Vec<(PackEntry, ReadAhead)>>,
) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let flush = |batch: &mut Vec<PackEntry>| {
        let entries = std::mem::take(batch);
        let read = entries.into_par_iter().map(|entry| {
            let bytes = read_small(purpose, &entry);
            (entry, bytes)
        });
        // The receiver is gone only after an error, which is reported there.
        sender.send(read.collect()).is_ok()
    };
    for entry in entries {
        bytes += small_size(&entry).unwrap_or(0);
        batch.push(entry);
        if bytes >= BATCH_BYTES || batch.len() >= BATCH_FILES {
            bytes = 0;
            if !flush(&mut batch) {
                return;
            }
        }
    }
    flush(&mut batch);
}

fn small_size(entry: &PackEntry) -> Option<u64> {
    match entry.entry.kind {
        EntryKind::File { size, .. } if size <= SMALL => Some(size),
        _ => None,
    }
}

fn read_small(purpose: Purpose, entry: &PackEntry) -> ReadAhead {
    let size = small_size(entry)?;
    let mut bytes = Vec::with_capacity(size as usize + 1);
    let read = entry
        .bytes
        .open(size)
        .map_err(PackError::from)
        .and_then(|reader| {
            // One byte more shows whether the file has grown.
            let read = reader.take(size + 1).read_to_end(&mut bytes);
            read.map_err(|source| read_error(entry, source))
        });
    let is_restless = purpose == Purpose::Restless;
    Some(match read {
        Ok(_) if is_restless && !entry.bytes.is_still(&entry.entry) => Err(changed(entry)),
        Ok(_) if bytes.len() as u64 == size => {
            let hash = blake3::hash(&bytes);
            Ok((bytes, hash))
        }
        Ok(_) => Err(changed(entry)),
        Err(error) => Err(error),
    })
}

fn read_error(entry: &PackEntry, source: io::Error) -> PackError {
    let path = entry.bytes.describe(&entry.entry.path);
    IoError {
        action: "read",
        path,
        source,
    }
    .into()
}

/// Whether an error says that the file is not what it was when it was found.
fn is_change(error: &PackError) -> bool {
    match error {
        PackError::Changed(_) => true,
        PackError::Read(error) => is_not_found(error),
        PackError::Write(_) | PackError::Link { .. } => false,
    }
}

fn changed(entry: &PackEntry) -> PackError {
    PackError::Changed(entry.bytes.describe(&entry.entry.path))
}

/// Writes a tar and hashes it.
struct TarWriter<'s> {
    purpose: Purpose,
    sink: &'s mut dyn Write,
    hasher: Sha256,
    size: u64,
    /// Written together, so that small entries cost no call each.
    pending: Vec<u8>,
    /// What links may name, in path order.
    files: Vec<RelPath>,
    left_out: Vec<RelPath>,
}

impl TarWriter<'_> {
    /// Writes an entry and returns what stands in the layer; `None` if it was left out.
    fn append(
        &mut self,
        entry: PackEntry,
        read_ahead: ReadAhead,
    ) -> Result<Option<Entry>, PackError> {
        if self.purpose == Purpose::Restless && self.is_gone(&entry, &read_ahead) {
            self.left_out.push(entry.entry.path);
            return Ok(None);
        }
        self.check_link(&entry.entry)?;
        let written = self.write_entry(entry, read_ahead)?;
        if let EntryKind::File { .. } = written.kind {
            self.files.push(written.path.clone());
        }
        Ok(Some(written))
    }

    fn check_link(&self, entry: &Entry) -> Result<(), PackError> {
        match &entry.kind {
            EntryKind::HardLink { target } if self.files.binary_search(target).is_err() => {
                Err(PackError::Link {
                    path: entry.path.clone(),
                    target: target.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a file, or what a link names, is not what it was.
    fn is_gone(&self, entry: &PackEntry, read_ahead: &ReadAhead) -> bool {
        match (&entry.entry.kind, read_ahead) {
            (EntryKind::File { .. }, Some(Err(error))) => is_change(error),
            (EntryKind::File { .. }, None) => !entry.bytes.is_still(&entry.entry),
            (EntryKind::HardLink { target }, _) => self.left_out.contains(target),
            _ => false,
        }
    }

    fn write_entry(
        &mut self,
        mut entry: PackEntry,
        read_ahead: ReadAhead,
    ) -> Result<Entry, PackError> {
        if matches!(
            entry.entry.kind,
            EntryKind::Directory(DirectoryKind::Implied)
        ) {
            return Ok(entry.entry);
        }
        let times = match self.purpose {
            Purpose::Layer => Times::WholeSeconds,
            Purpose::Restless => Times::Exact,
        };
        header::write_entry(&entry.entry, times, &mut self.pending);
        if let EntryKind::Directory(DirectoryKind::Opaque) = entry.entry.kind {
            header::write_opaque_marker(&entry.entry, &mut self.pending);
        }
        let EntryKind::File {
            size,
            digest: expected,
            ..
        } = entry.entry.kind
        else {
            self.flush_if_large()?;
            return Ok(entry.entry);
        };
        let offset = self.size + self.pending.len() as u64;
        let digest = match read_ahead {
            Some(read) => {
                let (bytes, hash) = read?;
                self.pending.extend_from_slice(&bytes);
                hash
            }
            None => self.copy_large(&entry, size)?,
        };
        header::write_padding(size, &mut self.pending);
        self.flush_if_large()?;
        let digest = ContentDigest::new(*digest.as_bytes());
        if entry.digest_is_known && expected != digest {
            return Err(changed(&entry));
        }
        entry.entry.kind = EntryKind::File {
            size,
            digest,
            offset,
        };
        Ok(entry.entry)
    }

    fn copy_large(&mut self, entry: &PackEntry, size: u64) -> Result<blake3::Hash, PackError> {
        let mut reader = entry.bytes.open(size)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut left = size;
        self.flush()?;
        loop {
            let length = reader
                .read(&mut buffer)
                .map_err(|source| read_error(entry, source))?;
            if length as u64 > left || (length == 0 && left > 0) {
                return Err(changed(entry));
            }
            if length == 0 {
                // It may have been written to without becoming longer.
                let is_layer = self.purpose == Purpose::Layer;
                return match is_layer || entry.bytes.is_still(&entry.entry) {
                    true => Ok(hasher.finalize()),
                    false => Err(changed(entry)),
                };
            }
            left -= length as u64;
            hasher.update(&buffer[..length]);
            self.write(&buffer[..length])?;
        }
    }

    fn flush_if_large(&mut self) -> Result<(), PackError> {
        if self.pending.len() >= 256 * 1024 {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), PackError> {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.sink.write_all(bytes).map_err(PackError::Write)
    }

    fn finish(mut self) -> Result<(DiffId, u64), PackError> {
        self.pending
            .resize(self.pending.len() + 2 * header::BLOCK, 0);
        self.flush()?;
        Ok((DiffId::new(self.hasher.finalize().into()), self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, and the file that it is a link to.
    fn entry((name, target): (&str, Option<&str>)) -> PackEntry {
        let path = |text: &str| RelPath::parse(text.as_bytes()).expect("a path");
        let kind = match target {
            Some(target) => EntryKind::HardLink {
                target: path(target),
            },
            None => EntryKind::File {
                size: 0,
                digest: ContentDigest::new(*blake3::hash(b"").as_bytes()),
                offset: 0,
            },
        };
        PackEntry {
            entry: Entry {
                kind,
                ..Entry::directory(path(name), 0o644, crate::tree::Timestamp::default())
            },
            bytes: FileBytes::Memory(std::sync::Arc::from([])),
            digest_is_known: true,
        }
    }

    #[test]
    fn a_link_must_come_behind_its_file() {
        type Names = &'static [(&'static str, Option<&'static str>)];
        let cases: [(Names, Option<&str>); 5] = [
            (&[("f", None), ("h", Some("f")), ("z", Some("f"))], None),
            (&[("f", Some("h")), ("h", None)], Some("f")),
            (&[("f", Some("nothing"))], Some("f")),
            (
                &[("f", None), ("g", Some("f")), ("h", Some("g"))],
                Some("h"),
            ),
            (&[("a/f", Some("z/f")), ("z/f", None)], Some("a/f")),
        ];
        for purpose in [Purpose::Layer, Purpose::Restless] {
            for (names, refused) in cases {
                let entries: Vec<PackEntry> = names.iter().copied().map(entry).collect();
                let packed = pack_for(purpose, entries.into_iter(), &mut io::sink());
                let found = match packed {
                    Err(PackError::Link { path, .. }) => Some(path.to_string()),
                    other => other.map(|_| None).expect("it packs"),
                };
                let refused = refused.map(|path| format!("/{path}"));
                assert_eq!(found, refused, "{names:?}");
            }
        }
    }
}
