//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the head of a Dockerfile.

use nom::Parser;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{char, multispace0, satisfy};
use nom::combinator::{recognize, rest, verify};
use nom::{IResult, sequence::preceded};

use crate::diagnostic::Diagnostic;
use crate::source::{Span, Spanned};

/// The directives that a file has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// `# syntax=`: the frontend that the author asks for.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`: the character that escapes and continues lines.
    pub escape: Option<Spanned<char>>,
    /// `# check=`: options of the lints, as written.
    pub check: Option<Spanned<String>>,
}

impl Directives {
    /// The character that escapes and continues lines.
    pub fn escape_char(&self) -> char {
        self.escape.as_ref().map_or('\\', |escape| escape.value)
    }
}

/// Reads directives line by line until the first line that is none.
#[derive(Debug, Default)]
pub struct DirectiveReader {
    directives: Directives,
    done: bool,
}

impl DirectiveReader {
    /// Looks at the next physical line, leading blanks removed; whether it is a directive.
    pub fn read(&mut self, line: &str, span: Span) -> Result<bool, Diagnostic> {
        if self.done {
            return Ok(false);
        }
        let Some((name, value)) = directive_line("#", line) else {
            self.done = true;
            return Ok(false);
        };
        self.set(&name, value, span)
            .inspect(|known| self.done = !known)
    }

    fn set(&mut self, name: &str, value: &str, span: Span) -> Result<bool, Diagnostic> {
        let repeated = || {
            let message = format!("the directive \"{name}\" stands here a second time");
            Diagnostic::error("duplicate-directive", span, message)
        };
        let directives = &mut self.directives;
        let slot = match name {
            "escape" if directives.escape.is_some() => return Err(repeated()),
            "escape" => {
                directives.escape = Some(Spanned::new(escape_char(value, span)?, span));
                return Ok(true);
            }
            "syntax" => &mut directives.syntax,
            "check" => &mut directives.check,
            _ => return Ok(false),
        };
        if slot.is_some() {
            return Err(repeated());
        }
        *slot = Some(Spanned::new(value.to_owned(), span));
        Ok(true)
    }

    /// The directives so far.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }

    /// All directives.
    pub fn into_directives(self) -> Directives {
        self.directives
    }
}

/// The options in a comment, without its `#`, that has the form of a check directive.
pub(crate) fn check_comment(comment: &str) -> Option<&str> {
    let (name, value) = directive_line("", comment)?;
    (name == "check").then_some(value)
}

fn escape_char(value: &str, span: Span) -> Result<char, Diagnostic> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        _ => {
            let message = format!("the escape character must be \\ or `, not {value:?}");
            Err(Diagnostic::error("invalid-escape", span, message))
        }
    }
}

/// `<comment> name = value`, the name in lower case.
fn directive_line<'a>(comment: &str, line: &'a str) -> Option<(String, &'a str)> {
    let name = recognize((
        satisfy(|c| c.is_ascii_alphabetic()),
        take_while(|c: char| c.is_ascii_alphanumeric()),
    ));
    let value = verify(rest.map(str::trim), |value: &str| !value.is_empty());
    let equals = (multispace0, char('='), multispace0);
    let body = (name, preceded(equals, value));
    let parsed: IResult<&str, (&str, &str)> =
        preceded((tag(comment), multispace0), body).parse(line);
    parsed
        .ok()
        .map(|(_, (name, value))| (name.to_ascii_lowercase(), value))
}

/// The frontend that a file of any language asks for: besides `# syntax=` also `// syntax=`, a JSON
/// object with a `syntax` key, and any of them after a `#!` line.
pub fn detect_syntax(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => rest,
        None if text.starts_with("#!") => "",
        _ => text,
    };
    syntax_comment("#", text)
        .or_else(|| syntax_comment("//", text))
        .or_else(|| syntax_key(text))
}

fn syntax_comment(comment: &str, text: &str) -> Option<String> {
    let known = |name: &String| matches!(name.as_str(), "syntax" | "escape" | "check");
    let mut lines = text.lines().map_while(|line| directive_line(comment, line));
    let (_, value) = lines
        .by_ref()
        .take_while(|(name, _)| known(name))
        .find(|(name, _)| name == "syntax")?;
    value.split(' ').next().map(str::to_owned)
}

fn syntax_key(text: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    object.get("syntax")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_found_in_all_forms() {
        let cases = [
            (
                "# syntax=docker/dockerfile:1\nFROM x",
                Some("docker/dockerfile:1"),
            ),
            ("#Syntax = a b\n", Some("a")),
            ("#!/usr/bin/env x\n# escape=`\n# syntax=a", Some("a")),
            ("//syntax=a\n", Some("a")),
            ("{\"syntax\": \"a\"}", Some("a")),
            ("# comment\n# syntax=a", None),
            ("# other=x\n# syntax=a", None),
            ("#!only", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(detect_syntax(text).as_deref(), expected, "{text:?}");
        }
    }
}
