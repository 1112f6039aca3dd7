//! Splitting the arguments of an instruction into words, quotes and escapes still in place.

use std::ops::Range;

use nom::branch::alt;
use nom::character::complete::{anychar, char, satisfy};
use nom::combinator::{opt, recognize, value};
use nom::multi::{many0_count, many1_count};
use nom::{IResult, Offset, Parser};

/// The words of ENV, LABEL and ARG: blanks separate unless they are quoted or escaped. A lone escape
/// character at the very end is dropped.
pub fn quoted_words(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Ok((after, word)) = quoted_word(rest, escape) {
        let start = text.offset(word);
        words.push(start..start + word.len());
        rest = after.trim_start();
    }
    words
}

fn quoted_word(input: &str, escape: char) -> IResult<&str, &str> {
    let piece = alt((
        value((), (char(escape), anychar)),
        value((), |input| quoted(input, '"', Some(escape))),
        value((), |input| quoted(input, '\'', None)),
        value((), satisfy(move |c| c != escape && !c.is_whitespace())),
    ));
    recognize(many1_count(piece)).parse(input)
}

/// From a quote to the next or, if there is none, to the end of the text.
fn quoted(input: &str, quote: char, escape: Option<char>) -> IResult<&str, ()> {
    let escaped = |input| match escape {
        Some(escape) => value((), (char(escape), anychar)).parse(input),
        None => nom::combinator::fail().parse(input),
    };
    let other = value((), satisfy(move |c| c != quote && Some(c) != escape));
    let body = many0_count(alt((escaped, other)));
    value((), (char(quote), body, opt(char(quote)))).parse(input)
}

/// The words of instructions that know no quotes: blanks separate. An empty text has no words.
pub fn blank_separated(text: &str) -> Vec<Range<usize>> {
    let words = text.split(is_blank).filter(|word| !word.is_empty());
    words
        .map(|word| text.offset(word)..text.offset(word) + word.len())
        .collect()
}

/// The first word and, behind the blanks, the rest; `None` if there is only one word.
pub fn split_first(text: &str) -> Option<(&str, &str)> {
    let end = text.find(is_blank)?;
    let rest = text[end..].trim_start_matches(is_blank);
    Some((&text[..end], rest))
}

/// The blanks that separate words of a line: no line feed, and nothing beyond ASCII.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        quoted_words(text, '\\')
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        assert_eq!(
            split(r#"a="b c" d='e "f' g\ h"#),
            ["a=\"b c\"", "d='e \"f'", "g\\ h"]
        );
        assert_eq!(split(r#"a="b \" c" d"#), ["a=\"b \\\" c\"", "d"]);
        assert_eq!(split("  a   b  "), ["a", "b"]);
        assert_eq!(split("a=\"open b"), ["a=\"open b"]);
    }

    #[test]
    fn a_last_escape_is_dropped() {
        assert_eq!(split("a b\\"), ["a", "b"]);
        assert_eq!(split("\\"), Vec::<&str>::new());
        assert_eq!(split("a=\"b\\"), ["a=\"b"]);
    }
}
