//! One pattern of `.dockerignore`, cleaned and without its `!`.
//!
//! moby/patternmatcher turns patterns into regular expressions; what that does to unusual ones is
//! kept here: classes match `/`, `**` need not be followed by a slash, `^` is the start, and escaped
//! letters have the meaning that Go's expressions give them.

use std::iter::Peekable;
use std::str::Chars;

use super::class::{self, Class};
use super::token::{self, Token, push_literal};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// No wildcards.
    Exact(Vec<u8>),
    /// Ends in `**`, with no other wildcards.
    Prefix(Vec<u8>),
    /// Begins with `**`, with no other wildcards; `**/a` also matches `a`.
    Suffix(Vec<u8>),
    /// Anything else.
    Tokens(Vec<Token>),
}

impl Rule {
    /// Compiles a pattern.
    pub(super) fn parse(pattern: &str) -> Result<Self, &'static str> {
        if let Some(suffix) = pattern.strip_prefix("**").filter(|suffix| is_plain(suffix)) {
            return Ok(Self::Suffix(suffix.as_bytes().to_vec()));
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|prefix| is_plain(prefix)) {
            return Ok(Self::Prefix(prefix.as_bytes().to_vec()));
        }
        if is_plain(pattern) {
            return Ok(Self::Exact(pattern.as_bytes().to_vec()));
        }
        parse_tokens(pattern).map(Self::Tokens)
    }

    /// Whether the pattern matches a path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Self::Tokens(tokens) => token::matches(tokens, path),
        }
    }

    /// Whether it is one of the patterns that people write for everything.
    pub(super) fn matches_everything(&self) -> bool {
        ["*", "**", "**/*"]
            .iter()
            .any(|text| Self::parse(text).as_ref() == Ok(self))
    }

    /// Whether the pattern could match something below a directory, given with a `/` at its end.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.len() > directory.len() && exact.starts_with(directory),
            Self::Prefix(prefix) => prefix.starts_with(directory) || directory.starts_with(prefix),
            Self::Suffix(_) => true,
            Self::Tokens(tokens) => token::may_go_on_behind(tokens, directory),
        }
    }

    /// The literals that every matching path contains.
    pub(super) fn literals(&self) -> Vec<&[u8]> {
        match self {
            Self::Exact(literal) | Self::Prefix(literal) => vec![literal],
            // `**/a` matches `a`, without the slash.
            Self::Suffix(literal) => vec![literal.strip_prefix(b"/").unwrap_or(literal)],
            Self::Tokens(tokens) => {
                let literals = tokens.iter().filter_map(|token| match token {
                    Token::Literal(literal) => Some(literal.as_slice()),
                    _ => None,
                });
                literals.collect()
            }
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains(['*', '?', '[', ']', '\\'])
}

/// What stands behind a backslash. A path of Windows such as `src\App` is full of these, too.
fn escape(rest: &mut Peekable<Chars<'_>>, tokens: &mut Vec<Token>) -> Result<(), &'static str> {
    let letter = *rest.peek().ok_or("it ends in a backslash")?;
    let token = match letter {
        'A' => Token::Start,
        'z' => Token::End,
        'b' => Token::Boundary(true),
        'B' => Token::Boundary(false),
        'Q' => {
            rest.next();
            return quote(rest, tokens);
        }
        _ => match Class::named(letter) {
            Some(class) => Token::Class(class),
            None => {
                let character = class::escaped(rest).ok_or("an escape is unknown")?;
                push_literal(tokens, character);
                return Ok(());
            }
        },
    };
    rest.next();
    tokens.push(token);
    Ok(())
}

/// Behind `\Q`, up to `\E`, characters stand for themselves: those of the expression that the pattern was
/// turned into before. Without `\E` the `$` at its end is one of them, so that anything may follow.
fn quote(rest: &mut Peekable<Chars<'_>>, tokens: &mut Vec<Token>) -> Result<(), &'static str> {
    let mut push = |text: &str| text.chars().for_each(|c| push_literal(tokens, c));
    while let Some(next) = rest.next() {
        match next {
            '\\' if rest.next_if_eq(&'E').is_some() => return Ok(()),
            '\\' => {
                push("\\");
                push(&rest.next().ok_or("it ends in a backslash")?.to_string());
            }
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                push(if rest.peek().is_none() {
                    ".*"
                } else {
                    "(.*/)?"
                });
            }
            '*' => push("[^/]*"),
            '?' => push("[^/]"),
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => push(&format!("\\{next}")),
            other => push(&other.to_string()),
        }
    }
    push("$");
    tokens.push(Token::Rest);
    Ok(())
}

fn parse_tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut rest = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(next) = rest.next() {
        match next {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                let is_last = rest.peek().is_none();
                tokens.push(if is_last {
                    Token::Everything
                } else {
                    Token::Directories
                });
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => {
                let class = Class::of_expression(&mut rest)?;
                tokens.push(class.map_or(Token::Never, Token::Class));
            }
            '\\' => escape(&mut rest, &mut tokens)?,
            '^' => tokens.push(Token::Start),
            literal => push_literal(&mut tokens, literal),
        }
    }
    Ok(tokens)
}
