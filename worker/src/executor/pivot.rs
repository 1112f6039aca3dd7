//! What `COPY --parents` selects: the part of a pattern before `/./` leads to directories, and the rest
//! is an inclusion in the language of `.dockerignore` below each of them.

use std::borrow::Cow;
use std::collections::HashSet;

use kiln_solver::RelPath;
use kiln_solver::op::Selection;
use kiln_solver::pattern::Patterns;

use super::error::ExecutorError;
use super::select::{self, Located, Selected, has_wildcards, locate};
use crate::tree::{Found, View};

/// What is selected below one of the places that a pattern's first part leads to.
pub(super) struct Pivoted<'v> {
    /// The place, and what of it is copied. A file is selected whatever the rest of the pattern says,
    /// as in BuildKit.
    pub(super) selected: Selected<'v>,
    /// The directories between the place and what is below that are not selected themselves: they are
    /// made like these.
    pub(super) parents: Vec<Found<'v>>,
}

/// Finds what the patterns match, in order. A path without wildcards must be there, reached through no
/// link, as in BuildKit; a part before the pivot that has some may lead nowhere.
pub(super) fn select_with_parents<'v>(
    view: &'v View,
    selection: &Selection,
) -> Result<Vec<Pivoted<'v>>, ExecutorError> {
    let exclude = compile(selection.exclude.iter().map(String::as_str))?;
    let mut all = Vec::new();
    for (pattern, text) in selection.patterns.iter().enumerate() {
        let (pivot, wanted) = parts(text);
        let inclusion = Inclusion {
            include: compile(std::iter::once(text_of(&wanted).as_ref()))?,
            exclude: &exclude,
            everything: wanted.is_root(),
        };
        let is_literal = !has_wildcards(pivot.as_bytes()) && !has_wildcards(wanted.as_bytes());
        let located = locate(view, pivot)?;
        if is_literal && !wanted.is_root() {
            let written = RelPath::resolve(&RelPath::root(), pivot).join(&wanted);
            if view.get(&written).is_none() || exclude.excludes(&wanted) {
                return Err(ExecutorError::NotFound(written));
            }
        }
        for Located { name, path } in located {
            all.push(inclusion.select(view, pattern, name, path));
        }
    }
    Ok(all)
}

/// The directory that all that a pattern matches is in, or the path itself if there are no wildcards.
pub(super) fn literal_prefix(pattern: &str) -> RelPath {
    let (pivot, wanted) = parts(pattern);
    let prefix = select::literal_prefix(pivot);
    match has_wildcards(pivot.as_bytes()) {
        true => prefix,
        false => prefix.join(&select::literal_prefix(&text_of(&wanted))),
    }
}

/// What stands before the pivot.
pub(super) fn before_pivot(pattern: &str) -> &str {
    parts(pattern).0
}

/// What stands before the pivot, and what is looked for behind it.
fn parts(pattern: &str) -> (&str, RelPath) {
    let (pivot, wanted) = pattern.split_once("/./").unwrap_or(("", pattern));
    (pivot, RelPath::resolve(&RelPath::root(), wanted))
}

fn text_of(wanted: &RelPath) -> Cow<'_, str> {
    String::from_utf8_lossy(wanted.as_bytes())
}

fn compile<'p>(texts: impl Iterator<Item = &'p str>) -> Result<Patterns, ExecutorError> {
    Patterns::new(texts).map_err(|error| ExecutorError::Pattern(error.to_string()))
}

struct Inclusion<'p> {
    include: Patterns,
    exclude: &'p Patterns,
    /// Nothing stands behind the pivot.
    everything: bool,
}

impl Inclusion<'_> {
    fn select<'v>(
        &self,
        view: &'v View,
        pattern: usize,
        name: Vec<u8>,
        path: RelPath,
    ) -> Pivoted<'v> {
        let mut entries = Vec::new();
        let mut parents = Vec::new();
        let mut known: HashSet<&RelPath> = HashSet::new();
        for found in view.subtree(&path) {
            let below = found.entry.path.strip_prefix(&path).unwrap_or_default();
            if below.is_root() {
                entries.push(found);
                continue;
            }
            if !self.includes(&below) {
                continue;
            }
            let mut above = found.entry.path.parent();
            while let Some(directory) = above.filter(|it| *it != path && !known.contains(it)) {
                above = directory.parent();
                if let Some(parent) = view.get(&directory) {
                    known.insert(&parent.entry.path);
                    parents.push(parent);
                }
            }
            known.insert(&found.entry.path);
            entries.push(found);
        }
        Pivoted {
            selected: Selected {
                pattern,
                name,
                path,
                entries,
            },
            parents,
        }
    }

    fn includes(&self, below: &RelPath) -> bool {
        (self.everything || self.include.excludes(below)) && !self.exclude.excludes(below)
    }
}
