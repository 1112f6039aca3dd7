//! ADD of a local archive: its entries instead of itself.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use kiln_solver::RelPath;

use super::builder::{LayerBuilder, NewDirectory};
use super::copy::Copying;
use super::error::ExecutorError;
use super::output::Files;
use crate::io_error::AtPath;
use crate::layer::{Contents, IngestError, Whiteouts, decompress, parse_tar};
use crate::tree::{DirectoryKind, Entry, EntryKind, Found, LayerTree};

/// What every link has on Linux, whatever an archive says.
const LINK_MODE: u32 = 0o777;

/// The longest header that tells an archive.
const PROBE: u64 = 512;

/// Unpacks a file to the copy's destination if it is an archive by its content, whatever its name;
/// whether it was one. Owners are the archive's unless `--chown` says otherwise; `--chmod` does not
/// apply.
pub(super) fn unpack(
    copying: &Copying<'_>,
    files: &Files,
    found: Found<'_>,
    layer: &mut LayerBuilder<'_>,
) -> Result<bool, ExecutorError> {
    let EntryKind::File { size, .. } = found.entry.kind else {
        return Ok(false);
    };
    let path = &found.entry.path;
    let fail = |source| ExecutorError::Archive {
        path: path.clone(),
        source,
    };
    let mut file = copying.store.scratch().new_unnamed_file()?;
    let mut reader = files.bytes(found).open(size)?;
    let mut probe = Vec::new();
    reader
        .by_ref()
        .take(PROBE)
        .read_to_end(&mut probe)
        .map_err(|error| fail(IngestError::reading(error)))?;
    if !may_be_archive(&probe) {
        return Ok(false);
    }
    file.write_all(&probe)
        .and_then(|()| io::copy(&mut reader, &mut file))
        .and_then(|_| file.file().rewind())
        .map_err(|error| fail(IngestError::reading(error)))?;
    let Some(plain) = plain_tar(copying, file.into_file(), &fail)? else {
        return Ok(false);
    };
    let mut reader = plain.try_clone().at("open", "a temporary file")?;
    let tree = parse_tar(&mut reader, Whiteouts::Files).map_err(fail)?;
    let contents = Contents::Tar(Arc::new(plain));
    lay_out(copying, &tree, &contents, layer)?;
    Ok(true)
}

/// Whether the first 512 bytes of something are those of a tar or of something compressed.
pub fn may_be_archive(probe: &[u8]) -> bool {
    is_tar(probe)
        || [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]
            .iter()
            .any(|magic| probe.starts_with(magic))
}

/// Whether a block is a tar header: its checksum is right.
fn is_tar(block: &[u8]) -> bool {
    let Some(header) = block.first_chunk::<512>() else {
        return false;
    };
    let header = tar::Header::from_byte_slice(header);
    let sum: u32 = header
        .as_bytes()
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    sum != 8 * 32 && header.cksum().is_ok_and(|stored| stored == sum)
}

/// The uncompressed tar, at its beginning; `None` if what is compressed is no tar.
fn plain_tar(
    copying: &Copying<'_>,
    file: File,
    fail: &dyn Fn(IngestError) -> ExecutorError,
) -> Result<Option<File>, ExecutorError> {
    let damaged = |error| fail(IngestError::reading(error));
    let mut reader = decompress(file).map_err(damaged)?;
    let mut probe = Vec::new();
    if reader.by_ref().take(PROBE).read_to_end(&mut probe).is_err() || !is_tar(&probe) {
        return Ok(None);
    }
    let mut plain = copying.store.scratch().new_unnamed_file()?;
    plain
        .write_all(&probe)
        .and_then(|()| io::copy(&mut reader, &mut plain))
        .and_then(|_| plain.file().rewind())
        .map_err(damaged)?;
    Ok(Some(plain.into_file()))
}

fn lay_out(
    copying: &Copying<'_>,
    tree: &LayerTree,
    contents: &Contents,
    layer: &mut LayerBuilder<'_>,
) -> Result<(), ExecutorError> {
    let destination = layer.resolve(&copying.copy.destination)?;
    let new = NewDirectory {
        mode: 0o755,
        ..copying.new_directory()
    };
    layer.make_directories(&destination, new)?;
    // What the archive leaves out is nobody's in particular.
    let left_out = NewDirectory {
        uid: 0,
        gid: 0,
        ..new
    };
    // Where the archive's own paths went.
    let mut placed: HashMap<RelPath, RelPath> = HashMap::new();
    let is_link = |entry: &&Entry| matches!(entry.kind, EntryKind::HardLink { .. });
    let entries = || tree.entries().iter().filter(|entry| !entry.path.is_root());
    // Hard links last: what they name may stand behind them in path order.
    let in_order = entries().filter(|entry| !is_link(entry));
    for source in in_order.chain(entries().filter(is_link)) {
        // Links on the way are followed, as when a shell unpacks there.
        let parent = source.path.parent().unwrap_or_default();
        let written = layer.resolve_parent(&destination.join(&parent))?;
        let parent = layer.resolve(&written)?;
        if layer.get(&written).is_some() && !layer.is_directory(&parent) {
            return Err(ExecutorError::NotADirectory(parent));
        }
        layer.make_directories(&parent, left_out)?;
        let name = source.path.file_name().unwrap_or_default();
        let mut entry = Entry {
            path: parent.join_name(name),
            ..source.clone()
        };
        if let Some(owner) = copying.change.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        match &source.kind {
            // It is made with what is in it.
            EntryKind::Directory(DirectoryKind::Implied) | EntryKind::Whiteout => continue,
            EntryKind::Symlink { .. } => entry.mode = LINK_MODE,
            EntryKind::Directory(_) => {
                entry.kind = EntryKind::Directory(DirectoryKind::Merged);
            }
            EntryKind::HardLink { target } => {
                if let Some(target) = placed.get(target) {
                    entry.kind = EntryKind::HardLink {
                        target: target.clone(),
                    };
                }
            }
            _ => {}
        }
        let is_in_archives_directory = source
            .path
            .parent()
            .is_some_and(|parent| placed.contains_key(&parent));
        if !is_in_archives_directory {
            layer.touch_parent(&entry.path, copying.now);
        }
        placed.insert(source.path.clone(), entry.path.clone());
        layer.put(entry, contents.bytes(source));
    }
    Ok(())
}
