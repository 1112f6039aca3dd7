//! Logical lines → the tree of [`crate::syntax`].
//!
//! Total: every text gives a tree, and what is wrong becomes diagnostics, all of them at once.

mod arguments;
mod encoding;
mod flags;
pub(crate) mod head;
mod instruction;
mod options;
mod transfer;

use std::sync::Arc;

pub use instruction::flags_of;

use crate::diagnostic::Diagnostic;
use crate::layout::PieceKind;
use crate::scan::{self, LogicalLine};
use crate::source::{Source, Span};
use crate::syntax::{Command, Dockerfile, Instruction};

/// A tree and what is wrong with it.
#[derive(Debug)]
pub struct Parsed {
    /// The tree; instructions that cannot be read are [`Command::Invalid`] or
    /// [`Command::UnreadFrom`].
    pub dockerfile: Dockerfile,
    /// The errors, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the file cannot be built.
    pub fn has_errors(&self) -> bool {
        !self.diagnostics.is_empty()
    }
}

/// Reads a Dockerfile.
pub fn parse(source: &Source) -> Parsed {
    let scanned = scan::scan(source);
    let escape = scanned.directives.escape_char();
    let mut diagnostics = scanned.diagnostics;
    let instructions: Vec<Arc<Instruction>> = scanned
        .lines
        .iter()
        .map(|line| Arc::new(instruction::parse(line, escape, &mut diagnostics)))
        .collect();
    let is_cut = scanned.layout.pieces.last().map(|piece| piece.kind) == Some(PieceKind::Unread);
    if instructions.is_empty() && !is_cut {
        let message = "the Dockerfile has no instructions";
        diagnostics.push(Diagnostic::error("empty-file", Span::default(), message));
    }
    check_order(&instructions, &mut diagnostics);
    encoding::check(source, &scanned.layout, &instructions, &mut diagnostics);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| span.start));
    let directives = scanned.directives;
    let (diagnostics, warnings) = diagnostics.into_iter().partition(Diagnostic::is_error);
    let dockerfile = Dockerfile {
        source: source.clone(),
        directives,
        instructions,
        layout: scanned.layout,
        warnings,
    };
    Parsed {
        dockerfile,
        diagnostics,
    }
}

/// Reads the text of an ONBUILD trigger; every part of the result stands at `span`, the FROM that
/// brought the trigger.
pub(crate) fn parse_trigger(text: &str, span: Span) -> Result<Instruction, Vec<Diagnostic>> {
    let scanned = scan::scan(&Source::new("trigger", text));
    let escape = scanned.directives.escape_char();
    let mut diagnostics = scanned.diagnostics;
    let [line] = &scanned.lines[..] else {
        let message = format!("an ONBUILD trigger must be one instruction, not {text:?}");
        return Err(vec![Diagnostic::error("invalid-trigger", span, message)]);
    };
    let mut moved = LogicalLine::at(&line.text, span);
    moved.heredocs.clone_from(&line.heredocs);
    moved
        .heredocs
        .iter_mut()
        .for_each(|heredoc| heredoc.place = None);
    let instruction = instruction::parse(&moved, escape, &mut diagnostics);
    let errors: Vec<_> = diagnostics
        .into_iter()
        .filter(Diagnostic::is_error)
        .map(|error| error.at(span).label(format!("in its trigger {text:?}")))
        .collect();
    if errors.is_empty() {
        Ok(instruction)
    } else {
        Err(errors)
    }
}

/// Before the first FROM, only ARG may stand.
fn check_order(instructions: &[Arc<Instruction>], diagnostics: &mut Vec<Diagnostic>) {
    let is_from = |instruction: &Arc<Instruction>| instruction.command.begins_a_stage();
    let first_from = instructions
        .iter()
        .position(is_from)
        .unwrap_or(instructions.len());
    for instruction in &instructions[..first_from] {
        if !matches!(instruction.command, Command::Arg(_) | Command::Invalid) {
            let keyword = instruction.keyword.value.to_uppercase();
            let message = format!("{keyword} stands before the first FROM, where only ARG may");
            let finding = Diagnostic::error("no-stage", instruction.keyword.span, message);
            diagnostics.push(finding.hint("begin the stage with FROM"));
        }
    }
    if first_from == instructions.len() && !instructions.is_empty() {
        let message = "the Dockerfile has no FROM and therefore nothing to build";
        diagnostics.push(Diagnostic::error("no-stage", instructions[0].span, message));
    }
}
