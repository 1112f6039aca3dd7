//! The patterns in which operations select and exclude paths.
//!
//! Two languages: Go's `filepath.Match`, for the sources of a COPY, and that of `.dockerignore`
//! (moby/patternmatcher), where `**` crosses directories, `!` takes back, and a match of a directory
//! counts for all that is below it. Patterns are compiled once, and of thousands only the few that
//! share a piece of text with a path are tried on it.

mod class;
mod glob;
mod index;
mod rule;
mod token;

use crate::path::RelPath;
use index::Index;
use rule::Rule;

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {problem}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Whether a path matches a pattern of Go's `filepath.Match`: `*` and `?` do not cross `/`, `[a-z]`
/// and `[^a]` are classes, a backslash quotes. A malformed pattern matches nothing.
pub fn glob_matches(pattern: &[u8], path: &[u8]) -> bool {
    glob::parse(pattern).is_ok_and(|tokens| token::matches(&tokens, path))
}

/// Whether a text is a pattern of Go's `filepath.Match`.
pub fn check_glob(pattern: &str) -> Result<(), PatternError> {
    let of = |problem| PatternError {
        pattern: pattern.to_owned(),
        problem,
    };
    glob::parse(pattern.as_bytes()).map(drop).map_err(of)
}

/// Exclusion patterns in the language of `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    index: Index,
    /// The positions of the patterns that take back.
    taking_back: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// As it was written, but cleaned.
    text: String,
    rule: Rule,
    takes_back: bool,
}

impl Patterns {
    /// Compiles patterns in order; later ones win. They are trimmed and cleaned as Go's
    /// `filepath.Clean` does, so that a leading `/` or `..` stays and matches nothing; comments and
    /// what else a file may hold are the caller's concern.
    pub fn new<'p>(texts: impl Iterator<Item = &'p str>) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            patterns.push(Pattern::new(text)?);
        }
        let index = Index::new(patterns.iter().map(|pattern| &pattern.rule));
        let positions = 0..patterns.len();
        let taking_back = positions.filter(|at| patterns[*at].takes_back).collect();
        Ok(Self {
            patterns,
            index,
            taking_back,
        })
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns in order, cleaned.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.text.as_str())
    }

    /// Whether some pattern includes again what others exclude.
    pub fn takes_something_back(&self) -> bool {
        !self.taking_back.is_empty()
    }

    /// Whether one of the patterns by itself excludes all that there is: `*`, `**` or `**/*`.
    pub fn exclude_everything(&self) -> bool {
        let excluding = self.patterns.iter().filter(|pattern| !pattern.takes_back);
        excluding
            .into_iter()
            .any(|pattern| pattern.rule.matches_everything())
    }

    /// Whether a path is excluded, found as a walk from the root would find it.
    ///
    /// On each level the patterns are asked in order. One that matched a directory also matches what
    /// is below, but one that could not have changed the verdict is not asked, and then matches
    /// below only if it does so itself. Therefore `d`, `!d/x`, `d` leaves `d/x` in.
    pub fn excludes(&self, path: &RelPath) -> bool {
        let path = path.as_bytes();
        let candidates = self.index.candidates(path);
        let mut matched_above = vec![false; candidates.len()];
        let mut verdict = false;
        for level in levels(path) {
            verdict = false;
            for (candidate, matched) in candidates.iter().zip(&mut matched_above) {
                let pattern = &self.patterns[*candidate];
                let is_asked = pattern.takes_back == verdict;
                if *matched || (is_asked && pattern.rule.matches(level)) {
                    *matched = true;
                    verdict = !pattern.takes_back;
                }
            }
        }
        verdict
    }

    /// Whether something below an excluded directory may be included nevertheless: some `!` pattern
    /// can match there. May be wrongly true.
    pub fn may_include_below(&self, directory: &RelPath) -> bool {
        let mut directory = directory.as_bytes().to_vec();
        if !directory.is_empty() {
            directory.push(b'/');
        }
        self.taking_back
            .iter()
            .any(|at| self.patterns[*at].rule.may_match_below(&directory))
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, PatternError> {
        let fail = |problem| PatternError {
            pattern: text.to_owned(),
            problem,
        };
        let clean = clean(text);
        let (takes_back, body) = match clean.strip_prefix('!') {
            Some("") => return Err(fail("nothing follows the exclamation mark")),
            Some(body) => (true, body),
            None => (false, clean.as_str()),
        };
        glob::parse(body.as_bytes()).map_err(fail)?;
        let rule = Rule::parse(body).map_err(fail)?;
        Ok(Self {
            text: clean,
            rule,
            takes_back,
        })
    }
}

/// The directories above a path from the root down, and the path itself.
fn levels(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes
        .map(|(at, _)| &path[..at])
        .chain((!path.is_empty()).then_some(path))
}

