//! The patterns in which operations select and exclude paths.

use crate::path::RelPath;

/// Whether a path matches a pattern of Go's `filepath.Match`, taken component by component: `*` and
/// `?` do not cross `/`, `[a-z]` and `[^a]` are classes, a backslash quotes.
pub fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    let _ = (pattern, name);
    false
}

/// Exclusion patterns in the language of `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Patterns {}

impl Patterns {
    /// Whether a path is excluded.
    pub fn excludes(&self, _path: &RelPath) -> bool {
        false
    }
    /// Whether something below an excluded directory may be included nevertheless.
    pub fn may_include_below(&self, _directory: &RelPath) -> bool {
        false
    }
}
