//! One instruction, line by line.

use std::ops::Range;

use super::Writer;
use super::freedom::Freedom;
use super::line::Line;
use crate::layout::PieceKind;
use crate::scan::split_continuation;
use crate::syntax::{Command, Instruction};

/// The indentation of continued lines.
const INDENTATION: &str = "    ";

/// Writes the lines of an instruction.
pub(super) fn write(
    writer: &mut Writer<'_>,
    instruction: &Instruction,
    lines: &[Line<'_>],
    escape: char,
) {
    let joined = Joined::new(instruction, lines, escape);
    let (mut place, mut upcoming) = (0, 0);
    for (at, line) in lines.iter().enumerate() {
        match line.kind {
            PieceKind::Code => {
                let range = place..place + line.text.len();
                place = range.end;
                if let Some(text) = joined.line(line, range) {
                    writer.line(&text, line);
                }
            }
            PieceKind::Comment => {
                while upcoming < lines.len()
                    && (upcoming < at || lines[upcoming].kind != PieceKind::Code)
                {
                    upcoming += 1;
                }
                let indentation = joined.indentation(lines.get(upcoming), place);
                writer.text.push_str(indentation);
                writer.line(line.text.trim_end_matches([' ', '\t']), line);
            }
            // An empty line inside an instruction is to become an error in BuildKit.
            PieceKind::Blanks => {}
            PieceKind::HeredocBody => writer.text.push_str(line.text),
            _ => writer.line(line.text, line),
        }
    }
}

/// The text of all lines.
struct Joined {
    text: String,
    escape: char,
    freedom: Freedom,
    /// The indentation of lines whose own does not matter.
    indentation: String,
}

impl Joined {
    fn new(instruction: &Instruction, lines: &[Line<'_>], escape: char) -> Self {
        let code = lines.iter().filter(|line| line.kind == PieceKind::Code);
        let text: String = code.clone().map(|line| line.text).collect();
        let begins_at_once = code
            .clone()
            .next()
            .is_some_and(|line| !line.text.is_empty());
        let freedom = if begins_at_once {
            Freedom::of(&text, instruction, escape)
        } else {
            Freedom::default()
        };
        let mut joined = Self {
            text,
            escape,
            freedom,
            indentation: INDENTATION.to_owned(),
        };
        if takes_commands(&instruction.command) {
            joined.follow(code.copied());
        }
        joined
    }

    /// Finds the first continued line whose indentation matters.
    fn follow<'l>(&mut self, code: impl Iterator<Item = Line<'l>>) {
        let mut place = 0;
        for line in code {
            let is_fixed = place > 0 && self.freedom.gap_at(place).is_none();
            let blanks = leading_blanks(line.text);
            if is_fixed && !blanks.is_empty() {
                self.indentation = blanks.to_owned();
                return;
            }
            place += line.text.len();
        }
    }

    /// The line that stands at a range; `None` if it is not needed.
    fn line(&self, line: &Line<'_>, range: Range<usize>) -> Option<String> {
        let continues = !line.continuation.is_empty();
        let head = self.freedom.gap_at(range.start).filter(|_| range.start > 0);
        let tail = self.freedom.gap_at(range.end);
        if let (Some(head), Some(tail)) = (head, tail)
            && head == tail
        {
            let goes_on = continues && range.end < self.text.len();
            return (!goes_on).then(|| line.continuation.trim_end().to_owned());
        }
        let mut text = String::new();
        if head.is_some() {
            text.push_str(&self.indentation);
        }
        let start = head.map_or(range.start, |gap| gap.range.end);
        let end = tail.map_or(range.end, |gap| gap.range.start);
        text.push_str(&self.between(start..end));
        if continues {
            if tail.is_some() {
                text.push(' ');
            }
            text.push(self.escape);
        } else if split_continuation(&text, self.escape).1 {
            // Only other blanks than those of a continuation keep this from being one.
            text.push_str(&self.text[end..range.end]);
        }
        Some(text)
    }

    /// A stretch of a line, its gaps and capitals as they should be.
    fn between(&self, range: Range<usize>) -> String {
        let mut text = String::new();
        let mut at = range.start;
        let first = self
            .freedom
            .gaps
            .partition_point(|gap| gap.range.end <= range.start);
        for gap in &self.freedom.gaps[first..] {
            if gap.range.end >= range.end {
                break;
            }
            self.push_capitals(&mut text, at..gap.range.start);
            text.push_str(gap.blank);
            at = gap.range.end;
        }
        self.push_capitals(&mut text, at..range.end);
        text
    }

    fn push_capitals(&self, text: &mut String, range: Range<usize>) {
        let mut at = range.start;
        for word in &self.freedom.capitals {
            let start = word.start.clamp(at, range.end);
            let end = word.end.clamp(start, range.end);
            text.push_str(&self.text[at..start]);
            text.push_str(&self.text[start..end].to_ascii_uppercase());
            at = end;
        }
        text.push_str(&self.text[at..range.end]);
    }

    /// The indentation of a line that begins at a place.
    fn indentation<'l>(&'l self, line: Option<&Line<'l>>, place: usize) -> &'l str {
        match line {
            Some(line) if self.freedom.gap_at(place).is_none() => leading_blanks(line.text),
            _ => &self.indentation,
        }
    }
}

/// Whether the shell's text may begin on a line of its own.
fn takes_commands(command: &Command) -> bool {
    matches!(
        command,
        Command::Run(_)
            | Command::Cmd(_)
            | Command::Entrypoint(_)
            | Command::Healthcheck(_)
            | Command::OnBuild(_)
    )
}

fn leading_blanks(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches([' ', '\t']).len()]
}
