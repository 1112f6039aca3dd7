//! Rules about variables in the instructions of a stage, and build arguments.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::syntax::Instruction;

/// UndefinedVar
pub(super) static UNDEFINED: Rule = Rule {
    name: "UndefinedVar",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "A variable that nothing defines",
    reason: "It stands for nothing, and what is left over can mean something quite different: \
        $DIR/bin becomes /bin. ARG and ENV of the stage define variables, and so do those of the \
        base image; an ARG before the first FROM counts in a stage only where an ARG there repeats \
        its name. RUN, CMD and ENTRYPOINT are not looked at: the shell knows other variables.",
    bad: "FROM alpine:3.20\nARG version=1\nCOPY app-$vresion /app\n",
    good: "FROM alpine:3.20\nARG version=1\nCOPY app-$version /app\n",
};

/// UnusedBuildArg
pub(super) static UNUSED: Rule = Rule {
    name: "UnusedBuildArg",
    group: Group::Kiln,
    standing: Standing::Always,
    summary: "--build-arg gives a value that no ARG asks for",
    reason: "The value has no effect. Most often one of the two names is misspelt. It concerns the \
        command line, for example `kiln build --build-arg vresion=2`.",
    bad: "FROM alpine:3.20\nARG version=1\nCOPY app-$version /app\n",
    good: "FROM alpine:3.20\nARG version=1\nARG vresion\nCOPY app-$version /app\n",
};

/// ARGs that are not meant to be variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What is known where a word stands.
pub(crate) struct Scope<'a> {
    /// The names of all variables that have a value.
    pub(crate) names: &'a dyn Fn() -> Vec<&'a str>,
    /// Whether an ARG declares a name, with a value or without.
    pub(crate) is_declared: &'a dyn Fn(&str) -> bool,
    /// Whether the base image's variables are among them. If not, only a name that is nearly that of
    /// a variable is reported.
    pub(crate) is_complete: bool,
}

/// The names that a word refers to and that have no value.
pub(super) fn unmatched(
    findings: &Findings,
    instruction: &Instruction,
    names: &BTreeSet<String>,
    scope: &Scope<'_>,
    place: &dyn Fn(&str) -> Span,
) {
    for name in names {
        if (scope.is_declared)(name) || NO_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let suggestion = findings.suggest(name, scope.names);
        if !scope.is_complete && suggestion.is_none() {
            continue;
        }
        let message = format!("nothing defines the variable ${name}");
        let mut finding =
            Diagnostic::warning(UNDEFINED.name, place(name), message).label("has no value");
        if let Some(suggestion) = suggestion {
            finding = finding.hint(format!("did you mean ${suggestion}?"));
        }
        findings.add(&UNDEFINED, instruction, finding);
    }
}
