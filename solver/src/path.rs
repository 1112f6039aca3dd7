//! Paths inside a build: relative to some root, and unable to leave it.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path below a root, in normal form: components joined by `/`, none of them empty, `.` or `..`,
/// no NUL. The root itself is the empty path. Bytes, because Linux file names are; shared, because a
/// tree of 100,000 files is held in several forms at once.
///
/// The order treats `/` as the lowest byte, so that everything below a directory follows it at once.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RelPath(Arc<[u8]>);

/// Why bytes from outside are not a [`RelPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component is `..`, which could leave the root.
    #[error("the path {0:?} contains \"..\"")]
    Parent(String),
    /// The path contains a NUL byte, which no file name can.
    #[error("the path {0:?} contains a NUL byte")]
    Nul(String),
}

impl RelPath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path strictly: a leading `/`, doubled `/` and `.` are dropped, `..` is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let lossy = || String::from_utf8_lossy(bytes).into_owned();
        if bytes.contains(&0) {
            return Err(PathError::Nul(lossy()));
        }
        let mut path = Vec::with_capacity(bytes.len());
        for component in bytes.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(PathError::Parent(lossy())),
                _ => push(&mut path, component),
            }
        }
        Ok(Self(path.into()))
    }

    /// Reads a path as a shell inside the root would: `..` goes up and stops at the root, and `text`
    /// starts at `base` unless it is absolute. NUL bytes are dropped.
    pub fn resolve(base: &RelPath, text: &str) -> Self {
        let mut path: Vec<u8> = if text.starts_with('/') {
            Vec::new()
        } else {
            base.0.to_vec()
        };
        for component in text.as_bytes().split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                _ if component.contains(&0) => {
                    let clean: Vec<u8> = component.iter().copied().filter(|b| *b != 0).collect();
                    push(&mut path, &clean);
                }
                _ => push(&mut path, component),
            }
        }
        Self(path.into())
    }

    /// The bytes, without a leading `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<RelPath> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// This path with one more component.
    ///
    /// # Panics
    /// If `name` is not a single component (empty, `.`, `..`, or with `/` or NUL): names come from
    /// directory entries or from a parsed path.
    pub fn join_name(&self, name: &[u8]) -> RelPath {
        assert!(
            !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0),
            "not a file name: {:?}",
            String::from_utf8_lossy(name)
        );
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        push(&mut path, name);
        Self(path.into())
    }

    /// `other` below this path.
    pub fn join(&self, other: &RelPath) -> RelPath {
        if other.is_root() {
            return self.clone();
        }
        let mut path = self.0.to_vec();
        push(&mut path, &other.0);
        Self(path.into())
    }

    /// What remains below `ancestor`; `None` if this path is neither `ancestor` nor below it.
    pub fn strip_prefix(&self, ancestor: &RelPath) -> Option<RelPath> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*ancestor.0)? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.into())),
            _ => None,
        }
    }

    /// Whether this path is `ancestor` or lies below it.
    pub fn starts_with(&self, ancestor: &RelPath) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(&*ancestor.0)
                .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }

    /// Whether this path is `directory` with one more component.
    pub fn is_directly_in(&self, directory: &RelPath) -> bool {
        let below = if directory.is_root() {
            Some(&*self.0)
        } else {
            self.0
                .strip_prefix(&*directory.0)
                .and_then(|rest| rest.strip_prefix(b"/"))
        };
        below.is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
    }
}

fn push(path: &mut Vec<u8>, component: &[u8]) {
    if component.is_empty() {
        return;
    }
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(component);
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |b: &u8| if *b == b'/' { 0 } else { u16::from(*b) + 1 };
        let at = common_prefix(&self.0, &other.0);
        self.0.get(at).map(rank).cmp(&other.0.get(at).map(rank))
    }
}

/// How many bytes are the same at the beginning. Neighbours in a tree share most of theirs, so whole
/// words are compared.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut words = words_a.iter().zip(words_b);
    let same_words = words.position(|(a, b)| a != b);
    let start = 8 * same_words.unwrap_or(words_a.len().min(words_b.len()));
    let rest = a[start..].iter().zip(&b[start..]);
    start + rest.take_while(|(a, b)| a == b).count()
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    /// As an absolute path inside the root, bytes that are not UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a valid path")
    }

    #[test]
    fn strict_parsing_drops_noise_and_refuses_parents() {
        assert_eq!(path("//a/./b/").as_bytes(), b"a/b");
        assert!(RelPath::parse(b"a/../b").is_err());
        assert!(RelPath::parse(b"a\0").is_err());
    }

    #[test]
    fn resolving_stays_inside_the_root() {
        assert_eq!(RelPath::resolve(&path("w/x"), "../../../etc"), path("etc"));
        assert_eq!(RelPath::resolve(&path("w"), "y/./z/"), path("w/y/z"));
        assert_eq!(RelPath::resolve(&path("w"), "/y"), path("y"));
    }

    #[test]
    fn a_directory_is_followed_by_what_it_holds() {
        let mut paths = [path("a.b"), path("a/z"), path("a"), path("ab"), path("a-b")];
        paths.sort();
        let names: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/a", "/a/z", "/a-b", "/a.b", "/ab"]);
    }

    #[test]
    fn the_order_is_that_of_components() {
        let names = [
            "a",
            "ab",
            "a-b",
            "directory",
            "directory1",
            "with space",
            "z",
        ];
        let mut paths = vec![RelPath::root()];
        for outer in names {
            for inner in names {
                paths.extend([path(outer), path(&format!("{outer}/{inner}/{outer}"))]);
            }
        }
        for a in &paths {
            for b in &paths {
                assert_eq!(a.cmp(b), a.components().cmp(b.components()), "{a} {b}");
            }
        }
    }

    #[test]
    fn prefixes_end_at_components() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
        assert_eq!(path("a/b").strip_prefix(&path("a")), Some(path("b")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert!(path("a").is_directly_in(&RelPath::root()));
        assert!(path("a/b").is_directly_in(&path("a")));
        assert!(!path("a/b/c").is_directly_in(&path("a")));
        assert!(!path("a").is_directly_in(&path("a")));
    }
}
