//! Rules about FROM.

use kiln_solver::{Platform, Reference};

use super::findings::Findings;
use super::rule::{Group, Rule, Standing};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Expansion, Variables};
use crate::limits;
use crate::source::Span;
use crate::stage::{Stage, Stages};
use crate::syntax::{Command, Word};

/// UndefinedArgInFrom
pub(super) static UNDEFINED: Rule = Rule {
    name: "UndefinedArgInFrom",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "FROM uses a variable that no ARG before the first FROM declares",
    reason: "It stands for nothing there. Only ARGs before the first FROM and the predefined ones \
        (BUILDPLATFORM, TARGETARCH and so on) have a value in FROM.",
    bad: "ARG tag=3.20\nFROM alpine:3.20$tga\n",
    good: "ARG tag=3.20\nFROM alpine:$tag\n",
};

/// InvalidDefaultArgInFrom
pub(super) static DEFAULT: Rule = Rule {
    name: "InvalidDefaultArgInFrom",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "Without build arguments, FROM names no image",
    reason: "Whoever builds the file without --build-arg gets an error instead of an image. A \
        default, as in ARG name=value or ${name:-value}, makes it work.",
    bad: "ARG tag\nFROM alpine:$tag\n",
    good: "ARG tag=3.20\nFROM alpine:$tag\n",
};

/// RedundantTargetPlatform
pub(super) static TARGET_PLATFORM: Rule = Rule {
    name: "RedundantTargetPlatform",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "--platform=$TARGETPLATFORM is what FROM does anyhow",
    reason: "A stage is built for the target platform unless it says otherwise.",
    bad: "FROM --platform=$TARGETPLATFORM alpine:3.20\n",
    good: "FROM alpine:3.20\n",
};

/// FromPlatformFlagConstDisallowed
pub(super) static CONSTANT_PLATFORM: Rule = Rule {
    name: "FromPlatformFlagConstDisallowed",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "FROM fixes a platform",
    reason: "The result is of that platform whatever the build asks for. $BUILDPLATFORM says \
        \"where the build runs\", which most such stages mean. A stage whose name contains the \
        operating system or the architecture is taken to be meant as it is written.",
    bad: "FROM --platform=linux/amd64 alpine:3.20 AS tools\n",
    good: "FROM --platform=linux/amd64 alpine:3.20 AS tools-amd64\n",
};

/// InvalidBaseImagePlatform
pub(super) static BASE_PLATFORM: Rule = Rule {
    name: "InvalidBaseImagePlatform",
    group: Group::BuildKit,
    standing: Standing::Always,
    summary: "A base image is of another platform than the build asks for",
    reason: "The image that comes out says that it is of one platform and holds programs of \
        another. The rule can only speak where the image's config can be read.",
    bad: "FROM only-for-arm\nRUN true\n",
    good: "FROM alpine:3.20\nRUN true\n",
};

/// UnpinnedBaseImage
pub(super) static UNPINNED: Rule = Rule {
    name: "UnpinnedBaseImage",
    group: Group::Kiln,
    standing: Standing::OnRequest,
    summary: "A base image is not named by its digest",
    reason: "A tag can mean another image tomorrow, so that the same Dockerfile builds something \
        else. A digest cannot. Who pins digests needs something that renews them, which is why \
        this rule is off by default.",
    bad: "FROM alpine:3.20\nRUN true\n",
    good: "FROM alpine:3.20@sha256:\
        0000000000000000000000000000000000000000000000000000000000000000\nRUN true\n",
};

/// Bases that are images without a digest; what variables stand for is not known here.
pub(super) fn unpinned(findings: &Findings, stages: &Stages<'_>) {
    for stage in stages.all.iter().filter(|stage| stage.is_read) {
        let image = &stage.from.image;
        let is_stage = stages.before(stage.index, &image.value).is_some();
        if is_stage || image.value == "scratch" || image.value.contains('$') {
            continue;
        }
        let Ok(reference) = image.value.parse::<Reference>() else {
            continue;
        };
        if reference.digest.is_some() {
            continue;
        }
        let (message, label) = match reference.tag.as_deref() {
            None => (
                "the newest image of that name is used",
                "no tag and no digest",
            ),
            Some("latest") => ("the newest image of that name is used", "no digest"),
            Some(_) => ("the tag can mean another image tomorrow", "no digest"),
        };
        let finding = Diagnostic::warning(UNPINNED.name, image.span, message);
        findings.add(&UNPINNED, stage.instruction, finding.label(label));
    }
}

/// What is known where FROM stands.
pub(crate) struct Scope<'a> {
    pub(crate) escape: char,
    /// The variables of the whole file.
    pub(crate) variables: &'a dyn Variables,
    /// The same as if no build argument were given.
    pub(crate) defaults: Option<&'a dyn Variables>,
    /// The names of those that have a value.
    pub(crate) names: Vec<&'a str>,
    pub(crate) target_platform: String,
}

