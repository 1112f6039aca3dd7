//! Build arguments of the whole file: those that every build has, and the ARGs before the first FROM.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::plan::Plan;
use super::{Checked, Options};
use crate::check::names;
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::limits;
use crate::stage::Stages;
use crate::syntax::{Argument, Command, Dockerfile};

/// Arguments that mean something without being declared.
const SPECIAL: [&str; 17] = [
    "BUILDKIT_BUILD_NAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_INLINE_CACHE",
    "BUILDKIT_MULTI_PLATFORM",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_SBOM_SCAN_CONTEXT",
    "BUILDKIT_SBOM_SCAN_STAGE",
    "BUILDKIT_SYNTAX",
    "SOURCE_DATE_EPOCH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "TARGETSTAGE",
];

/// The proxy arguments, in capitals.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// What FROM lines can refer to, and what an ARG without a default takes over.
pub(super) fn global(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    target: usize,
) -> (Environment, Vec<Diagnostic>) {
    with_values(dockerfile, stages, options, target, &options.build_args)
}

/// The same as if no build argument were given, except for the predefined ones; `None` if some
/// default cannot be expanded.
pub(super) fn defaults(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    target: usize,
) -> Option<Environment> {
    let (defaults, errors) = with_values(dockerfile, stages, options, target, &BTreeMap::new());
    errors.is_empty().then_some(defaults)
}

fn with_values(
    dockerfile: &Dockerfile,
    stages: &Stages<'_>,
    options: &Options,
    target: usize,
    build_args: &BTreeMap<String, String>,
) -> (Environment, Vec<Diagnostic>) {
    let mut global = without_file(options, stages, target);
    let mut errors = Vec::new();
    for instruction in &stages.global {
        let Command::Arg(arguments) = &instruction.command else {
            continue;
        };
        for argument in arguments {
            if let Err(error) = declare(dockerfile, build_args, &mut global, argument) {
                errors.push(*error);
            }
            if global.size() > limits::VARIABLES {
                let most = limits::VARIABLES >> 20;
                let message = format!("variables take more than {most} MiB in all");
                errors.push(Diagnostic::error("too-large", argument.name.span, message));
                return (global, errors);
            }
        }
    }
    (global, errors)
}

/// What every build has, before any ARG of the file.
pub(super) fn without_file(options: &Options, stages: &Stages<'_>, target: usize) -> Environment {
    let stage = options
        .target
        .as_deref()
        .filter(|target| !target.is_empty());
    let stage = stage
        .or(stages.all[target].name.as_deref())
        .unwrap_or("default");
    predefined(options, stage)
}

fn predefined(options: &Options, stage: &str) -> Environment {
    let (build, target) = (&options.build_platform, options.target_platform());
    let values = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone()),
        ("TARGETSTAGE", stage.to_owned()),
    ];
    let mut global = Environment::default();
    for (name, value) in values {
        global.set(name, options.build_args.get(name).unwrap_or(&value));
    }
    global
}

fn declare(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
    global: &mut Environment,
    argument: &Argument,
) -> Checked<()> {
    let name = &argument.name.value;
    if let Some(value) = build_args.get(name) {
        global.set(name, value);
    } else if let Some(default) = &argument.default {
        let expander = Expander::new(dockerfile.directives.escape_char(), &*global);
        let value = expander.word(&default.value).map_err(|error| {
            Box::new(Diagnostic::error(
                "expansion",
                default.span,
                error.to_string(),
            ))
        })?;
        global.set(name, &value.text);
    }
    Ok(())
}

/// Proxies of the build arguments, as the variables that programs look for, in both letter cases.
pub(super) fn proxies(options: &Options) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for proxy in PROXIES {
        let given = options
            .build_args
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(proxy));
        let last = given.map(|(_, value)| value).next_back();
        if let Some(value) = last.filter(|value| !value.is_empty()) {
            found.push((proxy.to_owned(), value.clone()));
            found.push((proxy.to_lowercase(), value.clone()));
        }
    }
    found
}

/// A warning for the build arguments that nothing declares.
pub(super) fn unused(plan: &Plan<'_>, options: &Options) -> Option<Diagnostic> {
    let declared: BTreeSet<&str> = plan.declared_arguments().collect();
    let unused = options
        .build_args
        .keys()
        .map(String::as_str)
        .filter(|name| {
            let special = |known: &&str| known.eq_ignore_ascii_case(name);
            !declared.contains(name)
                && !SPECIAL.iter().any(special)
                && !name.starts_with("TARGET")
                && !name.starts_with("BUILD")
        });
    let unused: Vec<&str> = unused.collect();
    let first = *unused.first()?;
    let message = format!("no ARG declares the build argument {}", unused.join(", "));
    let warning = Diagnostic::warning_nowhere(names::UNUSED_BUILD_ARG, message);
    Some(warning.did_you_mean(first, declared))
}
