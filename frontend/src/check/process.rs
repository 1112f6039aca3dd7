//! Rules about CMD, ENTRYPOINT and HEALTHCHECK.

use std::sync::Arc;

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::syntax::{Command, CommandLine, Instruction};

/// JSONArgsRecommended
pub(super) static JSON_ARGS: Rule = Rule {
    name: "JSONArgsRecommended",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "CMD or ENTRYPOINT goes through a shell",
    reason: "The text form starts a shell, and the shell starts the program. A container is \
        stopped by a signal to the first process, which the shell does not pass on: the program is \
        killed after the time limit instead of ending by itself. The form in brackets starts the \
        program itself. Whoever wants a shell can say so with SHELL, or write [\"sh\", \"-c\", …].",
    bad: "FROM alpine:3.20\nCMD httpd -f\n",
    good: "FROM alpine:3.20\nCMD [\"httpd\", \"-f\"]\n",
};

/// MultipleInstructionsDisallowed
pub(super) static MULTIPLE: Rule = Rule {
    name: "MultipleInstructionsDisallowed",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "CMD, ENTRYPOINT or HEALTHCHECK stands twice in a stage",
    reason: "Only the last one counts; the others do nothing.",
    bad: "FROM alpine:3.20\nCMD [\"a\"]\nCMD [\"b\"]\n",
    good: "FROM alpine:3.20\nCMD [\"b\"]\n",
};

/// The instructions of a stage so far of which only the last one counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    cmd: Option<Arc<Instruction>>,
    entrypoint: Option<Arc<Instruction>>,
    healthcheck: Option<Arc<Instruction>>,
}

pub(super) fn only_once(findings: &Findings, seen: &mut Seen, instruction: &Arc<Instruction>) {
    let slot = match &instruction.command {
        Command::Cmd(_) => &mut seen.cmd,
        Command::Entrypoint(_) => &mut seen.entrypoint,
        Command::Healthcheck(_) => &mut seen.healthcheck,
        _ => return,
    };
    let Some(earlier) = slot.replace(Arc::clone(instruction)) else {
        return;
    };
    let name = instruction.keyword.value.to_uppercase();
    let message = format!("a later {name} of the stage takes the place of this one");
    let finding = Diagnostic::warning(MULTIPLE.name, earlier.keyword.span, message);
    findings.add(&MULTIPLE, instruction, finding.label("does nothing"));
}

/// `shell` is what SHELL said, here or in a base.
pub(super) fn shell_form(
    findings: &Findings,
    shell: &[String],
    instruction: &Instruction,
    command: &CommandLine,
) {
    let CommandLine::Shell(text) = command else {
        return;
    };
    if !shell.is_empty() {
        return;
    }
    let name = instruction.keyword.value.to_uppercase();
    let message = format!("{name} goes through a shell, which does not pass signals on");
    let span = match text.value.is_empty() {
        true => instruction.keyword.span,
        false => text.span,
    };
    let finding = Diagnostic::warning(JSON_ARGS.name, span, message);
    let hint = "write it as [\"program\", \"argument\"]";
    findings.add(&JSON_ARGS, instruction, finding.hint(hint));
}
