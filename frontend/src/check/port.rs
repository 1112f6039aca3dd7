//! Rules about EXPOSE.

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::port;
use crate::source::Span;
use crate::syntax::Instruction;

/// ExposeProtoCasing
pub(super) static PROTOCOL: Rule = Rule {
    name: "ExposeProtoCasing",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "A protocol of EXPOSE is not in lower case",
    reason: "The image holds the protocol in lower case whatever is written.",
    bad: "FROM alpine:3.20\nEXPOSE 80/TCP\n",
    good: "FROM alpine:3.20\nEXPOSE 80/tcp\n",
};

/// ExposeInvalidFormat
pub(super) static MAPPING: Rule = Rule {
    name: "ExposeInvalidFormat",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "EXPOSE names an address or a port of the host",
    reason: "EXPOSE tells the container's port. Where it is reached from outside is decided when \
        the container is started, and what EXPOSE says about it is left out. BuildKit announces \
        that this will be an error.",
    bad: "FROM alpine:3.20\nEXPOSE 127.0.0.1:8080:80\n",
    good: "FROM alpine:3.20\nEXPOSE 80\n",
};

/// One port as expanded.
pub(super) fn exposed(findings: &Findings, instruction: &Instruction, text: &str, span: Span) {
    let (address, host, container) = port::split(text);
    let Ok((_, known)) = port::split_protocol(container) else {
        return;
    };
    let written = container
        .split_once('/')
        .map_or("", |(_, protocol)| protocol);
    if !written.is_empty() && written != known {
        let message = format!("the protocol of {text} is not in lower case");
        let finding = Diagnostic::warning(PROTOCOL.name, span, message);
        findings.add(
            &PROTOCOL,
            instruction,
            finding.label(format!("write {known}")),
        );
    }
    if !address.is_empty() || !host.is_empty() {
        let message = format!("{text} names an address or a port of the host");
        let finding = Diagnostic::warning(MAPPING.name, span, message);
        findings.add(
            &MAPPING,
            instruction,
            finding.label(format!("write {container}")),
        );
    }
}
