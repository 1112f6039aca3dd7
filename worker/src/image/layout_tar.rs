//! A tar file whose entries are read in place, without unpacking it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use kiln_solver::RelPath;

use super::layout::LayoutError;
use crate::io_error::AtPath;

/// How many links to other entries are followed: `docker save` once wrote one.
const MAXIMUM_LINKS: usize = 8;
/// An archive of images has a few entries for each layer.
const MAXIMUM_ENTRIES: usize = 100_000;

/// Where the files of a tar are.
#[derive(Debug)]
pub(super) struct TarFile {
    file: Arc<File>,
    entries: HashMap<String, TarEntry>,
}

#[derive(Debug)]
enum TarEntry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl TarFile {
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let file = File::open(path).at("open", path)?;
        refuse_compressed(&file, path)?;
        let reader = BufReader::new(file.try_clone().at("open", path)?);
        let entries = read_entries(reader).map_err(|problem| not_a_layout(path, &problem))?;
        Ok(Self {
            file: Arc::new(file),
            entries,
        })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.locate(name).is_some()
    }

    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.locate(name).map(|(_, size)| size)
    }

    pub(super) fn file(&self, name: &str) -> Option<Box<dyn Read + Send>> {
        let (offset, size) = self.locate(name)?;
        Some(Box::new(Part {
            file: Arc::clone(&self.file),
            offset,
            left: size,
        }))
    }

    fn locate(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        for _ in 0..MAXIMUM_LINKS {
            match self.entries.get(name)? {
                TarEntry::File { offset, size } => return Some((*offset, *size)),
                TarEntry::Link(target) => name = target,
            }
        }
        None
    }
}

fn not_a_layout(path: &Path, problem: &dyn ToString) -> LayoutError {
    LayoutError::NotALayout {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// What is no tar is not quoted: it may be any file.
fn unreadable(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => io::Error::other("it is not a tar archive, or a damaged one"),
    }
}

fn refuse_compressed(file: &File, path: &Path) -> Result<(), LayoutError> {
    let mut magic = [0; 4];
    let length = file.read_at(&mut magic, 0).at("read", path)?;
    let compressed = match &magic[..length] {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "zstd",
        [0xfd, b'7', b'z', b'X'] => "xz",
        _ => return Ok(()),
    };
    let problem = format!("it is compressed with {compressed}; decompress it first");
    Err(not_a_layout(path, &problem))
}

fn read_entries(reader: BufReader<File>) -> io::Result<HashMap<String, TarEntry>> {
    let mut archive = tar::Archive::new(reader);
    let mut entries = HashMap::new();
    for entry in archive.entries_with_seek().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(name) = normal_name(&entry.path_bytes()) else {
            continue;
        };
        let kind = entry.header().entry_type();
        let link = entry.link_name_bytes();
        let link = link.and_then(|link| link_target(&name, &link, kind.is_symlink()));
        let found = match (kind, link) {
            (tar::EntryType::Regular | tar::EntryType::Continuous, _) => TarEntry::File {
                offset: entry.raw_file_position(),
                size: entry.size(),
            },
            (tar::EntryType::Link | tar::EntryType::Symlink, Some(target)) => {
                TarEntry::Link(target)
            }
            _ => continue,
        };
        entries.insert(name, found);
        if entries.len() > MAXIMUM_ENTRIES {
            return Err(io::Error::other("too many entries for an image"));
        }
    }
    Ok(entries)
}

fn normal_name(name: &[u8]) -> Option<String> {
    let path = RelPath::parse(name).ok()?;
    String::from_utf8(path.as_bytes().to_vec()).ok()
}

/// Symbolic links start at their directory, hard links at the archive's root.
fn link_target(name: &str, target: &[u8], is_symbolic: bool) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let base = match RelPath::parse(name.as_bytes()).ok()?.parent() {
        Some(parent) if is_symbolic => parent,
        _ => RelPath::root(),
    };
    let resolved = RelPath::resolve(&base, target);
    String::from_utf8(resolved.as_bytes().to_vec()).ok()
}

/// A part of a file.
struct Part {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let length = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
