//! Rules about forms of the language that are on their way out, or that do nothing.

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::syntax::{Instruction, KeyValue};

/// NoEmptyContinuation; what reads the lines finds it.
pub(super) static EMPTY_CONTINUATION: Rule = Rule {
    name: "NoEmptyContinuation",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "An empty line stands inside an instruction of several lines",
    reason: "The instruction goes on behind the empty line, which a reader takes for its end. \
        BuildKit announces that this will be an error.",
    bad: "FROM alpine:3.20\nRUN true && \\\n\n    true\n",
    good: "FROM alpine:3.20\nRUN true && \\\n    true\n",
};

/// MaintainerDeprecated
pub(super) static MAINTAINER: Rule = Rule {
    name: "MaintainerDeprecated",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "MAINTAINER is outdated",
    reason: "An image has labels for what is known about it, which every tool can show and search.",
    bad: "FROM alpine:3.20\nMAINTAINER ann@example.org\n",
    good: "FROM alpine:3.20\nLABEL org.opencontainers.image.authors=\"ann@example.org\"\n",
};

/// LegacyKeyValueFormat
pub(super) static KEY_VALUE: Rule = Rule {
    name: "LegacyKeyValueFormat",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "ENV or LABEL without an equals sign",
    reason: "Without an equals sign all the rest of the line is one value, and two pairs on a line \
        silently become one. The form with = says what belongs together.",
    bad: "FROM alpine:3.20\nENV DIR /srv/app\n",
    good: "FROM alpine:3.20\nENV DIR=/srv/app\n",
};

/// IgnoredFlag; the parser finds it.
pub(super) static IGNORED_FLAG: Rule = Rule {
    name: "IgnoredFlag",
    group: Group::Kiln,
    standing: Standing::Always,
    summary: "A flag that the instruction takes no notice of",
    reason: "ARG, STOPSIGNAL and HEALTHCHECK NONE accept any flag and do nothing with it, so that \
        what it was to do does not happen.",
    bad: "FROM alpine:3.20\nHEALTHCHECK --interval=5s NONE\n",
    good: "FROM alpine:3.20\nHEALTHCHECK NONE\n",
};

/// InvalidTrigger; the parser finds it.
pub(super) static TRIGGER: Rule = Rule {
    name: "InvalidTrigger",
    group: Group::Kiln,
    standing: Standing::Always,
    summary: "What ONBUILD keeps for later cannot run then",
    reason: "The image can be built, but nothing can be built on it: the instruction behind ONBUILD \
        is read when the image is used as a base, and will be refused there.",
    bad: "FROM alpine:3.20\nONBUILD COPY --form=build /a /a\n",
    good: "FROM alpine:3.20\nONBUILD COPY --from=build /a /a\n",
};

pub(super) fn maintainer(findings: &Findings, instruction: &Instruction) {
    let span = instruction.keyword.span;
    let message = "MAINTAINER is outdated; a label can say the same";
    let finding = Diagnostic::warning(MAINTAINER.name, span, message);
    let hint = "write LABEL org.opencontainers.image.authors=\"…\"";
    findings.add(&MAINTAINER, instruction, finding.hint(hint));
}

pub(super) fn key_value(findings: &Findings, instruction: &Instruction, pairs: &[KeyValue]) {
    for pair in pairs.iter().filter(|pair| pair.legacy) {
        let keyword = &instruction.keyword.value;
        let message = format!("{keyword} without = takes the rest of the line as one value");
        let finding =
            Diagnostic::warning(KEY_VALUE.name, pair.key.span.to(pair.value.span), message)
                .label(format!("write {}=…", pair.key.value));
        findings.add(&KEY_VALUE, instruction, finding);
    }
}
