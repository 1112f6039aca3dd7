//! Classes of characters: `[a-z]`, `[^a]`, and those that Go's regular expressions have names for.

use std::iter::Peekable;
use std::str::Chars;

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

const MALFORMED: &str = "a class is malformed";

impl Class {
    pub(super) fn contains(&self, character: char) -> bool {
        let is_in = self
            .ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&character));
        is_in != self.negated
    }

    /// Reads a class of `filepath.Match`, behind its `[`; ranges may be empty.
    pub(super) fn of_glob(rest: &mut Peekable<Chars<'_>>) -> Result<Self, &'static str> {
        let mut class = Self {
            negated: rest.next_if_eq(&'^').is_some(),
            ranges: Vec::new(),
        };
        while class.ranges.is_empty() || rest.next_if_eq(&']').is_none() {
            let low = glob_character(rest)?;
            let high = if rest.next_if_eq(&'-').is_some() {
                glob_character(rest)?
            } else {
                low
            };
            class.ranges.push((low, high));
        }
        Ok(class)
    }

    /// Reads a class of a regular expression, behind its `[`. Here escapes can name sets, and ranges
    /// must not be empty. `None` stands for a class that holds `*` or `?`: the reference turns those
    /// into other expressions, and what comes of it matches no real path.
    pub(super) fn of_expression(
        rest: &mut Peekable<Chars<'_>>,
    ) -> Result<Option<Self>, &'static str> {
        let mut class = Self {
            negated: rest.next_if_eq(&'^').is_some(),
            ranges: Vec::new(),
        };
        let mut is_plain = true;
        let mut is_first = true;
        while is_first || rest.next_if_eq(&']').is_none() {
            is_first = false;
            if class.take_posix_name(rest)? || class.take_named_set(rest) {
                continue;
            }
            is_plain &= !matches!(rest.peek(), Some('*' | '?'));
            let low = expression_character(rest)?;
            let high = if rest.next_if_eq(&'-').is_some() {
                expression_character(rest)?
            } else {
                low
            };
            if high < low {
                return Err("a range ends before it begins");
            }
            class.ranges.push((low, high));
        }
        Ok(is_plain.then_some(class))
    }

    /// The set that `\d` and the like stand for.
    pub(super) fn named(letter: char) -> Option<Self> {
        let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            's' => &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')],
            'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            _ => return None,
        };
        Some(Self {
            ranges: ranges.to_vec(),
            negated: letter.is_ascii_uppercase(),
        })
    }

    fn take_named_set(&mut self, rest: &mut Peekable<Chars<'_>>) -> bool {
        let mut ahead = rest.clone();
        if ahead.next() != Some('\\') {
            return false;
        }
        let Some(set) = ahead.next().and_then(Self::named) else {
            return false;
        };
        *rest = ahead;
        self.add(&set);
        true
    }

    fn take_posix_name(&mut self, rest: &mut Peekable<Chars<'_>>) -> Result<bool, &'static str> {
        // The longest name has seven letters; whatever is longer is none.
        let text: String = rest.clone().take(64).collect();
        let Some((name, _)) = text
            .strip_prefix("[:")
            .and_then(|text| text.split_once(":]"))
        else {
            return Ok(false);
        };
        let ranges = posix_ranges(name.trim_start_matches('^')).ok_or(MALFORMED)?;
        self.add(&Self {
            ranges: ranges.to_vec(),
            negated: name.starts_with('^'),
        });
        rest.nth(name.chars().count() + 3);
        Ok(true)
    }

    fn add(&mut self, other: &Self) {
        if !other.negated {
            self.ranges.extend_from_slice(&other.ranges);
            return;
        }
        let mut from = Some('\0');
        for (low, high) in &other.ranges {
            if let (Some(start), Some(end)) = (from, before(*low)) {
                self.ranges.push((start, end));
            }
            from = after(*high);
        }
        if let Some(start) = from {
            self.ranges.push((start, char::MAX));
        }
    }
}

fn before(character: char) -> Option<char> {
    (character as u32).checked_sub(1).and_then(char::from_u32)
}

fn after(character: char) -> Option<char> {
    char::from_u32(character as u32 + 1)
}

fn glob_character(rest: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    match rest.next() {
        None | Some('-' | ']') => Err(MALFORMED),
        Some('\\') => rest.next().ok_or(MALFORMED),
        Some(character) => Ok(character),
    }
    .and_then(|character| {
        if rest.peek().is_none() {
            Err(MALFORMED)
        } else {
            Ok(character)
        }
    })
}

fn expression_character(rest: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    match rest.next() {
        None => Err(MALFORMED),
        Some('\\') => escaped(rest).ok_or("an escape is unknown"),
        Some(character) => Ok(character),
    }
}

/// The one character that an escape of a regular expression stands for, behind its backslash.
pub(super) fn escaped(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        'x' => {
            let (high, low) = (rest.next()?.to_digit(16)?, rest.next()?.to_digit(16)?);
            char::from_u32(16 * high + low)
        }
        '0' => octal(0, rest),
        // One digit alone would refer to a group.
        digit @ '1'..='7' if rest.peek().is_some_and(|next| next.is_digit(8)) => {
            octal(digit.to_digit(8)?, rest)
        }
        letter if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    }
}

/// At most two more octal digits.
fn octal(first: u32, rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let mut value = first;
    for _ in 0..2 {
        let Some(digit) = rest.peek().and_then(|next| next.to_digit(8)) else {
            break;
        };
        value = 8 * value + digit;
        rest.next();
    }
    char::from_u32(value)
}

fn posix_ranges(name: &str) -> Option<&'static [(char, char)]> {
    Some(match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\u{7f}')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Class {
        let read = Class::of_expression(&mut text.chars().peekable());
        read.expect("a class").expect("without wildcards")
    }

    #[test]
    fn names_stand_for_sets() {
        assert!(class("\\da]").contains('7') && class("\\da]").contains('a'));
        assert!(class("\\D]").contains('x') && !class("\\D]").contains('7'));
        assert!(class("[:alpha:]_]").contains('_') && !class("[:^alpha:]]").contains('b'));
        assert!(class("^a]").contains('/') && class("[]").contains('['));
    }
}
