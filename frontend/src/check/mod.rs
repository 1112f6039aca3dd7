//! Rules: what is likely wrong or unwise in a Dockerfile that can be built.
//!
//! Those that read the text alone are asked once a file ([`file`]); those that must know variables
//! and the config so far are asked by the lowering in front of every instruction ([`step`]). Each
//! rule stands beside its documentation; [`RULES`] lists them all.

mod casing;
mod findings;
mod from;
mod installer;
mod layers;
mod manual;
mod naming;
mod outdated;
mod path;
mod port;
mod process;
mod rule;
mod secret;
mod settings;
mod shell;
mod step;
mod variable;

pub use manual::manual;
pub use rule::{Group, Rule, Standing};
pub use settings::{Settings, SettingsError};

pub(crate) use casing::of_rejected_from;
pub(crate) use findings::Findings;
pub(crate) use from::Scope as FromScope;
pub(crate) use process::Seen;
pub(crate) use step::{StepFacts, base_platform, step, undefined_variables};
pub(crate) use variable::Scope as VariableScope;

use crate::diagnostic::Diagnostic;
use crate::stage::Stages;
use crate::syntax::{Command, Dockerfile};

/// All rules, BuildKit's first.
pub static RULES: [&Rule; 30] = [
    &casing::STAGE_NAME,
    &casing::FROM_AS,
    &outdated::EMPTY_CONTINUATION,
    &casing::INSTRUCTION,
    &naming::DUPLICATE,
    &naming::RESERVED,
    &process::JSON_ARGS,
    &outdated::MAINTAINER,
    &from::UNDEFINED,
    &path::WORKDIR,
    &variable::UNDEFINED,
    &process::MULTIPLE,
    &outdated::KEY_VALUE,
    &from::BASE_PLATFORM,
    &from::TARGET_PLATFORM,
    &secret::IN_VARIABLE,
    &from::DEFAULT,
    &from::CONSTANT_PLATFORM,
    &path::IGNORED,
    &naming::DESCRIPTION,
    &port::PROTOCOL,
    &port::MAPPING,
    &outdated::IGNORED_FLAG,
    &outdated::TRIGGER,
    &variable::UNUSED,
    &layers::PACKAGE_CACHE,
    &layers::DELETED,
    &layers::COPY_ORDER,
    &layers::CACHE_MOUNT,
    &from::UNPINNED,
];

/// The rule of that name.
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}

/// Asks the rules that need no more than the text.
pub(crate) fn file(findings: &Findings, dockerfile: &Dockerfile, stages: &Stages<'_>) {
    for warning in &dockerfile.warnings {
        found_by_parser(findings, dockerfile, warning.clone());
    }
    for instruction in &dockerfile.instructions {
        match &instruction.command {
            Command::Arg(_) => naming::arguments(findings, instruction),
            Command::From(from) => {
                casing::from(findings, instruction, from);
                naming::from(findings, instruction, from);
            }
            _ if instruction.is("maintainer") => outdated::maintainer(findings, instruction),
            _ => {}
        }
    }
    casing::instructions(findings, dockerfile, stages);
    naming::stages(findings, stages);
    if findings.asks_own_rules() {
        layers::stages(findings, dockerfile, stages);
        from::unpinned(findings, stages);
    }
}

/// Asks the rules about FROM.
pub(crate) fn from(findings: &Findings, stages: &Stages<'_>, scope: &FromScope<'_>) {
    from::stages(findings, stages, scope);
}

/// Build arguments that no ARG asks for.
pub(crate) fn unused_build_argument(findings: &Findings, finding: Diagnostic) {
    findings.add_to_file(&variable::UNUSED, finding);
}

/// What can only be seen while lines and flags are read.
fn found_by_parser(findings: &Findings, dockerfile: &Dockerfile, finding: Diagnostic) {
    let Some(rule) = find(finding.code) else {
        return;
    };
    let instruction = finding
        .span
        .and_then(|span| dockerfile.instruction_at(span));
    match instruction {
        // As in BuildKit, comments do not speak of this one.
        Some(_) if rule.name == names::EMPTY_CONTINUATION => findings.add_to_file(rule, finding),
        Some(instruction) => findings.add(rule, instruction, finding),
        None => findings.add_to_file(rule, finding),
    }
}

/// The names of rules whose findings the scanner and the parser make.
pub(crate) mod names {
    /// See [`super::outdated::EMPTY_CONTINUATION`].
    pub(crate) const EMPTY_CONTINUATION: &str = super::outdated::EMPTY_CONTINUATION.name;
    /// See [`super::outdated::IGNORED_FLAG`].
    pub(crate) const IGNORED_FLAG: &str = super::outdated::IGNORED_FLAG.name;
    /// See [`super::outdated::TRIGGER`].
    pub(crate) const TRIGGER: &str = super::outdated::TRIGGER.name;
    /// See [`super::variable::UNUSED`].
    pub(crate) const UNUSED_BUILD_ARG: &str = super::variable::UNUSED.name;
}
