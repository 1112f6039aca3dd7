//! Collects what rules find, as far as anybody wants to know it.

use std::cell::RefCell;

use super::rule::{Group, Rule};
use super::settings::Settings;
use crate::diagnostic::{Diagnostic, Suggestions};
use crate::source::Span;
use crate::syntax::Instruction;

/// What rules found in one file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    settings: Settings,
    /// Whether Kiln's own rules are asked as well.
    own_rules: bool,
    found: RefCell<Vec<Diagnostic>>,
    suggestions: Suggestions,
}

impl Findings {
    pub(crate) fn new(settings: Settings, own_rules: bool) -> Self {
        Self {
            settings,
            own_rules,
            ..Self::default()
        }
    }

    /// Whether Kiln's own rules are asked as well.
    pub(super) fn asks_own_rules(&self) -> bool {
        self.own_rules
    }

    /// A finding about an instruction, whose comments may speak against it.
    pub(super) fn add(&self, rule: &Rule, instruction: &Instruction, mut finding: Diagnostic) {
        if is_trigger(instruction) {
            finding.label = Some(format!("in its trigger {:?}", instruction.text));
        }
        let local = self.settings.with_comments(&instruction.comments);
        self.add_if_asked(rule, local.as_ref().unwrap_or(&self.settings), finding);
    }

    /// A finding about the file, where only the directive can speak against it.
    pub(super) fn add_to_file(&self, rule: &Rule, finding: Diagnostic) {
        self.add_if_asked(rule, &self.settings, finding);
    }

    fn add_if_asked(&self, rule: &Rule, settings: &Settings, finding: Diagnostic) {
        debug_assert_eq!(rule.name, finding.code);
        if rule.is_asked(settings, self.own_rules) {
            self.found.borrow_mut().push(finding);
        }
    }

    /// The nearest of some names, unless there were very many such questions.
    pub(super) fn suggest<'n, N: IntoIterator<Item = &'n str>>(
        &self,
        written: &str,
        names: impl FnOnce() -> N,
    ) -> Option<&'n str> {
        self.suggestions.closest(written, names)
    }

    /// The findings in the order of the text, each once. With `error=true` what BuildKit's rules
    /// found comes with an error.
    pub(crate) fn finish(self, directive: Option<Span>) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        let key = |finding: &Diagnostic| finding.span.map(|span| (span.start, span.end));
        found.sort_by(|a, b| (key(a), a.code, &a.message).cmp(&(key(b), b.code, &b.message)));
        found.dedup();
        if self.settings.error {
            found.extend(violation(&found, directive));
        }
        found
    }
}

/// Whether an instruction comes from a base image: then all of it stands where FROM does.
fn is_trigger(instruction: &Instruction) -> bool {
    let Instruction { keyword, span, .. } = instruction;
    keyword.span == *span && keyword.value.len() != span.end - span.start
}

fn violation(found: &[Diagnostic], directive: Option<Span>) -> Option<Diagnostic> {
    let of_buildkit = |finding: &&Diagnostic| {
        super::find(finding.code).is_some_and(|rule| rule.group == Group::BuildKit)
    };
    let mut names: Vec<&str> = found.iter().filter(of_buildkit).map(|f| f.code).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let message = format!("these rules found something: {}", names.join(", "));
    let error = Diagnostic::error_nowhere("check-failed", message);
    Some(match directive {
        Some(span) => error.at(span).label("findings are errors"),
        None => error.hint("error=true makes an error of what they find"),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::limits::COMPARED_NAMES;

    #[test]
    fn very_many_undefined_variables_list_the_others_only_at_first() {
        let findings = Findings::default();
        let listed = Cell::new(0);
        let names = || {
            listed.set(listed.get() + 1);
            vec!["version"]
        };
        assert_eq!(findings.suggest("vresion", names), Some("version"));
        for _ in 0..2 * COMPARED_NAMES {
            findings.suggest("vresion", names);
        }
        assert_eq!(listed.get(), COMPARED_NAMES);
    }
}
