//! One record of CSV (RFC 4180), as Go reads it.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag};
use nom::character::complete::char;
use nom::combinator::{all_consuming, opt, value};
use nom::multi::{fold_many0, separated_list1};
use nom::sequence::delimited;
use nom::{IResult, Parser};

/// The fields of a record; a line end behind them is allowed, an empty record is not.
pub(super) fn fields(text: &str) -> Result<Vec<String>, &'static str> {
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err("it is empty");
    }
    let record: IResult<&str, Vec<String>> =
        all_consuming(separated_list1(char(','), alt((quoted, bare)))).parse(line);
    record
        .map(|(_, fields)| fields)
        .map_err(|_| "a quote stands where none may")
}

fn quoted(input: &str) -> IResult<&str, String> {
    let piece = alt((is_not("\""), value("\"", tag("\"\""))));
    let body = fold_many0(piece, String::new, |all, piece| all + piece);
    delimited(char('"'), body, char('"')).parse(input)
}

fn bare(input: &str) -> IResult<&str, String> {
    opt(is_not(",\""))
        .map(|field: Option<&str>| field.unwrap_or_default().to_owned())
        .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas() {
        assert_eq!(
            fields("a=b,\"c=d,\"\"e\"\"\",f"),
            Ok(vec!["a=b".into(), "c=d,\"e\"".into(), "f".into()])
        );
        assert_eq!(
            fields("a,,\n"),
            Ok(vec!["a".into(), String::new(), String::new()])
        );
        for text in ["", "\n", "a\"b", "\"a", "\"a\"b"] {
            assert!(fields(text).is_err(), "{text:?}");
        }
    }
}
