//! Trees as lines, from a directory or a tar, so that two of them can be compared:
//! `kind mode uid:gid detail path`, where the detail is a file's size and the first of its names, or
//! what a link says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Lines by path.
pub(crate) type Listing = BTreeMap<String, String>;

#[derive(Default)]
struct Lister {
    /// Line without the names of hard links, and what tells which file it is.
    items: BTreeMap<String, (String, Option<String>)>,
}

/// What is below a directory on disk.
pub(crate) fn of_directory(root: &Path) -> Listing {
    let mut lister = Lister::default();
    lister.walk(root, root);
    lister.finish()
}

/// What an uncompressed tar holds, with what it says of `.` left out.
pub(crate) fn of_tar(reader: impl Read) -> Listing {
    let mut lister = Lister::default();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("a whole entry");
        let path = shown(&entry.path_bytes());
        let path = path
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        if path.is_empty() || path == "." {
            continue;
        }
        let header = entry.header().clone();
        let (mode, uid, gid) = (
            header.mode().expect("a mode") & 0o7777,
            header.uid().expect("a uid"),
            header.gid().expect("a gid"),
        );
        let link = entry.link_name_bytes().map(|name| shown(&name));
        use tar::EntryType;
        let (kind, detail) = match header.entry_type() {
            EntryType::Directory => ('d', String::new()),
            EntryType::Symlink => ('l', link.clone().expect("a link's target")),
            EntryType::Fifo => ('p', String::new()),
            EntryType::Char => ('c', String::new()),
            EntryType::Block => ('b', String::new()),
            EntryType::Link => {
                let target = link.expect("a link's target");
                let target = target.trim_start_matches("./").to_owned();
                let (line, _) = lister
                    .items
                    .get(&target)
                    .expect("a link to what came before");
                let line = line.clone();
                let first = lister.items.get_mut(&target).expect("it was just there");
                first.1 = Some(target.clone());
                lister.items.insert(path, (line, Some(target)));
                continue;
            }
            _ => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("whole content");
                ('f', format!("{}", content.len()))
            }
        };
        let line = format!("{kind} {mode:o} {uid}:{gid} {detail}");
        lister.items.insert(path, (line, None));
    }
    lister.finish()
}

impl Lister {
    fn walk(&mut self, root: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).expect("metadata");
            let (kind, detail) = match metadata.mode() & libc::S_IFMT {
                libc::S_IFDIR => ('d', String::new()),
                libc::S_IFLNK => {
                    let target = fs::read_link(&path).expect("a link");
                    ('l', shown(target.as_os_str().as_bytes()))
                }
                libc::S_IFIFO => ('p', String::new()),
                libc::S_IFCHR => ('c', String::new()),
                libc::S_IFBLK => ('b', String::new()),
                _ => ('f', format!("{}", metadata.len())),
            };
            let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            let line = format!("{kind} {mode:o} {uid}:{gid} {detail}");
            let several = kind == 'f' && metadata.nlink() > 1;
            let below = path.strip_prefix(root).expect("below the root");
            let identity = several.then(|| metadata.ino().to_string());
            self.items
                .insert(shown(below.as_os_str().as_bytes()), (line, identity));
            if metadata.is_dir() {
                self.walk(root, &path);
            }
        }
    }

    /// Names every hard link by the first of its paths.
    fn finish(self) -> Listing {
        let mut firsts: BTreeMap<String, String> = BTreeMap::new();
        let mut listing = Listing::new();
        for (path, (line, identity)) in self.items {
            let line = match identity {
                None => line.trim_end().to_owned(),
                Some(identity) => {
                    let first = firsts.entry(identity).or_insert_with(|| path.clone());
                    format!("{line} ={first}")
                }
            };
            listing.insert(path, line);
        }
        listing
    }
}

/// What of a listing is below `directory`, without the directory itself.
pub(crate) fn below(listing: &Listing, directory: &str) -> Listing {
    let prefix = format!("{directory}/");
    let inside = listing.iter().filter_map(|(path, line)| {
        let path = path.strip_prefix(&prefix)?;
        Some((path.to_owned(), line.replace(&format!("={prefix}"), "=")))
    });
    inside.collect()
}

/// One line a path, for tables of cases.
pub(crate) fn lines(listing: &Listing) -> Vec<String> {
    let lines = listing.iter().map(|(path, line)| format!("{path} {line}"));
    lines.collect()
}

pub(crate) fn of_tar_file(path: &Path) -> Listing {
    of_tar(File::open(path).expect("the tar is there"))
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
