//! Rules about secrets.

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::syntax::Instruction;

/// SecretsUsedInArgOrEnv
pub(super) static IN_VARIABLE: Rule = Rule {
    name: "SecretsUsedInArgOrEnv",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "The name of an ARG or ENV sounds like a secret",
    reason: "The values of both stay in the image, in its config or its history, and everybody who \
        has the image can read them. RUN --mount=type=secret shows a secret to one step and leaves \
        nothing behind. The rule knows words such as password, token and key between underscores, \
        unless public, file or version stands beside them.",
    bad: "FROM alpine:3.20\nARG API_TOKEN\nRUN ./deploy \"$API_TOKEN\"\n",
    good: "FROM alpine:3.20\nRUN --mount=type=secret,id=api,env=API_TOKEN ./deploy \"$API_TOKEN\"\n",
};

/// Words that make a name sound like a secret.
const SUSPECT: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words that say it is none after all.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(super) fn name(findings: &Findings, instruction: &Instruction, name: &str, span: Span) {
    if !sounds_secret(name) {
        return;
    }
    let keyword = instruction.keyword.value.to_uppercase();
    let message = format!("{keyword} {name} sounds like a secret, and stays in the image");
    let finding = Diagnostic::warning(IN_VARIABLE.name, span, message);
    let hint = "use RUN --mount=type=secret where the value is needed";
    findings.add(&IN_VARIABLE, instruction, finding.hint(hint));
}

fn sounds_secret(name: &str) -> bool {
    let is_one_of =
        |part: &str, words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(part));
    let mut parts = name.split('_');
    let suspect = parts.clone().any(|part| is_one_of(part, &SUSPECT));
    suspect && !parts.any(|part| is_one_of(part, &HARMLESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_between_underscores_only() {
        for name in ["TOKEN", "api_Key", "my_secret_x", "_auth"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["MONKEY", "PUBLIC_KEY", "TOKEN_FILE", "authority", "key2"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
