//! The rules that are asked in front of an instruction, when variables and config are known.

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_solver::Platform;
use kiln_solver::pattern::Patterns;

use super::findings::Findings;
use super::process::{self, Seen};
use super::variable::{self, Scope};
use super::{from, outdated, path, port, secret};
use crate::expand::{Expander, Variables};
use crate::source::Span;
use crate::syntax::{Command, Instruction, Transfer, Word};

/// What is known in front of an instruction.
pub(crate) struct StepFacts<'a> {
    pub(crate) escape: char,
    pub(crate) variables: &'a dyn Variables,
    /// What SHELL said last; empty if nothing.
    pub(crate) shell: &'a [String],
    /// Whether a WORKDIR of the file came before.
    pub(crate) has_workdir: bool,
    /// What the build context leaves out.
    pub(crate) ignored: &'a Patterns,
}

/// Asks the rules about one instruction of a stage.
pub(crate) fn step(
    findings: &Findings,
    instruction: &Arc<Instruction>,
    facts: &StepFacts<'_>,
    seen: &mut Seen,
) {
    process::only_once(findings, seen, instruction);
    match &instruction.command {
        Command::Cmd(command) | Command::Entrypoint(command) => {
            process::shell_form(findings, facts.shell, instruction, command);
        }
        Command::Env(pairs) => {
            outdated::key_value(findings, instruction, pairs);
            for pair in pairs {
                if let Some(name) = facts.expand(&pair.key) {
                    secret::name(findings, instruction, &name, pair.key.span);
                }
            }
        }
        Command::Label(pairs) => outdated::key_value(findings, instruction, pairs),
        Command::Arg(arguments) => {
            for argument in arguments {
                let name = &argument.name;
                secret::name(findings, instruction, &name.value, name.span);
            }
        }
        Command::Workdir(word) if !facts.has_workdir => {
            if let Some(path) = facts.expand(word) {
                path::workdir(findings, instruction, &path, word.span);
            }
        }
        Command::Expose(ports) => {
            let expander = Expander::new(facts.escape, facts.variables);
            for word in ports {
                for text in expander.words(&word.value).unwrap_or_default() {
                    port::exposed(findings, instruction, &text, word.span);
                }
            }
        }
        Command::Copy(copy) if copy.from.is_none() => {
            sources(findings, instruction, facts, copy);
        }
        Command::Add(add) => sources(findings, instruction, facts, add),
        _ => {}
    }
}

fn sources(
    findings: &Findings,
    instruction: &Instruction,
    facts: &StepFacts<'_>,
    transfer: &Transfer,
) {
    if facts.ignored.is_empty() {
        return;
    }
    for word in &transfer.paths {
        let Some(path) = facts.expand(word) else {
            continue;
        };
        if !path.contains("://") && !path.starts_with("git@") {
            path::source(findings, facts.ignored, instruction, &path, word.span);
        }
    }
}

impl StepFacts<'_> {
    /// A word with its variables' values; `None` if it cannot be expanded, which is told anyhow.
    fn expand(&self, word: &Word) -> Option<String> {
        let expansion = Expander::new(self.escape, self.variables).word(&word.value);
        expansion.ok().map(|expansion| expansion.text)
    }
}

/// Reports the names of a word that have no value; `place` is where a name stands.
pub(crate) fn undefined_variables(
    findings: &Findings,
    instruction: &Instruction,
    names: &BTreeSet<String>,
    scope: &Scope<'_>,
    place: &dyn Fn(&str) -> Span,
) {
    variable::unmatched(findings, instruction, names, scope, place);
}

/// Reports a base image of another platform.
pub(crate) fn base_platform(
    findings: &Findings,
    image: &str,
    expected: &Platform,
    found: &Platform,
    span: Span,
) {
    from::base_platform(findings, image, expected, found, span);
}
