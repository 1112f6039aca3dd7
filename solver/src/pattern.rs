//! The patterns in which operations select and exclude paths.
//!
//! Two languages share one engine: Go's `filepath.Match`, for the sources of a COPY, and that of
//! `.dockerignore` (moby/patternmatcher), where `**` crosses directories, `!` takes back, and a match
//! of a directory counts for all that is below it.

use crate::path::RelPath;

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
    Glob::parse(pattern, DoubleStar::IsStar).is_ok_and(|glob| glob.matches(path))
}

/// Exclusion patterns in the language of `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    glob: Glob,
    takes_back: bool,
}

impl Patterns {
    /// Compiles patterns in order; later ones win. Comments and blank lines are the caller's
    /// concern, `.`, `..` and doubled or leading slashes are cleaned away.
    pub fn new<'p>(texts: impl Iterator<Item = &'p str>) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for text in texts {
            let trimmed = text.trim();
            let (takes_back, body) = match trimmed.strip_prefix('!') {
                Some(body) => (true, body.trim()),
                None => (false, trimmed),
            };
            let fail = |problem| PatternError {
                pattern: text.to_owned(),
                problem,
            };
            if body.is_empty() {
                if takes_back {
                    return Err(fail("nothing follows the exclamation mark"));
                }
                continue;
            }
            let clean = RelPath::resolve(&RelPath::root(), body);
            if clean.is_root() {
                continue;
            }
            let glob =
                Glob::parse(clean.as_bytes(), DoubleStar::CrossesDirectories).map_err(fail)?;
            patterns.push(Pattern { glob, takes_back });
        }
        Ok(Self { patterns })
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path is excluded: the last pattern that matches it, or a directory above it,
    /// decides.
    pub fn excludes(&self, path: &RelPath) -> bool {
        if self.patterns.is_empty() || path.is_root() {
            return false;
        }
        let prefixes: Vec<&[u8]> = prefixes(path.as_bytes()).collect();
        let deciding = self
            .patterns
            .iter()
            .rev()
            .find(|pattern| prefixes.iter().any(|prefix| pattern.glob.matches(prefix)));
        deciding.is_some_and(|pattern| !pattern.takes_back)
    }

    /// Whether something below an excluded directory may be included nevertheless: some `!` pattern
    /// can match there.
    pub fn may_include_below(&self, directory: &RelPath) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.takes_back && pattern.glob.may_match_below(directory.as_bytes()))
    }
}

/// A path and all directories above it, longest first.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    std::iter::once(path).chain(
        ends.collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|at| &path[..at]),
    )
}

/// What `**` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DoubleStar {
    IsStar,
    CrossesDirectories,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
