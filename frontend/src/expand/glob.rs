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
    pub(super) fn trim_start<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let end = match_length(self.tokens.iter(), value.chars(), longest);
        end.map_or(value, |count| &value[byte_offset(value, count)..])
    }

    /// `value` without the shortest or longest match at its end.
    pub(super) fn trim_end<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let length = match_length(self.tokens.iter().rev(), value.chars().rev(), longest);
        length.map_or(value, |count| {
            let keep = value.chars().count() - count;
            &value[..byte_offset(value, keep)]
        })
    }

    /// `value` with the first match replaced.
    pub(super) fn replace_first(&self, value: &str, new: &str) -> String {
        match self.find(value, 0) {
            Some(found) => format!("{}{new}{}", &value[..found.start], &value[found.end..]),
            None => value.to_owned(),
        }
    }

    /// `value` with all matches replaced. As in Go, `$0` in the replacement is the match, any other
    /// reference is empty, `$$` is a dollar, and no empty match directly follows another match.
    pub(super) fn replace_all(&self, value: &str, new: &str) -> Result<String, ExpandError> {
        let mut result = String::new();
        let (mut copied, mut search) = (0, 0);
        while search <= value.len() {
            let Some(found) = self.find(value, search) else {
                break;
            };
            result.push_str(&value[copied..found.start]);
            if found.end > copied || found.start == 0 {
                push_template(&mut result, new, &value[found.clone()]);
            }
            if result.len() > value.len() + EXPANSION_GROWTH {
                return Err(ExpandError::TooLong(EXPANSION_GROWTH));
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
    fn find(&self, value: &str, from: usize) -> Option<Range<usize>> {
        let count = self.tokens.len();
        // `starts[i]`: where the first match begins whose first `i` tokens match what was read.
        let mut starts = vec![NOWHERE; count + 1];
        let mut next = starts.clone();
        let mut best: Option<Range<usize>> = None;
        let rest = value[from..].char_indices();
        let rest = rest.map(|(at, c)| (from + at, Some(c)));
        for (at, c) in rest.chain([(value.len(), None)]) {
            if best.is_none() {
                starts[0] = starts[0].min(at);
            }
            skip_stars(&self.tokens, &mut starts);
            let start = starts[count];
            if start != NOWHERE && best.as_ref().is_none_or(|best| start <= best.start) {
                best = Some(start..at);
            }
            if let Some(best) = &best {
                let later = starts.iter_mut().filter(|start| **start > best.start);
                later.for_each(|start| *start = NOWHERE);
                if starts.iter().all(|start| *start == NOWHERE) {
                    break;
                }
            }
            let Some(c) = c else { break };
            step(&self.tokens, &starts, &mut next, c);
            std::mem::swap(&mut starts, &mut next);
        }
        best
    }

    /// How many steps it takes to match a value, about.
    pub(super) fn steps(&self, value: &str) -> Result<usize, ExpandError> {
        let steps = (self.tokens.len() + 1).saturating_mul(value.len() + 1);
        if steps > PATTERN_STEPS {
            Err(ExpandError::TooSlow)
        } else {
            Ok(steps)
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
    let mut states = vec![NOWHERE; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = 0;
    skip_stars(&tokens, &mut states);
    let mut best = (states[tokens.len()] != NOWHERE).then_some(0);
    for (read, c) in text.enumerate() {
        let is_over = states.iter().all(|state| *state == NOWHERE);
        if (best.is_some() && !longest) || is_over {
            break;
        }
        step(&tokens, &states, &mut next, c);
        std::mem::swap(&mut states, &mut next);
        if states[tokens.len()] != NOWHERE {
            best = Some(read + 1);
        }
    }
    best
}

/// What has not been reached.
const NOWHERE: usize = usize::MAX;

/// Reads a character: `starts[i]` is where the match begins whose first `i` tokens match so far; of
/// several the first.
fn step(tokens: &[Token], starts: &[usize], next: &mut [usize], c: char) {
    next.fill(NOWHERE);
    for (i, token) in tokens.iter().enumerate() {
        let goes_on = match token {
            Token::Star | Token::Any => c != '\n',
            Token::Literal(literal) => *literal == c,
        };
        if starts[i] != NOWHERE && goes_on {
            let to = i + usize::from(*token != Token::Star);
            next[to] = next[to].min(starts[i]);
        }
    }
    skip_stars(tokens, next);
}

fn skip_stars(tokens: &[Token], starts: &mut [usize]) {
    for (i, token) in tokens.iter().enumerate() {
        if *token == Token::Star {
            starts[i + 1] = starts[i + 1].min(starts[i]);
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
