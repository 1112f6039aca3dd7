//! Durations as Go reads and prints them, such as `1m30s`; in nanoseconds.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{char, digit0, one_of};
use nom::combinator::{all_consuming, opt, value, verify};
use nom::multi::fold_many1;
use nom::{IResult, Parser};

const SECOND: i64 = 1_000_000_000;

/// Reads a duration; `None` if it is malformed or does not fit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let sum = fold_many1(
        component,
        || Some(0_i64),
        |sum, part| sum?.checked_add(part?),
    );
    let zero = value(Some(0), char('0'));
    let body = alt((all_consuming(sum), all_consuming(zero)));
    let parsed: IResult<&str, _> = (opt(one_of("+-")), body).parse(text);
    let (_, (sign, nanoseconds)) = parsed.ok()?;
    Some(if sign == Some('-') {
        -nanoseconds?
    } else {
        nanoseconds?
    })
}

fn component(input: &str) -> IResult<&str, Option<i64>> {
    let fraction = opt((char('.'), digit0)).map(|dot| dot.map(|(_, digits)| digits));
    let number = verify(
        (digit0, fraction),
        |(whole, fraction): &(&str, Option<&str>)| {
            !whole.is_empty() || fraction.is_some_and(|digits: &str| !digits.is_empty())
        },
    );
    (number, unit)
        .map(|((whole, fraction), unit)| scale(whole, fraction, unit))
        .parse(input)
}

fn unit(input: &str) -> IResult<&str, i64> {
    let two = alt((
        value(1, tag("ns")),
        value(1_000, tag("us")),
        value(1_000, tag("µs")),
        value(1_000, tag("μs")),
        value(1_000_000, tag("ms")),
    ));
    let one = alt((
        value(SECOND, char('s')),
        value(60 * SECOND, char('m')),
        value(3600 * SECOND, char('h')),
    ));
    alt((two, one)).parse(input)
}

fn scale(whole: &str, fraction: Option<&str>, unit: i64) -> Option<i64> {
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Digits beyond the eighteenth are less than a nanosecond of an hour.
    let digits: &str = fraction.map_or("", |digits| &digits[..digits.len().min(18)]);
    let numerator: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let part = numerator * i128::from(unit) / 10_i128.pow(u32::try_from(digits.len()).ok()?);
    whole
        .checked_mul(unit)?
        .checked_add(i64::try_from(part).ok()?)
}

/// Prints a duration: `0s`, `1.5ms`, `1h0m0s`.
pub(crate) fn print(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let text = match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(n, 1_000_000)),
        _ => clock(n),
    };
    format!("{sign}{text}")
}

fn clock(n: u64) -> String {
    let seconds = n / 1_000_000_000;
    let tail = format!("{}s", decimal(n % 60_000_000_000, 1_000_000_000));
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => tail,
        (0, minutes) => format!("{minutes}m{tail}"),
        (hours, minutes) => format!("{hours}h{minutes}m{tail}"),
    }
}

/// `n / unit` without zeros at the end.
fn decimal(n: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", n % unit);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}", n / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_in_go() {
        let cases = [
            ("0", "0s"),
            ("30s", "30s"),
            ("1h", "1h0m0s"),
            ("1.5h", "1h30m0s"),
            ("90s", "1m30s"),
            ("1m30.5s", "1m30.5s"),
            ("1500us", "1.5ms"),
            ("-1s", "-1s"),
            (".5s", "500ms"),
            ("1.s", "1s"),
        ];
        for (text, printed) in cases {
            assert_eq!(parse(text).map(print).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1", "s", ".s", "1x", "1s ", "9999999999h", "+"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
