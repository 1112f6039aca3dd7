//! A layer's tar as a list of changes.

use std::fmt::{self, Write as _};
use std::io::Read;

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::time::Seconds;

/// Content of this many bytes is shown in the records, longer one by its hash.
const SHOWN: usize = 64;

/// What a layer does, by path and, for one path, in the tar's order.
pub(crate) struct Layer {
    pub(crate) changes: Vec<Change>,
}

/// A change of a path, which is escaped.
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) what: What,
}

/// What happens to a path.
pub(crate) enum What {
    Delete,
    /// All that lower layers have below it goes.
    Clear,
    /// It is another name of a path of this layer.
    Link(String),
    Put(Node),
}

/// A file of any type, without its name.
#[derive(Clone)]
pub(crate) struct Node {
    /// The letter of `ls`.
    pub(crate) kind: char,
    mode: u32,
    owner: (u64, u64),
    modified: Seconds,
    /// Content, target or device numbers, with a blank before it.
    detail: String,
    /// Names and values, sorted.
    attributes: Vec<(String, String)>,
}

impl Layer {
    /// Reads an uncompressed tar.
    pub(crate) fn read(reader: impl Read) -> Self {
        let mut archive = tar::Archive::new(reader);
        let entries = archive.entries().expect("a tar");
        let mut changes: Vec<Change> = entries
            .map(|entry| Change::read(entry.expect("a whole entry")))
            .collect();
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Self { changes }
    }

    /// Whether files have several names in it.
    pub(crate) fn has_links(&self) -> bool {
        let is_link = |change: &Change| matches!(change.what, What::Link(_));
        self.changes.iter().any(is_link)
    }
}

impl Change {
    fn read(mut entry: tar::Entry<'_, impl Read>) -> Self {
        let path = shown(&entry.path_bytes());
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(name) = name.strip_prefix(".wh.") {
            let (path, what) = match name {
                ".wh..opq" => (parent.to_owned(), What::Clear),
                _ if parent.is_empty() => (name.to_owned(), What::Delete),
                _ => (format!("{parent}/{name}"), What::Delete),
            };
            return Self { path, what };
        }
        let path = path.to_owned();
        let what = match entry.header().entry_type() {
            EntryType::Link => {
                let target = shown(&entry.link_name_bytes().expect("a target"));
                What::Link(target.trim_start_matches(['.', '/']).to_owned())
            }
            _ => What::Put(Node::read(&mut entry)),
        };
        Self { path, what }
    }
}

impl Node {
    fn read(entry: &mut tar::Entry<'_, impl Read>) -> Self {
        let header = entry.header().clone();
        let (kind, detail) = match header.entry_type() {
            EntryType::Directory => ('d', String::new()),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().expect("a target");
                ('l', format!(" -> {}", shown(&target)))
            }
            EntryType::Fifo => ('p', String::new()),
            EntryType::Char => ('c', device(&header)),
            EntryType::Block => ('b', device(&header)),
            _ => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("whole content");
                ('f', summary(&content))
            }
        };
        Self {
            kind,
            mode: header.mode().expect("a mode") & 0o7777,
            owner: (
                header.uid().expect("a user"),
                header.gid().expect("a group"),
            ),
            modified: Seconds(header.mtime().expect("a time").cast_signed()),
            detail,
            attributes: attributes(entry),
        }
    }
}

fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> Vec<(String, String)> {
    let Some(extensions) = entry.pax_extensions().expect("well-formed extensions") else {
        return Vec::new();
    };
    let mut attributes: Vec<(String, String)> = extensions
        .filter_map(|extension| {
            let extension = extension.expect("a well-formed extension");
            let name = extension.key().ok()?.strip_prefix("SCHILY.xattr.")?;
            Some((name.to_owned(), shown(extension.value_bytes())))
        })
        .collect();
    attributes.sort();
    attributes
}

fn device(header: &tar::Header) -> String {
    let number = |number: std::io::Result<Option<u32>>| number.ok().flatten().unwrap_or_default();
    let (major, minor) = (number(header.device_major()), number(header.device_minor()));
    format!(" {major}:{minor}")
}

fn summary(content: &[u8]) -> String {
    if content.len() <= SHOWN {
        return format!(" \"{}\"", content.escape_ascii());
    }
    let mut text = format!(" {} bytes, sha256 ", content.len());
    for byte in &Sha256::digest(content)[..8] {
        write!(text, "{byte:02x}").expect("text takes everything");
    }
    text
}

/// Bytes of a name as one printable word.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace(' ', "\\x20")
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.what {
            What::Delete => write!(formatter, "- {path}"),
            What::Clear => write!(formatter, "- {path}/*"),
            What::Link(target) => write!(formatter, "= {path} = {target}"),
            What::Put(node) => node.write(formatter, path),
        }
    }
}

impl Node {
    /// `kind mode owner time path detail attributes`.
    pub(crate) fn write(&self, formatter: &mut impl fmt::Write, path: &str) -> fmt::Result {
        let Self {
            kind,
            mode,
            owner: (user, group),
            modified,
            detail,
            attributes,
        } = self;
        write!(
            formatter,
            "{kind} {mode:04o} {user}:{group} {modified} {path}{detail}"
        )?;
        for (name, value) in attributes {
            write!(formatter, " {name}=\"{value}\"")?;
        }
        Ok(())
    }
}
