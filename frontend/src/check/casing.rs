//! Rules about upper and lower case.

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::stage::Stages;
use crate::syntax::{Command, Dockerfile, From, Instruction, KEYWORDS, Word};

/// StageNameCasing
pub(super) static STAGE_NAME: Rule = Rule {
    name: "StageNameCasing",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "The name of a stage is not in lower case",
    reason: "Names of stages are compared in lower case. A name that is written in lower case \
        everywhere is found by every search for it, and cannot be taken for another one.",
    bad: "FROM alpine:3.20 AS Build\n",
    good: "FROM alpine:3.20 AS build\n",
};

/// FromAsCasing
pub(super) static FROM_AS: Rule = Rule {
    name: "FromAsCasing",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "FROM and AS are written in different case",
    reason: "The two words belong to one instruction and read best in the same case.",
    bad: "FROM alpine:3.20 as build\n",
    good: "FROM alpine:3.20 AS build\n",
};

/// ConsistentInstructionCasing
pub(super) static INSTRUCTION: Rule = Rule {
    name: "ConsistentInstructionCasing",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "The instructions of the file are not all in one case",
    reason: "Case means nothing in names of instructions. The majority of the file decides which \
        one is right, upper case in a tie; mixed case is never right.",
    bad: "FROM alpine:3.20\nRun true\ncopy a /a\nUSER nobody\n",
    good: "FROM alpine:3.20\nRUN true\nCOPY a /a\nUSER nobody\n",
};

/// Names of stages, and the AS in front of them.
pub(super) fn from(findings: &Findings, instruction: &Instruction, from: &From) {
    if let Some(finding) = from.name.as_ref().and_then(stage_name) {
        findings.add(&STAGE_NAME, instruction, finding);
    }
    let keyword = &instruction.keyword.value;
    if let Some(finding) = from.r#as.as_ref().and_then(|r#as| from_as(keyword, r#as)) {
        findings.add(&FROM_AS, instruction, finding);
    }
}

/// The same for a FROM that cannot be read: the words behind its flags.
pub(crate) fn of_rejected_from(keyword: &str, words: &[Word]) -> Vec<Diagnostic> {
    let [_, r#as, name, more @ ..] = words else {
        return Vec::new();
    };
    let is_as = r#as.value.eq_ignore_ascii_case("as");
    let of_as = is_as.then(|| from_as(keyword, r#as)).flatten();
    let of_name = more.is_empty().then(|| stage_name(name)).flatten();
    of_as.into_iter().chain(of_name).collect()
}

fn stage_name(name: &Word) -> Option<Diagnostic> {
    let lower = name.value.to_lowercase();
    if lower == name.value {
        return None;
    }
    let message = format!("the name of the stage {} is not in lower case", name.value);
    let finding = Diagnostic::warning(STAGE_NAME.name, name.span, message);
    Some(finding.label(format!("write {lower}")))
}

fn from_as(keyword: &str, r#as: &Word) -> Option<Diagnostic> {
    let expected = Case::of(keyword)?.of_word(&r#as.value);
    if r#as.value == expected {
        return None;
    }
    let message = format!("{} is not in the case of {keyword}", r#as.value);
    let finding = Diagnostic::warning(FROM_AS.name, r#as.span, message);
    Some(finding.label(format!("write {expected}")))
}

/// The case of all instructions behind the first FROM.
pub(super) fn instructions(findings: &Findings, dockerfile: &Dockerfile, stages: &Stages<'_>) {
    let behind = &dockerfile.instructions[stages.global.len()..];
    let keywords = || {
        let known = behind.iter().filter(|instruction| is_known(instruction));
        known.map(|instruction| &instruction.keyword)
    };
    let (mut lower, mut upper) = (0, 0);
    for keyword in keywords() {
        match Case::of(&keyword.value) {
            Some(Case::Lower) => lower += 1,
            Some(Case::Upper) => upper += 1,
            None => {}
        }
    }
    let expected = match lower > upper {
        true => Case::Lower,
        false => Case::Upper,
    };
    for keyword in keywords().filter(|keyword| !expected.fits(&keyword.value)) {
        instruction(findings, keyword, expected);
    }
}

fn instruction(findings: &Findings, keyword: &Word, expected: Case) {
    let case = match expected {
        Case::Lower => "lower",
        Case::Upper => "upper",
    };
    let written = &keyword.value;
    let message = format!("{written} is not in {case} case like the rest of the file");
    let finding = Diagnostic::warning(INSTRUCTION.name, keyword.span, message);
    let label = format!("write {}", expected.of_word(written));
    findings.add_to_file(&INSTRUCTION, finding.label(label));
}

fn is_known(instruction: &Instruction) -> bool {
    let is_keyword = |known: &str| known.eq_ignore_ascii_case(&instruction.keyword.value);
    instruction.command != Command::Invalid || KEYWORDS.iter().any(|known| is_keyword(known))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
}

impl Case {
    /// The case of a word; `None` if it is mixed.
    fn of(word: &str) -> Option<Self> {
        let cases = [Case::Lower, Case::Upper];
        cases.into_iter().find(|case| case.fits(word))
    }

    fn fits(self, word: &str) -> bool {
        match self {
            _ if !word.is_ascii() => self.of_word(word) == word,
            Case::Lower => !word.bytes().any(|byte| byte.is_ascii_uppercase()),
            Case::Upper => !word.bytes().any(|byte| byte.is_ascii_lowercase()),
        }
    }

    fn of_word(self, word: &str) -> String {
        match self {
            Case::Lower => word.to_lowercase(),
            Case::Upper => word.to_uppercase(),
        }
    }
}