struct Glob {
    tokens: Vec<Token>,
    /// The bytes before the first token that is not literal.
    literal_prefix: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`: any character but `/`.
    Any,
    /// `[…]`: ranges of characters.
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    /// `*`: anything without `/`.
    Star,
    /// `**/`: nothing, or directories.
    Directories,
    /// `**`: anything.
    Everything,
}

/// A place to go back to: the token of a star, and the end of what it has taken so far.
type Resume = Option<(usize, usize)>;

impl Glob {
    fn parse(pattern: &[u8], double_star: DoubleStar) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            match byte {
                b'*' if tail.starts_with(b"*") && double_star == DoubleStar::CrossesDirectories => {
                    rest = &tail[1..];
                    if let [b'/', tail @ ..] = rest {
                        rest = tail;
                        tokens.push(Token::Directories);
                    } else {
                        tokens.push(Token::Everything);
                    }
                }
                b'*' => tokens.push(Token::Star),
                b'?' => tokens.push(Token::Any),
                b'[' => {
                    let (class, tail) = parse_class(rest)?;
                    rest = tail;
                    tokens.push(class);
                }
                b'\\' => {
                    let [quoted, tail @ ..] = tail else {
                        return Err("it ends in a backslash");
                    };
                    rest = tail;
                    tokens.push(Token::Byte(*quoted));
                }
                byte => tokens.push(Token::Byte(*byte)),
            }
        }
        let literal_prefix = tokens.iter().map_while(Token::as_byte).collect();
        Ok(Self {
            tokens,
            literal_prefix,
        })
    }

    /// Tries each star with as little as possible first. Only the last `*` and the last `**` need
    /// to be tried again, since what an earlier one could take more, the later one can, too: so no
    /// pattern takes more than tokens × bytes steps for each of the two.
    fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.literal_prefix) {
            return false;
        }
        let (mut token, mut at) = (self.literal_prefix.len(), self.literal_prefix.len());
        let (mut star, mut double_star): (Resume, Resume) = (None, None);
        loop {
            let step = match self.tokens.get(token) {
                None if at == path.len() => return true,
                None => None,
                Some(Token::Star) => {
                    star = Some((token, at));
                    Some(0)
                }
                Some(Token::Directories | Token::Everything) => {
                    (star, double_star) = (None, Some((token, at)));
                    Some(0)
                }
                Some(other) => other.accepted_length(&path[at..]),
            };
            if let Some(length) = step {
                (token, at) = (token + 1, at + length);
                continue;
            }
            if let Some((resumed, taken)) =
                star.filter(|(_, taken)| !is_component_end(path, *taken))
            {
                star = Some((resumed, taken + 1));
                (token, at) = (resumed + 1, taken + 1);
                continue;
            }
            let Some((resumed, taken)) = double_star else {
                return false;
            };
            let Some(taken) = self
                .take_more(resumed, &path[taken..])
                .map(|more| taken + more)
            else {
                return false;
            };
            (star, double_star) = (None, Some((resumed, taken)));
            (token, at) = (resumed + 1, taken);
        }
    }

    /// How many bytes more a `**` can take next.
    fn take_more(&self, token: usize, rest: &[u8]) -> Option<usize> {
        match self.tokens[token] {
            Token::Directories => rest.iter().position(|byte| *byte == b'/').map(|at| at + 1),
            _ => (!rest.is_empty()).then_some(1),
        }
    }

    /// Whether some path below `directory` could match; may be wrongly true.
    fn may_match_below(&self, directory: &[u8]) -> bool {
        let common = self.literal_prefix.len().min(directory.len());
        self.literal_prefix[..common] == directory[..common]
    }
}

fn is_component_end(path: &[u8], at: usize) -> bool {
    path.get(at).is_none_or(|byte| *byte == b'/')
}

/// Reads a class after its `[`.
fn parse_class(text: &[u8]) -> Result<(Token, &[u8]), &'static str> {
    const UNCLOSED: &str = "a [ is not closed";
    let text = std::str::from_utf8(text).map_err(|_| "a class is not UTF-8")?;
    let (negated, text) = match text.strip_prefix('^') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    let mut characters = text.chars();
    let one = |characters: &mut std::str::Chars<'_>| match characters.next() {
        Some('\\') => characters.next().ok_or(UNCLOSED),
        Some('-') => Err("a range has no beginning"),
        Some(character) => Ok(character),
        None => Err(UNCLOSED),
    };
    loop {
        if let Some(tail) = characters
            .as_str()
            .strip_prefix(']')
            .filter(|_| !ranges.is_empty())
        {
            return Ok((Token::Class { ranges, negated }, tail.as_bytes()));
        }
        let low = one(&mut characters)?;
        let mut high = low;
        if let Some(tail) = characters.as_str().strip_prefix('-') {
            characters = tail.chars();
            high = one(&mut characters)?;
        }
        ranges.push((low, high));
    }
}

impl Token {
    fn as_byte(&self) -> Option<u8> {
        match self {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        }
    }

    /// How many bytes of `rest` this token takes; only for tokens that take exactly one character.
    fn accepted_length(&self, rest: &[u8]) -> Option<usize> {
        if let Token::Byte(expected) = self {
            return (rest.first() == Some(expected)).then_some(1);
        }
        let character = first_character(rest)?;
        let accepted = match self {
            Token::Class { ranges, negated } => {
                let is_in = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&character));
                is_in != *negated
            }
            _ => true,
        };
        (accepted && character != '/').then_some(character.len_utf8().min(rest.len()))
    }
}

/// The first character; of bytes that are not UTF-8, each counts as one.
fn first_character(bytes: &[u8]) -> Option<char> {
    let window = &bytes[..bytes.len().min(4)];
    match std::str::from_utf8(window) {
        Ok(text) => text.chars().next(),
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&window[..error.valid_up_to()])
                .ok()?
                .chars()
                .next()
        }
        Err(_) => Some('\u{7f}'),
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

    fn excluded(patterns: &[&str], path: &str) -> bool {
        let patterns = Patterns::new(patterns.iter().copied()).expect("patterns");
        patterns.excludes(&RelPath::parse(path.as_bytes()).expect("a path"))
    }

    #[test]
    fn exclusions_as_dockerignore() {
        let cases: [(&[&str], &str, bool); 16] = [
            (&["node_modules"], "node_modules/x/y.js", true),
            (&["node_modules"], "a/node_modules", false),
            (&["**/node_modules"], "a/b/node_modules/c", true),
            (&["**/node_modules"], "node_modules", true),
            (&["*.md", "!README.md"], "README.md", false),
            (&["*.md", "!README.md"], "a.md", true),
            (&["!a", "a"], "a", true),
            (&["a", "!a/b"], "a/b/c", false),
            (&["/a/"], "a", true),
            (&["a/**"], "a/b/c", true),
            (&["a/**/z"], "a/z", true),
            (&["a/**/z"], "a/b/c/z", true),
            (&["**"], "a/b", true),
            (&["**/*.go"], "x/y.go", true),
            (&["."], "a", false),
            (&["../a"], "a", true),
        ];
        for (patterns, path, expected) in cases {
            assert_eq!(
                excluded(patterns, path),
                expected,
                "{patterns:?} on {path:?}"
            );
        }
    }

    #[test]
    fn what_is_taken_back_is_looked_for_below() {
        let patterns = Patterns::new(["a", "b", "!a/c/d"].into_iter()).expect("patterns");
        let may = |path: &str| {
            patterns.may_include_below(&RelPath::parse(path.as_bytes()).expect("a path"))
        };
        assert!(may("a") && may("a/c") && may("a/c/d/e"));
        assert!(!may("b") && !may("a/x"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["[", "a[", "[]a", "a\\", "!", "[-a]"] {
            assert!(Patterns::new([text].into_iter()).is_err(), "{text:?}");
        }
    }
}
