//! Rules about the names of stages, and comments that describe what has a name.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::stage::Stages;
use crate::syntax::{Command, From, Instruction};

/// DuplicateStageName
pub(super) static DUPLICATE: Rule = Rule {
    name: "DuplicateStageName",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "Two stages have the same name",
    reason: "FROM and COPY --from find the last stage of a name, so that the others cannot be \
        named any more. That is hardly ever what was meant.",
    bad: "FROM alpine:3.20 AS build\nFROM alpine:3.20 AS build\n",
    good: "FROM alpine:3.20 AS build\nFROM alpine:3.20 AS test\n",
};

/// ReservedStageName
pub(super) static RESERVED: Rule = Rule {
    name: "ReservedStageName",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "A stage has a name that means something else",
    reason: "The names scratch and context are taken: the first is the empty image, the second \
        the build context. A stage of that name cannot be told from them.",
    bad: "FROM alpine:3.20 AS scratch\n",
    good: "FROM alpine:3.20 AS base\n",
};

/// InvalidDefinitionDescription
pub(super) static DESCRIPTION: Rule = Rule {
    name: "InvalidDefinitionDescription",
    group: Group::BuildKit,
    standing: Standing::Experimental,
    summary: "The comment above an ARG or a named stage does not begin with its name",
    reason: "A comment right above ARG or FROM describes what it defines, and `--call=outline` and \
        `--call=targets` show it, if it begins with the name. Where the comment is none of that, \
        an empty line or an empty comment below it says so.",
    bad: "# check=experimental=InvalidDefinitionDescription\n# the tag\nARG tag=3.20\n\
        FROM alpine:$tag\n",
    good: "# check=experimental=InvalidDefinitionDescription\n# tag the tag\nARG tag=3.20\n\
        FROM alpine:$tag\n",
};

/// Names that are taken, and names that are used twice.
pub(super) fn stages(findings: &Findings, stages: &Stages<'_>) {
    let mut names = BTreeSet::new();
    for stage in &stages.all {
        let (Some(name), Some(written)) = (&stage.name, &stage.from.name) else {
            continue;
        };
        if matches!(name.as_str(), "scratch" | "context") {
            let message = format!("{name} cannot be told from the reserved name");
            let finding = Diagnostic::warning(RESERVED.name, written.span, message);
            findings.add_to_file(&RESERVED, finding.label("choose another name"));
        }
        if !names.insert(name) {
            let message = format!("an earlier stage is called {name}, too");
            let finding = Diagnostic::warning(DUPLICATE.name, written.span, message);
            findings.add_to_file(&DUPLICATE, finding.label("hides the earlier one"));
        }
    }
}

/// The comment above ARG.
pub(super) fn arguments(findings: &Findings, instruction: &Instruction) {
    let Command::Arg(arguments) = &instruction.command else {
        return;
    };
    let names: Vec<&str> = arguments.iter().map(|a| a.name.value.as_str()).collect();
    description(findings, instruction, &names);
}

/// The comment above FROM.
pub(super) fn from(findings: &Findings, instruction: &Instruction, from: &From) {
    if let Some(name) = &from.name {
        description(findings, instruction, &[&name.value.to_lowercase()]);
    }
}

fn description(findings: &Findings, instruction: &Instruction, names: &[&str]) {
    let (Some(comment), Some(first)) = (instruction.comments.last(), names.first()) else {
        return;
    };
    let word = comment.value.split(' ').next().unwrap_or_default();
    if names.contains(&word) {
        return;
    }
    let name = match names {
        [_] => first,
        _ => "<name>",
    };
    let keyword = instruction.keyword.value.to_uppercase();
    let span: Span = comment.span;
    let message = format!("the comment above {keyword} does not begin with {name}");
    let finding = Diagnostic::warning(DESCRIPTION.name, span, message);
    let hint = format!("write \"# {name} and what it is\", or put an empty line below");
    findings.add(&DESCRIPTION, instruction, finding.hint(hint));
}