/// The shortest path of the same meaning, as Go's `path.Clean`: `.` for nothing.
pub fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if absolute => {}
            _ => components.push(component),
        }
    }
    match (absolute, components.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_as_filepath_match() {
        let cases = [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("d/*", "d/a", true),
            ("d*/?.c", "dir/x.c", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]x", "/x", true),
            ("[\\-]x", "-x", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("**", "a/b", false),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbYd", false),
            ("?", "ä", true),
            ("[", "[", false),
            ("*/b", "a/b", true),
            ("*", "", true),
        ];
        for (pattern, path, expected) in cases {
            let found = glob_matches(pattern.as_bytes(), path.as_bytes());
            assert_eq!(found, expected, "{pattern:?} on {path:?}");
        }
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).expect("a path")
    }

    fn compiled(patterns: &[&str]) -> Patterns {
        Patterns::new(patterns.iter().copied()).expect("patterns")
    }

    #[test]
    fn exclusions_as_dockerignore() {
        let cases: [(&[&str], &str, bool); 31] = [
            (&["node_modules"], "node_modules/x/y.js", true),
            (&["node_modules"], "a/node_modules", false),
            (&["**/node_modules"], "a/b/node_modules/c", true),
            (&["**/node_modules"], "node_modules", true),
            (&["**/node_modules"], "xnode_modules", false),
            (&["*.md", "!README.md"], "README.md", false),
            (&["*.md", "!README.md"], "a.md", true),
            (&["!a", "a"], "a", true),
            (&["a", "!a/b"], "a/b/c", false),
            (&["a/"], "a", true),
            (&["/a"], "a", false),
            (&["a/**"], "a/b/c", true),
            (&["a/**"], "a", false),
            (&["a/**/z"], "a/z", true),
            (&["a/**/z"], "a/b/c/z", true),
            (&["a/**/z"], "a/bz", false),
            (&["**"], "a/b", true),
            (&["**/*.go"], "x/y.go", true),
            (&["**foo"], "x/yfoo", true),
            (&["*a**/b"], "xaab", true),
            (&["."], "a", false),
            (&["../a"], "a", false),
            (&["d", "!d/x", "d"], "d/x", false),
            (&["d", "!d/x", "d"], "d/y", true),
            (&["[a-c]?"], "bé", true),
            (&["a.b"], "axb", false),
            (&["a*b^c"], "axb^c", false),
            (&["^a*"], "ax", true),
            (&["a\\*"], "a*", true),
            (&["\\d*"], "7x", true),
            (&["*"], "a/b", true),
        ];
        for (patterns, text, expected) in cases {
            assert_eq!(
                compiled(patterns).excludes(&path(text)),
                expected,
                "{patterns:?} on {text:?}"
            );
        }
    }

    #[test]
    fn paths_of_windows_are_read_as_by_buildkit() {
        let cases = [
            ("app\\build", "app/build", false),
            ("app\\build", "appbuild", false),
            ("app\\b-x", "app-x", true),
            ("app\\Build", "appuild", true),
            ("src\\App", "srcpp", false),
            ("\\App", "pp", true),
            ("fuz\\z", "fuz", true),
            ("fuz\\zx", "fuzx", false),
            ("\\x41b", "Ab", true),
            ("\\101b", "Ab", true),
            ("\\0", "0", false),
            ("[\\x41-\\103]x", "Bx", true),
            ("a\\Q*.b", "a[^/]*\\.b$anything", true),
            ("a\\Q*.b", "ax.b", false),
            ("a\\Qb?\\E*", "ab[^/]x", true),
            ("a\\Q**", "a.*$", true),
        ];
        for (pattern, text, expected) in cases {
            let excludes = compiled(&[pattern]).excludes(&path(text));
            assert_eq!(excludes, expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn what_is_taken_back_is_looked_for_below() {
        let patterns = compiled(&["a", "b", "!a/c/d", "!w*/x"]);
        let may = |text: &str| patterns.may_include_below(&path(text));
        assert!(may("a") && may("a/c") && may("wide") && may(""));
        assert!(!may("b") && !may("a/x") && !may("a/c/d/e") && !may("wide/x"));
        assert!(compiled(&["*", "!**/x"]).may_include_below(&path("any/where")));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in [
            "[", "a[", "[]a", "a\\", "!", "[-a]", "[b-a]", "\\p", "[\\q]", "[^]", "\\1", "\\xg",
            "\\C", "[\\b]",
        ] {
            assert!(Patterns::new([text].into_iter()).is_err(), "{text:?}");
        }
        for text in ["[", "a[", "a\\", "[a-]"] {
            assert!(check_glob(text).is_err(), "{text:?}");
        }
        assert!(
            ["a]", "[a]", "\\[", ""]
                .iter()
                .all(|text| check_glob(text).is_ok())
        );
    }
}
