//! Which files a COPY or ADD selects: wildcards, links, exclusions.

use kiln_solver::RelPath;
use kiln_solver::op::Selection;
use kiln_solver::pattern::{Patterns, glob_matches};

use super::error::ExecutorError;
use crate::tree::{EntryKind, Found, View};

/// A file or directory that a pattern selects.
pub(super) struct Selected<'v> {
    /// The pattern's position in the selection.
    pub(super) pattern: usize,
    /// The name that it was selected by: the last component of the path as written.
    pub(super) name: Vec<u8>,
    /// Where it is, links followed.
    pub(super) path: RelPath,
    /// Itself (except for the root) and what is below it, in path order, without what is excluded.
    pub(super) entries: Vec<Found<'v>>,
}

impl Selected<'_> {
    /// Whether this is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.path.is_root()
            || self
                .entries
                .first()
                .is_some_and(|found| found.entry.path == self.path && found.entry.is_directory())
    }
}

/// Finds what the patterns of a selection match, in order. A pattern without wildcards must match;
/// one with wildcards may match nothing in a directory that is there.
pub(super) fn select<'v>(
    view: &'v View,
    selection: &Selection,
) -> Result<Vec<Selected<'v>>, ExecutorError> {
    let exclude = patterns(&selection.exclude)?;
    let mut all = Vec::new();
    for (pattern, text) in selection.patterns.iter().enumerate() {
        for Located { name, path } in locate(view, text)? {
            let entries = view.subtree(&path);
            let entries = entries
                .into_iter()
                .filter(|found| !is_excluded(&found.entry.path, &path, exclude.as_ref()))
                .collect();
            all.push(Selected {
                pattern,
                name,
                path,
                entries,
            });
        }
    }
    Ok(all)
}

/// Where something is that a pattern matches.
pub(super) struct Located {
    /// The name that it was found by.
    pub(super) name: Vec<u8>,
    /// Where it is, links followed.
    pub(super) path: RelPath,
}

/// Finds what a pattern matches. One without wildcards must match.
pub(super) fn locate(view: &View, pattern: &str) -> Result<Vec<Located>, ExecutorError> {
    let located = matches(view, pattern)?.into_iter().map(|matched| {
        let path = view
            .resolve(&matched)
            .ok_or_else(|| too_many_links(&matched))?;
        if !path.is_root() && view.get(&path).is_none() {
            // A link to nothing.
            return Err(ExecutorError::NotFound(matched));
        }
        let name = matched.file_name().unwrap_or_default().to_vec();
        Ok(Located { name, path })
    });
    located.collect()
}

/// The symbolic links among what a pattern with wildcards matches.
pub(super) fn links_matched(view: &View, pattern: &str) -> Result<Vec<RelPath>, ExecutorError> {
    if !has_wildcards(pattern.as_bytes()) {
        return Ok(Vec::new());
    }
    let is_link = |path: &RelPath| {
        let found = view.get(path).map(|found| &found.entry.kind);
        matches!(found, Some(EntryKind::Symlink { .. }))
    };
    Ok(matches(view, pattern)?
        .into_iter()
        .filter(is_link)
        .collect())
}

/// Compiles exclusions; `None` if there are none.
fn patterns(texts: &[String]) -> Result<Option<Patterns>, ExecutorError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let compiled = Patterns::new(texts.iter().map(String::as_str));
    Ok(Some(compiled.map_err(|error| {
        ExecutorError::Pattern(error.to_string())
    })?))
}

/// Exclusions are relative to the directory that is copied, and never apply to it itself.
fn is_excluded(path: &RelPath, root: &RelPath, exclude: Option<&Patterns>) -> bool {
    let Some(exclude) = exclude else { return false };
    path.strip_prefix(root)
        .is_some_and(|below| !below.is_root() && exclude.excludes(&below))
}

fn matches(view: &View, pattern: &str) -> Result<Vec<RelPath>, ExecutorError> {
    let clean = RelPath::resolve(&RelPath::root(), pattern);
    // A wildcard that `..` takes away again is none.
    if !has_wildcards(clean.as_bytes()) {
        let resolved = view.resolve(&clean).ok_or_else(|| too_many_links(&clean))?;
        if !resolved.is_root() && view.get(&resolved).is_none() {
            return Err(ExecutorError::NotFound(clean));
        }
        return Ok(vec![clean]);
    }
    let prefix = literal_prefix(pattern);
    let wild = clean.strip_prefix(&prefix).unwrap_or_default();
    let Some(root) = view.resolve(&prefix) else {
        return Err(too_many_links(&prefix));
    };
    if !root.is_root() && view.get(&root).is_none() {
        return Err(ExecutorError::NotFound(prefix));
    }
    let mut found: Vec<RelPath> = Vec::new();
    for candidate in view.subtree(&root) {
        let path = &candidate.entry.path;
        let Some(below) = path.strip_prefix(&root).filter(|below| !below.is_root()) else {
            continue;
        };
        // What is below a match comes with it.
        let is_below_match = found.last().is_some_and(|last| path.starts_with(last));
        if !is_below_match && glob_matches(wild.as_bytes(), below.as_bytes()) {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn too_many_links(path: &RelPath) -> ExecutorError {
    ExecutorError::TooManyLinks(path.clone())
}

/// Whether a pattern has unquoted wildcards.
pub(super) fn has_wildcards(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The directory that all matches of a pattern are in; the path itself if there are no wildcards.
pub(super) fn literal_prefix(pattern: &str) -> RelPath {
    let clean = RelPath::resolve(&RelPath::root(), pattern);
    let mut prefix = RelPath::root();
    for component in clean.components() {
        if has_wildcards(component) {
            break;
        }
        prefix = prefix.join_name(component);
    }
    prefix
}
