//! What one layer holds, as a sorted list.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::ops::Range;

use kiln_solver::{ContentDigest, RelPath};

use super::entry::{DirectoryKind, Entry, EntryKind, Timestamp};

/// The entries of one layer, each path once, in path order: everything below a directory follows it
/// at once.
///
/// # Encoding
/// The ASCII bytes `kilntree`, a version byte (1), then the entries in postcard's format.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerTree {
    entries: Vec<Entry>,
}

/// Why bytes are not an encoded tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// They do not begin as one.
    #[error("not a layer tree of a known version")]
    Header,
    /// They are damaged.
    #[error("a damaged layer tree: {0}")]
    Damaged(#[from] postcard::Error),
    /// Entries are out of order.
    #[error("a damaged layer tree: {0} is out of order")]
    Order(RelPath),
}

const HEADER: &[u8] = b"kilntree\x01";

impl LayerTree {
    /// Takes entries in any order. Of several for one path the last counts; if it is no directory but one before
    /// it was, what came below that is gone. Parents that are not
    /// there are added as implied directories; the root never stands in a tree that it alone is in.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut by_path: BTreeMap<RelPath, Entry> = BTreeMap::new();
        for entry in entries {
            let mut ancestor = entry.path.parent();
            while let Some(path) = ancestor.filter(|path| !path.is_root()) {
                ancestor = path.parent();
                if by_path.contains_key(&path) {
                    break;
                }
                by_path.insert(path.clone(), implied_directory(path));
            }
            match by_path.get(&entry.path) {
                // A tar may name a directory after what is in it.
                Some(known) if is_implied(&entry) && !is_implied(known) => {}
                Some(known) if known.is_directory() && replaces_directory(&entry) => {
                    remove_below(&mut by_path, &entry.path);
                    by_path.insert(entry.path.clone(), entry);
                }
                _ => {
                    by_path.insert(entry.path.clone(), entry);
                }
            }
        }
        Self {
            entries: by_path.into_values().collect(),
        }
    }

    /// Takes entries that are sorted, with each path once and every parent present.
    pub fn from_sorted(entries: Vec<Entry>) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.path < b.path));
        Self { entries }
    }

    /// The entries in path order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at a path.
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        Some(&self.entries[self.position(path)?])
    }

    /// The position of the entry at a path.
    pub(super) fn position(&self, path: &RelPath) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()
    }

    /// The deepest directory above `path` that can be in this layer: what the path has in common with
    /// the entry that comes before it. A layer has all parents of what it has.
    pub(super) fn deepest_known_ancestor(&self, path: &RelPath) -> Option<RelPath> {
        let before = self
            .entries
            .partition_point(|entry| entry.path < *path)
            .checked_sub(1)?;
        let (before, path) = (self.entries[before].path.components(), path.components());
        let common = before.zip(path).take_while(|(a, b)| a == b);
        Some(common.fold(RelPath::root(), |at, (name, _)| at.join_name(name)))
    }

    /// The entry at a path, if it is there, and all below it.
    pub fn subtree(&self, path: &RelPath) -> &[Entry] {
        &self.entries[self.positions_below(path)]
    }

    /// The positions of the entry at a path, if it is there, and of all below it.
    pub(super) fn positions_below(&self, path: &RelPath) -> Range<usize> {
        let start = self.entries.partition_point(|entry| entry.path < *path);
        let length = self.entries[start..].partition_point(|entry| entry.path.starts_with(path));
        start..start + length
    }

    /// Whether what the layer shows depends on the layers below: it has implied directories, or
    /// entries below something that is no directory.
    pub fn needs_settling(&self) -> bool {
        self.entries.iter().any(is_implied)
            || self
                .entries
                .windows(2)
                .any(|pair| pair[1].path.starts_with(&pair[0].path) && !pair[0].is_directory())
    }

    /// Names the layer by its content, modification times left out.
    pub fn content(&self) -> ContentDigest {
        let mut hasher = content_hasher();
        for entry in &self.entries {
            entry.hash_content(&mut hasher);
        }
        ContentDigest::new(*hasher.finalize().as_bytes())
    }

    /// How many bytes its files have.
    pub fn file_bytes(&self) -> u64 {
        let size = |entry: &Entry| match entry.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        };
        self.entries.iter().map(size).sum()
    }

    /// The bytes to keep on disk, and the layer's content.
    pub fn encode(&self) -> EncodedTree {
        let mut writer = TreeWriter::default();
        self.entries.iter().for_each(|entry| writer.push(entry));
        writer.finish()
    }

    /// The inverse of [`LayerTree::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let entries = TreeReader::new(bytes)?.collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }
}

fn content_hasher() -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"kiln layer content 1");
    hasher
}

/// A tree as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedTree {
    /// See [`LayerTree`].
    pub bytes: Vec<u8>,
    /// What [`LayerTree::content`] says of it.
    pub content: ContentDigest,
}

