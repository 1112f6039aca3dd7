//! What a server says of its references, and which of them is meant.

use kiln_solver::ObjectId;

/// The fewest digits that stand for a commit.
const FEWEST_DIGITS: usize = 7;

/// A reference of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// What it names: a commit, or an annotated tag.
    pub(super) object: ObjectId,
    /// For an annotated tag, the commit that it names.
    pub(super) commit: Option<ObjectId>,
    /// Its name in full.
    pub(super) name: String,
}

/// Chooses among the references that `git ls-remote --symref` lists the one that `wanted` means:
/// a full name counts most, then a branch, then a tag. An empty name is the default branch.
pub(super) fn choose(listing: &[u8], wanted: &str) -> Option<Reference> {
    let listing = String::from_utf8_lossy(listing);
    let lines = || listing.lines().filter_map(|line| line.split_once('\t'));
    let named = |name: &str| {
        let mut found = lines().filter(|(_, reference)| *reference == name);
        found.find_map(|(object, _)| object.parse::<ObjectId>().ok())
    };
    if wanted.is_empty() {
        let mut symbolic = lines().filter(|(_, reference)| *reference == "HEAD");
        let branch = symbolic.find_map(|(target, _)| target.strip_prefix("ref: "));
        return Some(Reference {
            object: named("HEAD")?,
            commit: None,
            name: branch.filter(|name| !name.starts_with('-'))?.to_owned(),
        });
    }
    let in_full = |prefix: &str| {
        let rest = wanted.strip_prefix(prefix).unwrap_or(wanted);
        format!("{prefix}{rest}")
    };
    let names = [
        in_full("refs/"),
        in_full("refs/heads/"),
        in_full("refs/tags/"),
    ];
    names.into_iter().find_map(|name| {
        Some(Reference {
            object: named(&name)?,
            commit: named(&format!("{name}^{{}}")),
            name,
        })
    })
}

/// Whether a name could be the first digits of a commit's.
pub(super) fn may_be_short_commit(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() >= FEWEST_DIGITS && name.bytes().all(is_digit)
}

/// Stands for any object of a repository that names them by SHA-1.
pub(super) fn any_sha1() -> ObjectId {
    "0".repeat(40).parse().expect("40 digits are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_chosen_as_git_does() {
        let id = |digit: char| digit.to_string().repeat(40);
        let listing = [
            "ref: refs/heads/main\tHEAD".to_owned(),
            format!("{}\tHEAD", id('a')),
            format!("{}\trefs/heads/main", id('a')),
            format!("{}\trefs/heads/v1", id('b')),
            format!("{}\trefs/tags/v1", id('c')),
            format!("{}\trefs/tags/v2", id('d')),
            format!("{}\trefs/tags/v2^{{}}", id('e')),
            format!("{}\trefs/pull/1/head", id('f')),
        ]
        .join("\n");
        let cases = [
            ("", Some(('a', None, "refs/heads/main"))),
            ("main", Some(('a', None, "refs/heads/main"))),
            ("v1", Some(('b', None, "refs/heads/v1"))),
            ("refs/tags/v1", Some(('c', None, "refs/tags/v1"))),
            ("tags/v1", Some(('c', None, "refs/tags/v1"))),
            ("v2", Some(('d', Some('e'), "refs/tags/v2"))),
            ("pull/1/head", Some(('f', None, "refs/pull/1/head"))),
            ("v3", None),
        ];
        for (wanted, expected) in cases {
            let found = choose(listing.as_bytes(), wanted);
            let expected = expected.map(|(object, commit, name)| Reference {
                object: id(object).parse().expect("an id"),
                commit: commit.map(|commit| id(commit).parse().expect("an id")),
                name: name.to_owned(),
            });
            assert_eq!(found, expected, "{wanted}");
        }
        assert_eq!(choose(b"", ""), None);
    }
}
