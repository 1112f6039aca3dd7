//! The stages of a Dockerfile, and how names find them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::syntax::{Command, Dockerfile, From, Instruction};

/// A FROM and what follows it.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Its position, from 0.
    pub index: usize,
    /// Its name in lower case.
    pub name: Option<String>,
    /// Its FROM.
    pub from: &'a From,
    /// Whether its FROM could be read; otherwise the base is unknown.
    pub is_read: bool,
    /// The instruction of its FROM.
    pub instruction: &'a Instruction,
    /// The instructions behind its FROM.
    pub instructions: &'a [Arc<Instruction>],
}

/// All stages of a Dockerfile.
#[derive(Debug)]
pub struct Stages<'a> {
    /// The ARGs before the first FROM.
    pub global: Vec<&'a Instruction>,
    /// The stages in order.
    pub all: Vec<Stage<'a>>,
    /// The positions of the stages of each name, in order.
    positions: BTreeMap<String, Vec<usize>>,
}

impl<'a> Stages<'a> {
    /// Cuts a file into stages.
    pub fn of(dockerfile: &'a Dockerfile) -> Self {
        let mut stages = Self {
            global: Vec::new(),
            all: Vec::new(),
            positions: BTreeMap::new(),
        };
        let mut rest = dockerfile.instructions.as_slice();
        while let Some((instruction, behind)) = rest.split_first() {
            rest = behind;
            let (Command::From(from) | Command::UnreadFrom(from)) = &instruction.command else {
                stages.global.push(instruction);
                continue;
            };
            let is_from = |next: &Arc<Instruction>| next.command.begins_a_stage();
            let end = rest.iter().position(is_from).unwrap_or(rest.len());
            let (instructions, behind) = rest.split_at(end);
            stages.begin(from, instruction, instructions);
            rest = behind;
        }
        stages
    }

    fn begin(
        &mut self,
        from: &'a From,
        instruction: &'a Instruction,
        instructions: &'a [Arc<Instruction>],
    ) {
        let name = from.name.as_ref().map(|name| name.value.to_lowercase());
        let index = self.all.len();
        if let Some(name) = &name {
            self.positions.entry(name.clone()).or_default().push(index);
        }
        self.all.push(Stage {
            index,
            name,
            from,
            is_read: !instruction.command.is_unread(),
            instruction,
            instructions,
        });
    }

    /// The stage of that name, in any letter case; the last one, if several have it.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.positions.get(&name.to_lowercase())?.last().copied()
    }

    /// The stage that a FROM at `index` means by `name`: an earlier one, spelt exactly so.
    pub fn before(&self, index: usize, name: &str) -> Option<usize> {
        let positions = self.positions.get(name)?;
        let earlier = positions.partition_point(|position| *position < index);
        positions[..earlier].last().copied()
    }

    /// The names of all stages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.positions.keys().map(String::as_str)
    }

    /// A warning for each name that no stage has, among those whose stages may not come from the cache.
    pub(crate) fn unknown_without_cache(&self, names: &[String]) -> Vec<Diagnostic> {
        let unknown = names.iter().filter(|name| self.by_name(name).is_none());
        let warning = |name: &String| {
            let message = format!("there is no stage {name:?} to build without the cache");
            let warning = Diagnostic::warning_nowhere("unknown-stage", message);
            warning.did_you_mean(&name.to_lowercase(), self.names())
        };
        unknown.map(warning).collect()
    }

    /// The stage to build: the one of that name, or the last.
    pub fn target(&self, name: Option<&str>) -> Result<usize, Diagnostic> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return self.all.len().checked_sub(1).ok_or_else(|| {
                Diagnostic::error_nowhere("no-stage", "the Dockerfile has no stage to build")
            });
        };
        self.by_name(name).ok_or_else(|| {
            let message = format!("there is no stage {name:?} to build");
            Diagnostic::error_nowhere("unknown-target", message).did_you_mean(name, self.names())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, parse};

    #[test]
    fn names_find_stages() {
        let text = "ARG x\nFROM a AS One\nFROM b\nFROM one AS one\nRUN x\n";
        let dockerfile = parse(&Source::new("Dockerfile", text)).dockerfile;
        let stages = Stages::of(&dockerfile);
        assert_eq!(stages.global.len(), 1);
        assert_eq!(stages.by_name("ONE"), Some(2));
        assert_eq!(stages.before(2, "one"), Some(0));
        assert_eq!(stages.before(2, "One"), None);
        assert_eq!(stages.target(None).expect("a target"), 2);
        let error = stages.target(Some("onw")).expect_err("no such stage");
        assert_eq!(error.hints, ["did you mean one?"]);
        let unknown = stages.unknown_without_cache(&["ONE".into(), "noe".into()]);
        let told: Vec<String> = unknown.iter().map(Diagnostic::to_string).collect();
        assert_eq!(
            told,
            ["there is no stage \"noe\" to build without the cache (did you mean one?)"]
        );
    }
}
