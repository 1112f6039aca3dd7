//! The values of `--chmod`: octal numbers, and chmod(1)'s symbols.

use kiln_solver::op::ModeChange;
use nom::bytes::complete::take_while;
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, value};
use nom::multi::{many1_count, separated_list1};
use nom::{IResult, Parser};

/// Reads a mode; `None` if it is malformed or beyond 07777.
pub(crate) fn parse(text: &str) -> Option<ModeChange> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let mode = u32::from_str_radix(text, 8).ok()?;
        return (mode <= 0o7777).then_some(ModeChange::Octal(mode));
    }
    let symbolic: IResult<&str, _> = all_consuming(separated_list1(char(','), clause)).parse(text);
    symbolic
        .is_ok()
        .then(|| ModeChange::Symbolic(text.to_owned()))
}

fn clause(input: &str) -> IResult<&str, ()> {
    let who = take_while(|c| "ugoa".contains(c));
    let permissions = take_while(|c| "rwxXstugo".contains(c));
    let action = (one_of("+-="), permissions);
    value((), (who, many1_count(action))).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_symbolic_modes() {
        assert_eq!(parse("0755"), Some(ModeChange::Octal(0o755)));
        assert_eq!(parse("07777"), Some(ModeChange::Octal(0o7777)));
        for text in ["u+x", "go=rX,a-w", "u=rw,g=u", "+t", "ug+s-x", "a=", "u=rg"] {
            assert_eq!(
                parse(text),
                Some(ModeChange::Symbolic(text.to_owned())),
                "{text}"
            );
        }
        for text in ["", "10000", "888", "u", "x+u", "u+x,", "0755x", "-"] {
            let expected = (text == "-").then(|| ModeChange::Symbolic(text.to_owned()));
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