/// Encodes a tree entry by entry.
pub struct TreeWriter {
    /// The entries so far, without what stands before them.
    bytes: Vec<u8>,
    length: usize,
    hasher: blake3::Hasher,
}

impl Default for TreeWriter {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            length: 0,
            hasher: content_hasher(),
        }
    }
}

impl TreeWriter {
    /// Adds an entry, whose path comes after those of all before.
    pub fn push(&mut self, entry: &Entry) {
        self.bytes = encode_onto(std::mem::take(&mut self.bytes), entry);
        self.length += 1;
        entry.hash_content(&mut self.hasher);
    }

    /// The tree, of which all entries were added.
    pub fn finish(self) -> EncodedTree {
        let mut bytes = self.bytes;
        // Moved, not copied: a large tree is in memory once.
        bytes.splice(0..0, encode_onto(HEADER.to_vec(), &self.length));
        EncodedTree {
            bytes,
            content: ContentDigest::new(*self.hasher.finalize().as_bytes()),
        }
    }
}

fn encode_onto(bytes: Vec<u8>, value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("entries hold nothing that postcard refuses")
}

/// Decodes a tree entry by entry. After an error there are no more.
pub struct TreeReader<B> {
    bytes: B,
    at: usize,
    left: usize,
    last: Option<RelPath>,
}

impl<B: AsRef<[u8]>> TreeReader<B> {
    /// Begins with the header.
    pub fn new(bytes: B) -> Result<Self, TreeError> {
        let all = bytes.as_ref();
        let body = all.strip_prefix(HEADER).ok_or(TreeError::Header)?;
        let (left, rest) = postcard::take_from_bytes(body)?;
        let at = all.len() - rest.len();
        Ok(Self {
            bytes,
            at,
            left,
            last: None,
        })
    }

    /// What [`LayerTree::content`] says of the whole tree, of which nothing has been read yet.
    pub fn content(self) -> Result<ContentDigest, TreeError> {
        let mut hasher = content_hasher();
        for entry in self {
            entry?.hash_content(&mut hasher);
        }
        Ok(ContentDigest::new(*hasher.finalize().as_bytes()))
    }

    fn decode(&mut self) -> Result<Entry, TreeError> {
        let all = self.bytes.as_ref();
        let (entry, rest): (Entry, _) = postcard::take_from_bytes(&all[self.at..])?;
        self.at = all.len() - rest.len();
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(TreeError::Order(entry.path));
        }
        self.last = Some(entry.path.clone());
        Ok(entry)
    }
}

impl<B: AsRef<[u8]>> Iterator for TreeReader<B> {
    type Item = Result<Entry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let decoded = self.decode();
        if decoded.is_err() {
            self.left = 0;
        }
        Some(decoded)
    }
}

/// Whether a directory goes, with all that is in it, when this comes after it. A deletion is about the layers
/// below, wherever it stands.
fn replaces_directory(entry: &Entry) -> bool {
    !entry.is_directory() && entry.kind != EntryKind::Whiteout
}

fn remove_below(by_path: &mut BTreeMap<RelPath, Entry>, directory: &RelPath) {
    let behind = (Bound::Excluded(directory), Bound::Unbounded);
    let below = by_path.range::<RelPath, _>(behind).map(|(path, _)| path);
    let below: Vec<RelPath> = below
        .take_while(|path| path.starts_with(directory))
        .cloned()
        .collect();
    for path in below {
        by_path.remove(&path);
    }
}

fn is_implied(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Directory(DirectoryKind::Implied))
}

fn implied_directory(path: RelPath) -> Entry {
    Entry {
        kind: EntryKind::Directory(DirectoryKind::Implied),
        ..Entry::directory(path, 0o755, Timestamp::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    fn directory(text: &str) -> Entry {
        Entry::directory(
            path(text),
            0o700,
            Timestamp {
                seconds: 5,
                nanoseconds: 0,
            },
        )
    }

    #[test]
    fn missing_parents_are_implied_and_later_named_ones_count() {
        let tree = LayerTree::new([directory("a/b/c"), directory("a")]);
        assert_eq!(tree.get(&path("a")).map(|e| e.mode), Some(0o700));
        assert!(tree.get(&path("a/b")).is_some_and(is_implied));
        assert!(tree.needs_settling());
        assert_eq!(tree.subtree(&path("a/b")).len(), 2);
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        let tree = LayerTree::new([directory("x"), directory("x/y")]);
        assert_eq!(
            LayerTree::decode(&tree.encode().bytes).expect("decodes"),
            tree
        );
        assert!(LayerTree::decode(b"kilntree\x02").is_err());
    }

    #[test]
    fn content_leaves_out_modification_times_only() {
        let tree = LayerTree::new([directory("x")]);
        let mut later = directory("x");
        later.mtime.seconds += 1;
        assert_eq!(LayerTree::new([later]).content(), tree.content());
        let mut other = directory("x");
        other.mode = 0o755;
        assert_ne!(LayerTree::new([other]).content(), tree.content());
    }
}
