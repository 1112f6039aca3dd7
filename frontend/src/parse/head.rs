//! The head of an instruction: its name, its flags, and where the arguments begin.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while1};
use nom::character::complete::{anychar, char, satisfy};
use nom::combinator::{eof, opt, peek, value};
use nom::multi::fold_many0;
use nom::sequence::preceded;
use nom::{IResult, Offset, Parser};

use crate::words::is_blank;

/// An instruction cut into its parts, which are slices of the line.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The name as written; empty if the line is.
    pub(crate) keyword: &'a str,
    /// The flags in order.
    pub(crate) flags: Vec<Flag>,
    /// What follows, blanks at both ends removed.
    pub(crate) arguments: &'a str,
}

/// One flag, its quotes and escapes removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    /// The text, such as `--from=base`.
    pub(crate) text: String,
    /// Where it stands in the line.
    pub(crate) range: Range<usize>,
}

/// Cuts a line; never fails.
pub(crate) fn split(line: &str, escape: char) -> Head<'_> {
    split_part(line, line, escape)
}

/// Cuts a part of a line, such as the trigger of ONBUILD; places count from the start of the line.
pub(crate) fn split_part<'a>(line: &str, part: &'a str, escape: char) -> Head<'a> {
    let trimmed = part.trim();
    let end = trimmed.find(is_blank).unwrap_or(trimmed.len());
    let (keyword, rest) = trimmed.split_at(end);
    let (flags, arguments) = split_flags(line, rest, escape);
    Head {
        keyword,
        flags,
        arguments: arguments.trim(),
    }
}

/// Takes flags while words begin with `--`; a lone `--` ends them and is dropped.
fn split_flags<'a>(line: &str, text: &'a str, escape: char) -> (Vec<Flag>, &'a str) {
    let mut flags = Vec::new();
    let mut rest = text;
    loop {
        let start = rest.trim_start();
        let Ok((after, text)) = flag(start, escape) else {
            return (flags, start);
        };
        if text == "--" {
            return (flags, after);
        }
        let at = line.offset(start);
        flags.push(Flag {
            text,
            range: at..at + start.offset(after),
        });
        rest = after;
    }
}

fn flag(input: &str, escape: char) -> IResult<&str, String> {
    let escaped = move |input| preceded(char(escape), anychar).parse(input);
    let last_escape = value(String::new(), (char(escape), eof));
    let plain =
        take_while1(move |c: char| !c.is_whitespace() && c != escape && c != '"' && c != '\'');
    let piece = alt((
        escaped.map(String::from),
        last_escape,
        |input| quoted(input, '"', escape),
        |input| quoted(input, '\'', escape),
        plain.map(str::to_owned),
    ));
    preceded(
        peek(tag("--")),
        fold_many0(piece, String::new, |all, piece: String| {
            match all.as_str() {
                "" => piece,
                _ => all + &piece,
            }
        }),
    )
    .parse(input)
}

/// What stands between two quotes, or between a quote and the end.
fn quoted(input: &str, quote: char, escape: char) -> IResult<&str, String> {
    let escaped = move |input| preceded(char(escape), anychar).parse(input);
    let plain = satisfy(move |c| c != quote && c != escape);
    let body = fold_many0(alt((escaped, plain)), String::new, |mut all, c| {
        all.push(c);
        all
    });
    let close = (opt(char(escape)), opt(char(quote)));
    (char(quote), body, close)
        .map(|(_, body, _)| body)
        .parse(input)
}

/// The name of a flag without dashes, and its value if it has one.
pub(crate) fn name_and_value(flag: &str) -> (&str, Option<&str>) {
    let named: IResult<&str, &str> = preceded(tag("--"), take_till(|c| c == '=')).parse(flag);
    match named {
        Ok((rest, name)) => (name, rest.strip_prefix('=')),
        Err(_) => (flag, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (String, Vec<String>, String) {
        let head = split(line, '\\');
        let flags = head.flags.into_iter().map(|flag| flag.text).collect();
        (head.keyword.to_owned(), flags, head.arguments.to_owned())
    }

    fn expected(keyword: &str, flags: &[&str], rest: &str) -> (String, Vec<String>, String) {
        (
            keyword.to_owned(),
            flags.iter().map(|f| (*f).to_owned()).collect(),
            rest.to_owned(),
        )
    }

    #[test]
    fn flags_end_where_words_begin() {
        assert_eq!(
            parts("RUN  --a=1 --b  x --c "),
            expected("RUN", &["--a=1", "--b"], "x --c")
        );
        assert_eq!(
            parts("RUN --a -- --b c"),
            expected("RUN", &["--a"], "--b c")
        );
        assert_eq!(parts("RUN --"), expected("RUN", &[], ""));
        assert_eq!(parts("RUN -x"), expected("RUN", &[], "-x"));
        assert_eq!(parts("RUN"), expected("RUN", &[], ""));
        assert_eq!(parts(""), expected("", &[], ""));
    }

    #[test]
    fn quotes_and_escapes_in_flags_are_removed() {
        let line = r#"RUN --a="b c" --d='e'\ f --g="h\"i" j"#;
        assert_eq!(
            parts(line),
            expected("RUN", &["--a=b c", "--d=e f", "--g=h\"i"], "j")
        );
    }

    #[test]
    fn flags_know_their_places() {
        let line = "  COPY  --from=a b c";
        assert_eq!(&line[split(line, '\\').flags[0].range.clone()], "--from=a");
    }
}