/// The FROM of every stage.
pub(super) fn stages(findings: &Findings, stages: &Stages<'_>, scope: &Scope<'_>) {
    let declared: Vec<&str> = stages
        .global
        .iter()
        .flat_map(|instruction| match &instruction.command {
            Command::Arg(arguments) => arguments.as_slice(),
            _ => &[],
        })
        .map(|argument| argument.name.value.as_str())
        .collect();
    let known: std::collections::BTreeSet<&str> =
        declared.iter().chain(&scope.names).copied().collect();
    for stage in stages.all.iter().filter(|stage| stage.is_read) {
        default_name(findings, stage, scope);
        let expander = Expander::new(scope.escape, scope.variables).growing_by(limits::FROM);
        let used = |word: &Word| {
            let expansion = match expander.attempt(&word.value) {
                Ok(expansion) => expansion,
                Err(failure) => Expansion {
                    unmatched: failure.unmatched,
                    ..Expansion::default()
                },
            };
            for name in &expansion.unmatched {
                if !known.contains(name.as_str()) {
                    undefined(findings, stage, name, &known, word.span);
                }
            }
            expansion
        };
        used(&stage.from.image);
        if let Some(platform) = &stage.from.platform {
            let expansion = used(platform);
            platform_flag(findings, stage, platform, &expansion, scope);
        }
    }
}

fn undefined(
    findings: &Findings,
    stage: &Stage<'_>,
    name: &str,
    known: &std::collections::BTreeSet<&str>,
    span: Span,
) {
    let message = format!("no ARG before the first FROM declares {name}");
    let mut finding = Diagnostic::warning(UNDEFINED.name, span, message);
    if let Some(suggestion) = findings.suggest(name, || known.iter().copied()) {
        finding = finding.hint(format!("did you mean {suggestion}?"));
    }
    findings.add(&UNDEFINED, stage.instruction, finding);
}

fn default_name(findings: &Findings, stage: &Stage<'_>, scope: &Scope<'_>) {
    let Some(defaults) = scope.defaults else {
        return;
    };
    let image = &stage.from.image;
    let expander = Expander::new(scope.escape, defaults).growing_by(limits::FROM);
    let Ok(expansion) = expander.word(&image.value) else {
        return;
    };
    // What is too long is refused, and told there.
    let is_too_long = expansion.text.len() > limits::FROM;
    if is_too_long || expansion.text.parse::<Reference>().is_ok() {
        return;
    }
    let message = format!("without build arguments, {} names no image", image.value);
    let finding = Diagnostic::warning(DEFAULT.name, image.span, message);
    let label = match expansion.text.is_empty() {
        true => "empty by default".to_owned(),
        false => format!("{:?} by default", expansion.text),
    };
    let mut finding = finding.label(label);
    if !(expansion.matched.is_empty() && expansion.unmatched.is_empty()) {
        finding = finding.hint("give the ARG a default");
    }
    findings.add_to_file(&DEFAULT, finding);
}

fn platform_flag(
    findings: &Findings,
    stage: &Stage<'_>,
    written: &Word,
    expansion: &Expansion,
    scope: &Scope<'_>,
) {
    let Expansion {
        text,
        matched,
        unmatched,
        steps: _,
    } = expansion;
    let is_target = unmatched.is_empty()
        && matched.len() == 1
        && matched.contains("TARGETPLATFORM")
        && *text == scope.target_platform;
    if is_target {
        let message = "FROM uses the target platform anyhow";
        let finding = Diagnostic::warning(TARGET_PLATFORM.name, written.span, message);
        findings.add(
            &TARGET_PLATFORM,
            stage.instruction,
            finding.label("can be left out"),
        );
    }
    let constant = (matched.is_empty() && unmatched.is_empty())
        .then(|| text.parse::<Platform>().ok())
        .flatten();
    let name = stage.name.as_deref().unwrap_or_default();
    let Some(platform) = constant else { return };
    if name.contains(&platform.os) || name.contains(&platform.architecture) {
        return;
    }
    let message = format!("this stage is always built for {text}");
    let finding = Diagnostic::warning(CONSTANT_PLATFORM.name, written.span, message);
    let hint = "write $BUILDPLATFORM for the machine that builds, or leave the flag out";
    findings.add(&CONSTANT_PLATFORM, stage.instruction, finding.hint(hint));
}

/// The platform that a base image turned out to be of.
pub(super) fn base_platform(
    findings: &Findings,
    image: &str,
    expected: &Platform,
    found: &Platform,
    span: Span,
) {
    if expected.os == found.os && expected.architecture == found.architecture {
        return;
    }
    let message = format!("{image} is an image for {found}, and the build is for {expected}");
    let finding = Diagnostic::warning(BASE_PLATFORM.name, span, message);
    findings.add_to_file(&BASE_PLATFORM, finding.label(format!("for {found}")));
}
