//! Which flags an instruction takes, and what their values are.

use std::collections::BTreeMap;

use super::head::{Flag, name_and_value};
use crate::diagnostic::{Diagnostic, closest};
use crate::scan::LogicalLine;
use crate::source::Spanned;
use crate::syntax::Word;

/// What kind of value a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None, `true` or `false`.
    Switch,
    /// One value.
    Value,
    /// One value, and the flag may be repeated.
    Values,
}

/// The flags that an instruction takes.
pub(super) type Known = &'static [(&'static str, Kind)];

/// The flags of one instruction, checked.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: BTreeMap<&'static str, Vec<Word>>,
}

impl Flags {
    /// Checks flags against those that exist; reports all that is wrong.
    pub(super) fn check(
        line: &LogicalLine,
        given: &[Flag],
        known: Known,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut flags = Self::default();
        for flag in given {
            if let Err(diagnostic) = flags.add(line, flag, known) {
                diagnostics.push(*diagnostic);
            }
        }
        flags
    }

    fn add(
        &mut self,
        line: &LogicalLine,
        flag: &Flag,
        known: Known,
    ) -> Result<(), Box<Diagnostic>> {
        let span = line.span_of(flag.range.clone());
        let (name, value) = name_and_value(&flag.text);
        let error = |code, message: String| Box::new(Diagnostic::error(code, span, message));
        let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let unknown = error("unknown-flag", format!("there is no flag --{name} here"));
            let near = closest(name, known.iter().map(|(name, _)| *name));
            return Err(Box::new(match near {
                Some(near) => unknown.hint(format!("did you mean --{near}?")),
                None => *unknown,
            }));
        };
        let values = self.values.entry(name).or_default();
        if !values.is_empty() && *kind != Kind::Values {
            return Err(error(
                "duplicate-flag",
                format!("the flag --{name} is given twice"),
            ));
        }
        let value = match (kind, value) {
            (Kind::Switch, None) => "true".to_owned(),
            (Kind::Switch, Some(value)) => switch(value).ok_or_else(|| {
                error(
                    "invalid-flag",
                    format!("--{name} must be true or false, not {value:?}"),
                )
            })?,
            (_, Some(value)) => value.to_owned(),
            (_, None) => return Err(error("invalid-flag", format!("--{name} needs a value"))),
        };
        values.push(Spanned::new(value, span));
        Ok(())
    }

    /// The value of a flag that is given once; an empty value counts as none.
    pub(super) fn value(&mut self, name: &str) -> Option<Word> {
        self.values
            .remove(name)?
            .into_iter()
            .next()
            .filter(|word| !word.value.is_empty())
    }

    /// All values of a flag.
    pub(super) fn values(&mut self, name: &str) -> Vec<Word> {
        self.values.remove(name).unwrap_or_default()
    }

    /// A switch, if it is given.
    pub(super) fn switch(&mut self, name: &str) -> Option<Spanned<bool>> {
        let word = self.values.remove(name)?.into_iter().next()?;
        Some(Spanned::new(word.value == "true", word.span))
    }
}

fn switch(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    matches!(value.as_str(), "true" | "false").then_some(value)
}
