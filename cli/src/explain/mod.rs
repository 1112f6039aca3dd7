//! Says in words why a step was not in the cache.

mod difference;
mod excerpt;
mod watcher;

use kiln_solver::RelPath;
use kiln_solver::key::Difference;
use kiln_solver::miss::{Miss, Reason};
use kiln_worker::tree::{ChangeKind, PathChange};

pub use watcher::Explainer;

/// How many files are named.
const FILES: usize = 10;

/// What is said where two keys differ, but nothing that is known of them does.
const UNTOLD: &str = "its key is another one, though no part of it that is known differs";

/// What is said of a step that need not have run.
pub const REPRODUCED: &str =
    "it yielded the same as an earlier one, times aside: the earlier result was kept";

/// Why a step ran, each cause once. Values are cut to `longest` characters.
pub fn causes(miss: &Miss, longest: usize) -> Vec<String> {
    match &miss.reason {
        Reason::Forbidden => vec!["the cache was not to be used".to_owned()],
        Reason::New => vec!["the cache has nothing like it".to_owned()],
        Reason::Gone => vec!["what it yielded before is no longer in the store".to_owned()],
        Reason::Changed { differences, .. } => {
            let mut causes: Vec<String> = Vec::new();
            for difference in differences.iter().filter(|one| is_said(one, differences)) {
                let cause = difference::sentence(difference, &miss.inputs, longest);
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
            if causes.is_empty() {
                causes.push(UNTOLD.to_owned());
            }
            causes
        }
    }
}

/// Whether a difference is worth a sentence of its own: that an image's content changed follows from that it
/// is another one.
fn is_said(difference: &Difference, all: &[Difference]) -> bool {
    let replaced = |other: &Difference| match other.about() {
        Some((input, "image")) => is_replacement(other) && difference.input() == Some(input),
        _ => false,
    };
    match difference.about() {
        Some((_, "image")) => is_replacement(difference),
        // It is named below what it is a part of.
        Some((_, "file")) => false,
        Some(_) => true,
        None => !all.iter().any(replaced),
    }
}

fn is_replacement(image: &Difference) -> bool {
    !image.before.is_empty() && !image.after.is_empty()
}

/// The files of those that a step only reads which differ.
pub fn listed_files(differences: &[Difference]) -> Vec<PathChange> {
    let files = differences.iter().filter_map(|difference| {
        let path = RelPath::parse(difference.file()?.trim_start_matches('/').as_bytes()).ok()?;
        let kind = match (difference.before.is_empty(), difference.after.is_empty()) {
            (true, _) => ChangeKind::Added,
            (_, true) => ChangeKind::Removed,
            _ if difference.is_of_metadata() => ChangeKind::Metadata,
            _ => ChangeKind::Content,
        };
        Some(PathChange { path, kind })
    });
    let mut files: Vec<PathChange> = files.collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The files that a step found changed, the first ones by name.
pub fn changed_files(files: &[PathChange]) -> Vec<String> {
    let named = files.iter().take(FILES).map(|change| {
        let how = match change.kind {
            ChangeKind::Added => "is new",
            ChangeKind::Removed => "is gone",
            ChangeKind::Content => "changed",
            ChangeKind::Metadata => "changed in mode, owner or attributes",
        };
        format!("{} {how}", change.path)
    });
    let more = files.len().saturating_sub(FILES);
    let rest = (more > 0).then(|| format!("and {more} more"));
    named.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use kiln_solver::Key;

    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        let difference = |path: &str| Difference {
            path: path.to_owned(),
            before: vec!["aa".to_owned()],
            after: vec!["bb".to_owned()],
        };
        let miss = Miss {
            inputs: vec![
                "[1/3] FROM base".to_owned(),
                "[internal] load build context".to_owned(),
            ],
            reason: Reason::Changed {
                earlier: Key::new([0; 32]),
                differences: vec![
                    difference("inputs.content[1].-"),
                    difference("inputs.content[1].-"),
                    difference("op.exec.user"),
                ],
            },
        };
        let expected = [
            "what it reads of [internal] load build context changed",
            "the user was \"aa\" and is \"bb\"",
        ];
        assert_eq!(causes(&miss, 200), expected);
    }

    #[test]
    fn some_files_are_named_and_the_others_counted() {
        let change = |path: &str, kind| PathChange {
            path: RelPath::parse(path.as_bytes()).expect("a path"),
            kind,
        };
        let mut files = vec![change("src/main.rs", ChangeKind::Content)];
        files.extend((0..11).map(|n| change(&format!("src/n{n}"), ChangeKind::Added)));
        let found = changed_files(&files);
        assert_eq!(found[0], "/src/main.rs changed");
        assert_eq!(found[1], "/src/n0 is new");
        assert_eq!(found.last().map(String::as_str), Some("and 2 more"));
    }
}
