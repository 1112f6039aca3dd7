//! Places as BuildKit's API has them: ranges of lines.

use kiln_frontend::syntax::Dockerfile;
use kiln_frontend::{Source, Span};
use serde::Serialize;

/// Places in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Location {
    ranges: Vec<LineRange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LineRange {
    start: Line,
    end: Line,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    line: usize,
}

impl Location {
    /// The lines that a span touches, each a range of its own, as BuildKit has them.
    pub(super) fn of(source: &Source, span: Span) -> Self {
        let (first, last) = source.lines(span);
        let range = |line| LineRange {
            start: Line { line },
            end: Line { line },
        };
        Self {
            ranges: (first..=last).map(range).collect(),
        }
    }

    /// The lines of the instruction that a span lies in, as BuildKit reports findings; a comment
    /// belongs to the instruction below.
    pub(super) fn of_instruction(dockerfile: &Dockerfile, span: Span) -> Self {
        let instructions = &dockerfile.instructions;
        let below = instructions.partition_point(|i| i.span.end < span.start);
        let instruction = instructions.get(below).or_else(|| instructions.last());
        let span = instruction.map_or(span, |instruction| instruction.span);
        Self::of(&dockerfile.source, span)
    }

    /// No place.
    pub(super) fn nowhere() -> Self {
        Self { ranges: Vec::new() }
    }
}
