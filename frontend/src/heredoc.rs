//! Heredocs: how instructions announce them, and what their bodies mean.

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{char, digit0, multispace0};
use nom::combinator::{opt, verify};
use nom::{IResult, Parser};

use crate::expand::{ExpandError, Expander, NoVariables};
use crate::parse::head;
use crate::source::Span;

/// A heredoc and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// How it was announced.
    pub opening: Opening,
    /// The lines of the body as they stand, line ends included.
    pub content: String,
    /// Where they stand; `None` in a trigger.
    pub place: Option<Span>,
}

impl Heredoc {
    /// The body as the instruction sees it: `<<-` removes leading tabs.
    pub fn body(&self) -> String {
        if !self.opening.strip_tabs {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// The announcement of a heredoc, such as `<<EOF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The word that ends the body, and the name of a file made from it.
    pub name: String,
    /// Whether variables in the body are expanded: not if the name was quoted.
    pub expand: bool,
    /// `<<-`: whether leading tabs are removed.
    pub strip_tabs: bool,
}

impl Opening {
    /// Whether a line, its end removed, ends the body.
    pub fn is_ended_by(&self, line: &str) -> bool {
        let line = if self.strip_tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }
}

/// The heredocs that a logical line announces. Only RUN, COPY and ADD can, also under ONBUILD, and
/// only if their arguments are not in JSON form.
pub(crate) fn openings(line: &str, escape: char) -> Result<Vec<Opening>, ExpandError> {
    if !line.contains("<<") || !may_announce(line, escape) {
        return Ok(Vec::new());
    }
    let expander = Expander::new('\\', &NoVariables)
        .raw_quotes()
        .raw_escapes()
        .keep_unset();
    let words = expander.words(line).unwrap_or_default();
    let found = words.iter().map(|word| opening(word));
    found.filter_map(Result::transpose).collect()
}

fn may_announce(line: &str, escape: char) -> bool {
    let head = head::split(line, escape);
    match head.keyword.to_ascii_lowercase().as_str() {
        "onbuild" => {
            let nested = head::split(head.arguments, escape);
            takes_heredocs(nested.keyword) && !crate::json::is_string_array(nested.arguments)
        }
        keyword => takes_heredocs(keyword) && !crate::json::is_string_array(head.arguments),
    }
}

fn takes_heredocs(keyword: &str) -> bool {
    ["run", "copy", "add"]
        .iter()
        .any(|known| keyword.eq_ignore_ascii_case(known))
}

/// Reads one word as an announcement; `None` if it is none.
pub(crate) fn opening(word: &str) -> Result<Option<Opening>, ExpandError> {
    let Some((strip_tabs, name)) = split_opening(word) else {
        return Ok(None);
    };
    let expander = Expander::new('\\', &NoVariables).keep_unset();
    let plain = expander.words(name)?;
    let [plain] = &plain[..] else { return Ok(None) };
    let raw = expander.raw_quotes().words(name)?;
    let expand = raw
        .first()
        .is_some_and(|raw| count_quotes(raw) == count_quotes(plain));
    Ok(Some(Opening {
        name: plain.clone(),
        expand,
        strip_tabs,
    }))
}

fn split_opening(word: &str) -> Option<(bool, &str)> {
    let name = take_while(|c| c != '<');
    let marks = (digit0, tag("<<"), opt(char('-')), multispace0);
    let parsed: IResult<&str, _> =
        verify((marks, name), |(_, name): &(_, &str)| !name.is_empty()).parse(word);
    let (rest, ((_, _, dash, _), name)) = parsed.ok()?;
    rest.is_empty().then_some((dash.is_some(), name))
}

fn count_quotes(text: &str) -> usize {
    text.matches(['\'', '"']).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<(String, bool, bool)> {
        let found = openings(line, '\\').expect("readable names");
        found
            .into_iter()
            .map(|o| (o.name, o.expand, o.strip_tabs))
            .collect()
    }

    #[test]
    fn announcements_are_found() {
        assert_eq!(names("RUN <<EOF"), [("EOF".into(), true, false)]);
        assert_eq!(names("RUN 3<<-'E F' cat"), [("E F".into(), false, true)]);
        assert_eq!(
            names("COPY <<a <<\"b\" /x"),
            [("a".into(), true, false), ("b".into(), false, false)]
        );
        assert_eq!(
            names("ONBUILD run cat << EOF"),
            [("EOF".into(), true, false)]
        );
        assert_eq!(
            names("RUN --mount=type=cache,target=/x <<EOF"),
            [("EOF".into(), true, false)]
        );
    }

    #[test]
    fn what_is_no_announcement_is_left_alone() {
        for line in [
            "RUN [\"<<EOF\"]",
            "ENV a=<<EOF",
            "RUN a<<<b",
            "RUN '<<EOF'",
            "RUN \\<<EOF",
        ] {
            assert_eq!(names(line), [], "{line:?}");
        }
    }
}
