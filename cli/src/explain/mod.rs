//! Says in words why a step was not in the cache.

mod difference;

use kiln_solver::miss::{Miss, Reason};
use kiln_worker::tree::{ChangeKind, PathChange};

/// How many files are named.
const FILES: usize = 10;

/// Why a step ran, a line for each cause. `files` are those that a copy found changed.
pub fn lines(miss: &Miss, files: &[PathChange]) -> Vec<String> {
    match &miss.reason {
        Reason::Forbidden => vec!["it may not come from the cache (--no-cache)".to_owned()],
        Reason::New => vec!["nothing like it is in the cache".to_owned()],
        Reason::Gone => {
            vec!["it was built before, but what it yielded is no longer in the store".to_owned()]
        }
        Reason::Changed { differences, .. } => {
            let causes = differences
                .iter()
                .map(|difference| difference::sentence(difference, &miss.inputs));
            causes.chain(changed_files(files)).collect()
        }
    }
}

fn changed_files(files: &[PathChange]) -> Vec<String> {
    let named = files.iter().take(FILES).map(|change| {
        let how = match change.kind {
            ChangeKind::Added => "new",
            ChangeKind::Removed => "gone",
            ChangeKind::Content => "changed",
            ChangeKind::Metadata => "changed in mode, owner or attributes",
        };
        format!("  {} is {how}", change.path)
    });
    let more = files.len().saturating_sub(FILES);
    let rest = (more > 0).then(|| format!("  and {more} more"));
    named.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use kiln_solver::key::Difference;
    use kiln_solver::{Key, RelPath};

    use super::*;

    #[test]
    fn files_are_named_under_their_cause() {
        let miss = Miss {
            inputs: vec![
                "[1/3] FROM base".to_owned(),
                "[internal] load build context".to_owned(),
            ],
            reason: Reason::Changed {
                earlier: Key::new([0; 32]),
                differences: vec![Difference {
                    path: "inputs.content[1].-".to_owned(),
                    before: vec!["aa".to_owned()],
                    after: vec!["bb".to_owned()],
                }],
            },
        };
        let change = |path: &str, kind| PathChange {
            path: RelPath::parse(path.as_bytes()).expect("a path"),
            kind,
        };
        let mut files = vec![change("src/main.rs", ChangeKind::Content)];
        files.extend((0..11).map(|n| change(&format!("src/n{n}"), ChangeKind::Added)));
        let found = lines(&miss, &files);
        assert_eq!(
            found[0],
            "what it reads of [internal] load build context changed"
        );
        assert_eq!(found[1], "  /src/main.rs is changed");
        assert_eq!(found.last().map(String::as_str), Some("  and 2 more"));
    }
}
