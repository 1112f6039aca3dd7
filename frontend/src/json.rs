//! Arrays of strings in JSON, the "exec form" of instructions.
//!
//! Written here so that every element has its place, and so that a lone surrogate becomes U+FFFD as
//! in Go, where serde_json refuses it.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{map_res, value};
use nom::multi::{fold_many0, many0_count, separated_list0};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Offset, Parser};

/// What a text is that might be an array of strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Array {
    /// An array of strings, each with its place in the text.
    Strings(Vec<(String, Range<usize>)>),
    /// A JSON array that holds something else too.
    Mixed,
    /// No JSON array.
    No,
}

/// Reads `text`, leading blanks allowed, as an array of strings.
pub fn array(text: &str) -> Array {
    let trimmed = text.trim_start();
    if !trimmed.starts_with('[') {
        return Array::No;
    }
    match strings(text, trimmed) {
        Ok((_, found)) => Array::Strings(found),
        Err(_) if serde_json::from_str::<Vec<serde_json::Value>>(trimmed).is_ok() => Array::Mixed,
        Err(_) => Array::No,
    }
}

/// Whether `text` is an array of strings.
pub fn is_string_array(text: &str) -> bool {
    matches!(array(text), Array::Strings(_))
}

fn strings<'a>(whole: &str, input: &'a str) -> IResult<&'a str, Vec<(String, Range<usize>)>> {
    let element = |input: &'a str| {
        let (after, decoded) = string(input)?;
        Ok((after, (decoded, whole.offset(input)..whole.offset(after))))
    };
    let elements = separated_list0(delimited(blanks, char(','), blanks), element);
    let array = delimited((char('['), blanks), elements, (blanks, char(']'), blanks));
    nom::combinator::all_consuming(array).parse(input)
}

fn blanks(input: &str) -> IResult<&str, usize> {
    many0_count(one_of(" \t\r\n")).parse(input)
}

fn string(input: &str) -> IResult<&str, String> {
    let plain = take_while1(|c: char| c != '"' && c != '\\' && c >= ' ').map(str::to_owned);
    let fragment = alt((plain, escaped.map(String::from)));
    let body = fold_many0(fragment, String::new, |mut text, fragment| {
        text.push_str(&fragment);
        text
    });
    delimited(char('"'), body, char('"')).parse(input)
}

fn escaped(input: &str) -> IResult<&str, char> {
    let short = alt((
        one_of("\"\\/"),
        value('\u{8}', char('b')),
        value('\u{c}', char('f')),
        value('\n', char('n')),
        value('\r', char('r')),
        value('\t', char('t')),
    ));
    alt((preceded(char('\\'), short), surrogate_pair, unit.map(lone))).parse(input)
}

fn unit(input: &str) -> IResult<&str, u32> {
    let digits = take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit());
    preceded(
        tag("\\u"),
        map_res(digits, |digits| u32::from_str_radix(digits, 16)),
    )
    .parse(input)
}

fn surrogate_pair(input: &str) -> IResult<&str, char> {
    let pair = |(high, low): (u32, u32)| match (high, low) {
        (0xd800..0xdc00, 0xdc00..0xe000) => {
            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(())
        }
        _ => Err(()),
    };
    map_res((unit, unit), pair).parse(input)
}

fn lone(unit: u32) -> char {
    char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Option<Vec<String>> {
        match array(text) {
            Array::Strings(found) => Some(found.into_iter().map(|(value, _)| value).collect()),
            _ => None,
        }
    }

    #[test]
    fn strings_are_decoded_as_go_does() {
        let text = r#" [ "a b" , "\"\\\/\n\u00e9\ud83d\ude00\ud83d" ] "#;
        assert_eq!(
            values(text),
            Some(vec!["a b".into(), "\"\\/\né😀\u{fffd}".into()])
        );
        assert_eq!(values("[]"), Some(vec![]));
    }

    #[test]
    fn places_are_kept() {
        let text = " [\"a\", \"bc\"]";
        let Array::Strings(found) = array(text) else {
            panic!("strings")
        };
        assert_eq!(&text[found[1].1.clone()], "\"bc\"");
    }

    #[test]
    fn what_is_no_array_of_strings_is_told_apart() {
        assert_eq!(array("[1, \"a\"]"), Array::Mixed);
        assert_eq!(array("[[]]"), Array::Mixed);
        for text in [
            "['a']",
            "[\"a\"] b",
            "[\"a\",]",
            "[\"a",
            "echo",
            "",
            "[\"a\nb\"]",
        ] {
            assert_eq!(array(text), Array::No, "{text:?}");
        }
    }
}
