//! What a step reads, file by file: not to name it, but to say later which file is another one.

use std::collections::BTreeMap;

use kiln_solver::op::{Reading, Reads};
use kiln_solver::{ListedFile, RelPath};

use super::error::ExecutorError;
use super::pivot::select_with_parents;
use super::select::select;
use crate::tree::{Entry, Found, View, Xattrs};

/// How many files are listed one by one. Of more, directories stand for what is in them, as deep as this
/// leaves room for; a record of a step has some 70 bytes for each.
const MOST: usize = 4000;
/// Of more files than this nothing is listed: it would take longer than people want to wait for an explanation
/// that they may never ask for.
const TOO_MANY: usize = 100_000;
/// How many hexadecimal digits of a hash tell one state of a file from another.
const DIGITS: usize = 16;

/// Lists what is read of a view.
pub(super) fn listing(view: &View, reading: &Reading) -> Result<Vec<ListedFile>, ExecutorError> {
    let found = match &reading.reads {
        Reads::Everything => Vec::new(),
        Reads::Subtree(path) => view.subtree(&view.resolve(path).unwrap_or_default()),
        Reads::Selection(selection) if selection.keep_parents => {
            let all = select_with_parents(view, selection)?.into_iter();
            let all = all.flat_map(|one| {
                let chosen = chosen(one.selected.entries, reading.only_what_is_named);
                one.parents.into_iter().chain(chosen)
            });
            all.collect()
        }
        Reads::Selection(selection) => {
            let all = select(view, selection)?.into_iter();
            all.flat_map(|one| chosen(one.entries, reading.only_what_is_named))
                .collect()
        }
    };
    if found.len() > TOO_MANY {
        return Ok(Vec::new());
    }
    let files: Vec<_> = found.iter().map(|found| listed(found.entry)).collect();
    Ok(folded(&files, MOST))
}

fn chosen(entries: Vec<Found<'_>>, only_what_is_named: bool) -> impl Iterator<Item = Found<'_>> {
    let most = if only_what_is_named { 1 } else { usize::MAX };
    // What is named comes before what is in it.
    entries.into_iter().take(most)
}

fn listed(entry: &Entry) -> (RelPath, [String; 2]) {
    let hash = |entry: &Entry| {
        let mut hasher = blake3::Hasher::new();
        entry.hash_content(&mut hasher);
        hasher.finalize().to_hex()[..DIGITS].to_owned()
    };
    let bare = Entry {
        mode: 0,
        uid: 0,
        gid: 0,
        xattrs: Xattrs::new(),
        ..entry.clone()
    };
    (entry.path.clone(), [hash(&bare), hash(entry)])
}

/// The files, or the deepest directories of which there are no more than `most`.
fn folded(files: &[(RelPath, [String; 2])], most: usize) -> Vec<ListedFile> {
    let deepest = files.iter().map(|(path, _)| path.components().count());
    let deepest = deepest.max().unwrap_or(0);
    let mut depth = deepest;
    let mut groups = grouped(files, depth);
    while groups.len() > most && depth > 0 {
        depth -= 1;
        groups = grouped(files, depth);
    }
    let file = |(path, states): (RelPath, Vec<&[String; 2]>)| match states.as_slice() {
        [[content, all]] => ListedFile {
            path: path.to_string(),
            content: content.clone(),
            all: all.clone(),
        },
        several => {
            let digest = |which: usize| {
                let mut hasher = blake3::Hasher::new();
                several.iter().for_each(|state| {
                    hasher.update(state[which].as_bytes());
                });
                hasher.finalize().to_hex()[..DIGITS].to_owned()
            };
            ListedFile {
                path: path.to_string(),
                content: digest(0),
                all: digest(1),
            }
        }
    };
    groups.into_iter().map(file).collect()
}

fn grouped(files: &[(RelPath, [String; 2])], depth: usize) -> BTreeMap<RelPath, Vec<&[String; 2]>> {
    let mut groups = BTreeMap::<RelPath, Vec<_>>::new();
    for (path, state) in files {
        let components = path.components().take(depth);
        let place = components.fold(RelPath::root(), |path, name| path.join_name(name));
        let states = groups.entry(place).or_default();
        // Two mounts may show the same file.
        if !states.contains(&state) {
            states.push(state);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[(&str, &str)]) -> Vec<(RelPath, [String; 2])> {
        let file = |(name, state): &(&str, &str)| {
            let path = RelPath::parse(name.as_bytes()).expect("a path");
            (path, [(*state).to_owned(), format!("{state} all")])
        };
        names.iter().map(file).collect()
    }

    fn names(listed: &[ListedFile]) -> Vec<&str> {
        listed.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn directories_stand_for_too_many_files() {
        let all = files(&[("a/b/c", "1"), ("a/b/d", "2"), ("a/e", "3"), ("f", "4")]);
        let paths = |most| {
            let listed = folded(&all, most);
            names(&listed).join(" ")
        };
        assert_eq!(paths(4), "/a/b/c /a/b/d /a/e /f");
        assert_eq!(paths(3), "/a/b /a/e /f");
        assert_eq!(paths(2), "/a /f");
        assert_eq!(paths(1), "/");
        let other = files(&[("a/b/c", "1"), ("a/b/d", "5"), ("a/e", "3"), ("f", "4")]);
        let (before, after) = (folded(&all, 2), folded(&other, 2));
        assert_ne!(before[0].content, after[0].content);
        assert_eq!(before[1], after[1]);
    }
}
