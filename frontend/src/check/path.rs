//! Rules about paths: WORKDIR, and what COPY and ADD read.

use kiln_solver::RelPath;
use kiln_solver::pattern::{Patterns, clean};

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::syntax::Instruction;

/// WorkdirRelativePath
pub(super) static WORKDIR: Rule = Rule {
    name: "WorkdirRelativePath",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "The first WORKDIR of a stage is relative",
    reason: "It depends on the working directory of the base image, which can change with any new \
        version of it.",
    bad: "FROM alpine:3.20\nWORKDIR app\n",
    good: "FROM alpine:3.20\nWORKDIR /app\n",
};

/// CopyIgnoredFile
pub(super) static IGNORED: Rule = Rule {
    name: "CopyIgnoredFile",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "COPY or ADD names a file that .dockerignore leaves out",
    reason: "The file is no part of the build context, so that the step cannot find it. Where \
        .dockerignore takes something back with an exclamation mark, the rule says nothing.",
    bad: "FROM alpine:3.20\nCOPY ignored.txt /\n",
    good: "FROM alpine:3.20\nCOPY app /\n",
};

/// The first WORKDIR, as expanded.
pub(super) fn workdir(findings: &Findings, instruction: &Instruction, path: &str, span: Span) {
    if path.starts_with('/') {
        return;
    }
    let message = format!("where {path:?} is depends on the base image");
    let finding = Diagnostic::warning(WORKDIR.name, span, message);
    findings.add(
        &WORKDIR,
        instruction,
        finding.hint("begin with an absolute WORKDIR"),
    );
}

/// A path of the context, as expanded.
pub(super) fn source(
    findings: &Findings,
    ignored: &Patterns,
    instruction: &Instruction,
    path: &str,
    span: Span,
) {
    if ignored.is_empty() || ignored.takes_something_back() {
        return;
    }
    let path = clean(path);
    let is_ignored = match path.as_str() {
        "." => ignored.exclude_everything(),
        // Patterns have no leading slash, and never match what is outside of the context.
        absolute if absolute.starts_with('/') => false,
        outside if outside == ".." || outside.starts_with("../") => false,
        inside => ignored.excludes(&RelPath::resolve(&RelPath::root(), inside)),
    };
    if !is_ignored {
        return;
    }
    let keyword = instruction.keyword.value.to_uppercase();
    let message = format!(".dockerignore leaves out {path:?}, which {keyword} reads");
    let finding = Diagnostic::warning(IGNORED.name, span, message);
    findings.add(
        &IGNORED,
        instruction,
        finding.label("not in the build context"),
    );
}
