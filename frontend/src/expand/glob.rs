//! The patterns of `#`, `%` and `/`: `*` and `?`, neither of which matches a line feed.

use std::ops::Range;

use super::ExpandError;
use crate::limits::{EXPANSION_GROWTH, PATTERN_STEPS};

/// A compiled pattern.
pub(super) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Star,
    Any,
    Literal(char),
}

impl Glob {
    /// Reads a pattern. A backslash escapes `*`, `?`, itself, and `}` and `/`, which would end it.
    pub(super) fn new(pattern: &str) -> Result<Self, ExpandError> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(next) = chars.next() {
            let token = match next {
                '*' if tokens.last() == Some(&Token::Star) => continue,
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Literal(escaped),
                    _ => return Err(ExpandError::InvalidPattern(pattern.to_owned())),
                },
                literal => Token::Literal(literal),
            };
            tokens.push(token);
        }
        Ok(Self { tokens })
    }

    /// `value` without the shortest or longest match at its start.
    pub(super) fn trim_start<'v>(
        &self,
        value: &'v str,
        longest: bool,
    ) -> Result<&'v str, ExpandError> {
        self.check_size(value)?;
        let end = match_length(self.tokens.iter(), value.chars(), longest);
        Ok(end.map_or(value, |count| &value[byte_offset(value, count)..]))
    }

    /// `value` without the shortest or longest match at its end.
    pub(super) fn trim_end<'v>(
        &self,
        value: &'v str,
        longest: bool,
    ) -> Result<&'v str, ExpandError> {
        self.check_size(value)?;
        let length = match_length(self.tokens.iter().rev(), value.chars().rev(), longest);
        Ok(length.map_or(value, |count| {
            let keep = value.chars().count() - count;
            &value[..byte_offset(value, keep)]
        }))
    }

    /// `value` with the first match replaced.
    pub(super) fn replace_first(&self, value: &str, new: &str) -> Result<String, ExpandError> {
        let mut steps = 0;
        Ok(match self.find(value, 0, &mut steps)? {
            Some(found) => format!("{}{new}{}", &value[..found.start], &value[found.end..]),
            None => value.to_owned(),
        })
    }

    /// `value` with all matches replaced. As in Go, `$0` in the replacement is the match, any other
    /// reference is empty, `$$` is a dollar, and no empty match directly follows another match.
    pub(super) fn replace_all(&self, value: &str, new: &str) -> Result<String, ExpandError> {
        let mut result = String::new();
        let (mut copied, mut search, mut steps) = (0, 0, 0);
        while search <= value.len() {
            let Some(found) = self.find(value, search, &mut steps)? else {
                break;
            };
            result.push_str(&value[copied..found.start]);
            if found.end > copied || found.start == 0 {
                push_template(&mut result, new, &value[found.clone()]);
            }
            if result.len() > value.len() + EXPANSION_GROWTH {
                return Err(ExpandError::TooLong);
            }
            copied = found.end;
            let width = value[search..].chars().next().map_or(1, char::len_utf8);
            search = if found.end > search {
                found.end
            } else {
                search + width
            };
        }
        result.push_str(value.get(copied..).unwrap_or_default());
        Ok(result)
    }

    /// The first, longest match that begins at `from` or later.
    fn find(
        &self,
        value: &str,
        from: usize,
        steps: &mut usize,
    ) -> Result<Option<Range<usize>>, ExpandError> {
        let ends = std::iter::once(value.len());
        let starts = value[from..]
            .char_indices()
            .map(|(at, _)| from + at)
            .chain(ends);
        for start in starts {
            *steps += self.first_step_cost(&value[start..]);
            if *steps > PATTERN_STEPS {
                return Err(ExpandError::TooLong);
            }
            let rest = &value[start..];
            if let Some(count) = match_length(self.tokens.iter(), rest.chars(), true) {
                return Ok(Some(start..start + byte_offset(rest, count)));
            }
        }
        Ok(None)
    }

    /// An estimate of what a match from here costs: little if the first character already differs.
    fn first_step_cost(&self, rest: &str) -> usize {
        match self.tokens.first() {
            Some(Token::Literal(first)) if !rest.starts_with(*first) => 1,
            _ if self.tokens.contains(&Token::Star) => self.tokens.len() * (rest.len() + 1),
            _ => self.tokens.len() + 1,
        }
    }

    fn check_size(&self, value: &str) -> Result<(), ExpandError> {
        let steps = self.tokens.len().saturating_mul(value.len());
        if steps > PATTERN_STEPS {
            Err(ExpandError::TooLong)
        } else {
            Ok(())
        }
    }
}

/// How many characters of `text` the tokens match from its start: the fewest or the most.
fn match_length<'t>(
    tokens: impl Iterator<Item = &'t Token>,
    text: impl Iterator<Item = char>,
    longest: bool,
) -> Option<usize> {
    let tokens: Vec<Token> = tokens.copied().collect();
    // `states[i]`: the first `i` tokens match what was read so far.
    let mut states = vec![false; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    skip_stars(&tokens, &mut states);
    let mut best = states[tokens.len()].then_some(0);
    for (read, c) in text.enumerate() {
        if (best.is_some() && !longest) || !states.contains(&true) {
            break;
        }
        step(&tokens, &states, &mut next, c);
        std::mem::swap(&mut states, &mut next);
        if states[tokens.len()] {
            best = Some(read + 1);
        }
    }
    best
}

fn step(tokens: &[Token], states: &[bool], next: &mut [bool], c: char) {
    next.fill(false);
    for (i, token) in tokens.iter().enumerate().filter(|(i, _)| states[*i]) {
        match token {
            Token::Star => next[i] |= c != '\n',
            Token::Any => next[i + 1] |= c != '\n',
            Token::Literal(literal) => next[i + 1] |= *literal == c,
        }
    }
    skip_stars(tokens, next);
}

fn skip_stars(tokens: &[Token], states: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        if *token == Token::Star && states[i] {
            states[i + 1] = true;
        }
    }
}

fn byte_offset(text: &str, characters: usize) -> usize {
    text.char_indices()
        .nth(characters)
        .map_or(text.len(), |(at, _)| at)
}

fn push_template(result: &mut String, template: &str, matched: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = match reference(after) {
            Some((name, behind)) => {
                match name {
                    "$" => result.push('$'),
                    "0" => result.push_str(matched),
                    _ => {}
                }
                behind
            }
            None => {
                result.push('$');
                after
            }
        };
    }
    result.push_str(rest);
}

/// The name behind a dollar, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    if let Some(behind) = text.strip_prefix('$') {
        return Some(("$", behind));
    }
    if let Some(braced) = text.strip_prefix('{') {
        let (name, behind) = braced.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_name)).then_some((name, behind));
    }
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}
