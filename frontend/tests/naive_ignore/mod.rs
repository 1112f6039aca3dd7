//! What ignore patterns mean, read literally: every pattern is asked on every level. It knows only the
//! pieces that tests put patterns together from, and may take very long.

/// One pattern and what it remembers of the directory above.
pub(crate) struct Reference {
    patterns: Vec<(bool, Vec<char>)>,
}

impl Reference {
    /// Takes patterns that are cleaned.
    pub(crate) fn new(texts: &[String]) -> Self {
        let patterns = texts.iter().map(|text| match text.strip_prefix('!') {
            Some(body) => (true, body.chars().collect()),
            None => (false, text.chars().collect()),
        });
        Self {
            patterns: patterns.collect(),
        }
    }

    /// Every pattern on every level, with what it matched on the level above.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut above = vec![false; self.patterns.len()];
        let mut verdict = false;
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            let level: Vec<char> = path[..end].chars().collect();
            let mut here = vec![false; self.patterns.len()];
            verdict = false;
            for (i, (takes_back, pattern)) in self.patterns.iter().enumerate() {
                if !above[i] && *takes_back != verdict {
                    continue;
                }
                here[i] = above[i] || whole(pattern, &level);
                if here[i] {
                    verdict = !takes_back;
                }
            }
            above = here;
        }
        verdict
    }
}

/// The three short cuts of the original, then its expressions.
fn whole(pattern: &[char], path: &[char]) -> bool {
    let is_plain = |text: &[char]| !text.iter().any(|c| "*?[]\\".contains(*c));
    match pattern {
        ['*', '*', suffix @ ..] if is_plain(suffix) => {
            path.ends_with(suffix) || (suffix.first() == Some(&'/') && path == &suffix[1..])
        }
        [prefix @ .., '*', '*'] if is_plain(prefix) => path.starts_with(prefix),
        _ => matches(pattern, path),
    }
}

fn matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            let behind_slashes = (1..=path.len()).filter(|at| path[at - 1] == '/');
            std::iter::once(0)
                .chain(behind_slashes)
                .any(|at| matches(rest, &path[at..]))
        }
        ['*', rest @ ..] => {
            let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=end).any(|at| matches(rest, &path[at..]))
        }
        ['?', rest @ ..] => matches!(path, [c, tail @ ..] if *c != '/' && matches(rest, tail)),
        ['[', 'a', '-', 'b', ']', rest @ ..] => {
            matches!(path, ['a' | 'b', tail @ ..] if matches(rest, tail))
        }
        ['[', '^', 'a', ']', rest @ ..] => {
            matches!(path, [c, tail @ ..] if *c != 'a' && matches(rest, tail))
        }
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            matches!(path, [d, tail @ ..] if c == d && matches(rest, tail))
        }
    }
}
