//! Other people's programs that unpack archives, and what comes of it as lines.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

/// A program, and how it unpacks each archive `$1/NUMBER.tar` into a directory `$2/NUMBER`; where it fails it
/// makes a file `$2/NUMBER.failed`.
pub(super) struct Tool {
    pub(super) name: &'static str,
    script: &'static str,
    /// What it never does as others do, which says nothing of archives.
    pub(super) leaves_times_of_links: bool,
}

pub(super) const TOOLS: [Tool; 3] = [
    Tool {
        name: "gnu",
        script: "for archive in $1/*.tar; do out=$2/$(basename $archive .tar); mkdir $out; \
                 tar -x -p --same-owner --numeric-owner -f $archive -C $out 2>$out.said || mv $out.said $out.failed; done",
        leaves_times_of_links: false,
    },
    Tool {
        name: "libarchive",
        script: "for archive in $1/*.tar; do out=$2/$(basename $archive .tar); mkdir $out; \
                 bsdtar -x -p --same-owner --numeric-owner -f $archive -C $out 2>$out.said || mv $out.said $out.failed; done",
        leaves_times_of_links: false,
    },
    Tool {
        name: "python",
        script: "python3 -c \"$PROGRAM\" $1 $2",
        // It has no call for that (tarfile.py, `utime`).
        leaves_times_of_links: true,
    },
];

/// Python trusts archives, unless it is given a filter that changes modes, too, and that not every version has.
const PROGRAM: &str = r#"
import os, sys, tarfile
tarfile.TarFile.extraction_filter = staticmethod(lambda member, path: member)
def inside(archive, out):
    for member in archive:
        member.name = member.name.lstrip('/')
        names = [member.name] + ([member.linkname] if member.islnk() else [])
        for name in names:
            place = os.path.realpath(os.path.join(out, name))
            if os.path.commonpath([out, place]) != out:
                raise Exception(name + ' leads out')
        yield member
for name in os.listdir(sys.argv[1]):
    out = os.path.realpath(os.path.join(sys.argv[2], name[:-len('.tar')]))
    os.mkdir(out)
    try:
        with tarfile.open(os.path.join(sys.argv[1], name)) as archive:
            archive.extractall(out, inside(archive, out), numeric_owner=True)
    except Exception as error:
        with open(out + '.failed', 'w') as said:
            said.write(repr(error))
"#;

impl Tool {
    /// Unpacks all archives of a directory into another one.
    pub(super) fn unpack_all(&self, archives: &Path, to: &Path) {
        fs::create_dir(to).expect("a new directory");
        let status = Command::new("bash")
            .args(["-uc", &format!("umask 022; {}", self.script), "bash"])
            .args([archives, to])
            .env("PROGRAM", PROGRAM)
            .env("LC_ALL", "C.UTF-8")
            .status();
        assert!(status.expect("bash runs").success(), "{}", self.name);
    }
}

/// What came of an archive; `Err` is what the program said when it failed.
pub(super) fn unpacked(to: &Path, number: usize) -> Result<Tree, String> {
    match fs::read(to.join(format!("{number}.failed"))) {
        Ok(said) => Err(String::from_utf8_lossy(&said).trim().to_owned()),
        Err(_) => Ok(tree(&to.join(number.to_string()))),
    }
}

/// Paths, and a line for each: kind, mode, owner, times and what the kind brings with it.
pub(super) type Tree = BTreeMap<String, Line>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) is_link: bool,
    pub(super) is_directory: bool,
    pub(super) seconds: i64,
}

/// What is below a directory.
pub(super) fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut names = BTreeMap::new();
    walk(root, root, &mut tree, &mut names);
    tree
}

fn walk(root: &Path, at: &Path, tree: &mut Tree, names: &mut BTreeMap<u64, String>) {
    let mut entries: Vec<_> = fs::read_dir(at).expect("a directory").flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        let shown = shown(path.strip_prefix(root).expect("it is below").as_os_str());
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let kind = metadata.file_type();
        let first = names.entry(metadata.ino()).or_insert(shown.clone()).clone();
        let detail = if kind.is_symlink() {
            format!(
                "l -> {}",
                self::shown(fs::read_link(&path).expect("a link").as_os_str())
            )
        } else if kind.is_dir() {
            "d".to_owned()
        } else if kind.is_file() {
            let content = fs::read(&path).expect("readable");
            let sum = Sha256::digest(&content);
            format!(
                "f {} {:02x}{:02x}{:02x}{:02x}",
                content.len(),
                sum[0],
                sum[1],
                sum[2],
                sum[3]
            )
        } else if kind.is_fifo() {
            "p".to_owned()
        } else {
            let device = metadata.rdev();
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            let letter = if kind.is_char_device() { 'c' } else { 'b' };
            format!("{letter} {major}:{minor}")
        };
        let same = if first == shown {
            String::new()
        } else {
            format!(" = {first}")
        };
        let what = format!(
            "{:04o} {}:{} {detail}{same}",
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid()
        );
        tree.insert(
            shown,
            Line {
                what,
                is_link: kind.is_symlink(),
                is_directory: kind.is_dir(),
                seconds: metadata.mtime(),
            },
        );
        if kind.is_dir() {
            walk(root, &path, tree, names);
        }
    }
}

fn shown(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}
