//! RUN, SHELL and HEALTHCHECK: their flags and what they mean.

use super::arguments::{Arguments, Rejected};
use super::flags::{Flags, Kind, Known};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::mount;
use crate::source::Spanned;
use crate::syntax::{
    Command, CommandLine, Healthcheck, HealthcheckOptions, Network, Run, Security, Word,
};

pub(super) const RUN_FLAGS: Known = &[
    ("mount", Kind::Values),
    ("network", Kind::Value),
    ("security", Kind::Value),
    ("device", Kind::Values),
];

pub(super) const HEALTHCHECK_FLAGS: Known = &[
    ("interval", Kind::Value),
    ("timeout", Kind::Value),
    ("start-period", Kind::Value),
    ("start-interval", Kind::Value),
    ("retries", Kind::Value),
];

const NETWORKS: &[(&str, Network)] = &[
    ("default", Network::Default),
    ("none", Network::None),
    ("host", Network::Host),
];

const SECURITIES: &[(&str, Security)] = &[
    ("sandbox", Security::Sandbox),
    ("insecure", Security::Insecure),
];

pub(super) fn run(arguments: &Arguments<'_>, mut flags: Flags) -> Result<Command, Rejected> {
    let command = arguments.command_line()?;
    if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
        return Err(arguments.error("missing-argument", "RUN [] names no program"));
    }
    let mounts = flags.values("mount");
    for mount in &mounts {
        mount::check_unexpanded(&mount.value)
            .map_err(|error| Box::new(error.into_diagnostic(&mount.value, mount.span)))?;
    }
    Ok(Command::Run(Run {
        command,
        heredocs: arguments.line.heredocs.clone(),
        mounts,
        network: choice(flags.values("network"), NETWORKS, "network")?,
        security: choice(flags.values("security"), SECURITIES, "security mode")?,
        devices: flags.values("device"),
    }))
}

/// The value of a flag that takes one of a few words.
fn choice<T: Copy>(
    words: Vec<Word>,
    known: &[(&str, T)],
    what: &str,
) -> Result<Option<Spanned<T>>, Rejected> {
    let Some(word) = words.into_iter().next() else {
        return Ok(None);
    };
    match known.iter().find(|(name, _)| *name == word.value) {
        Some((_, value)) => Ok(Some(Spanned::new(*value, word.span))),
        None => {
            let names = known.iter().map(|(name, _)| *name);
            let all: Vec<_> = names.clone().collect();
            let message = format!(
                "there is no {what} {:?}; there are {}",
                word.value,
                all.join(", ")
            );
            let finding = Diagnostic::error("invalid-flag", word.span, message);
            Err(Box::new(finding.did_you_mean(&word.value, names)))
        }
    }
}

pub(super) fn shell(arguments: &Arguments<'_>) -> Result<Command, Rejected> {
    match arguments.command_line()? {
        CommandLine::Exec(words) if words.is_empty() => Err(arguments.missing()),
        CommandLine::Exec(words) => Ok(Command::Shell(words)),
        CommandLine::Shell(_) if arguments.text.is_empty() => Err(arguments.missing()),
        CommandLine::Shell(_) => {
            let message = "SHELL takes only a JSON array, such as SHELL [\"/bin/bash\", \"-c\"]";
            Err(arguments.error("invalid-shell", message))
        }
    }
}

pub(super) fn healthcheck_none(rest: &Arguments<'_>) -> Result<Command, Rejected> {
    if rest.text.is_empty() {
        return Ok(Command::Healthcheck(Healthcheck::None));
    }
    Err(rest.error("invalid-healthcheck", "HEALTHCHECK NONE takes no arguments"))
}

pub(super) fn healthcheck_command(
    rest: &Arguments<'_>,
    mut flags: Flags,
) -> Result<Command, Rejected> {
    let command = rest.command_line()?;
    let empty = match &command {
        CommandLine::Shell(word) => word.value.is_empty(),
        CommandLine::Exec(words) => words.is_empty(),
    };
    if empty {
        return Err(rest.error("invalid-healthcheck", "HEALTHCHECK CMD needs a command"));
    }
    Ok(Command::Healthcheck(Healthcheck::Check(
        HealthcheckOptions {
            command,
            interval: interval(flags.value("interval"))?,
            timeout: interval(flags.value("timeout"))?,
            start_period: interval(flags.value("start-period"))?,
            start_interval: interval(flags.value("start-interval"))?,
            retries: retries(flags.value("retries"))?,
        },
    )))
}

/// A duration of nothing, or of at least a millisecond.
fn interval(word: Option<Word>) -> Result<i64, Rejected> {
    let Some(word) = word else { return Ok(0) };
    let error = |message| Box::new(Diagnostic::error("invalid-duration", word.span, message));
    match duration::parse(&word.value) {
        None => Err(error(format!(
            "{:?} is not a duration such as 30s or 1m30s",
            word.value
        ))),
        Some(nanoseconds) if nanoseconds != 0 && nanoseconds < 1_000_000 => Err(error(format!(
            "{} is shorter than the shortest interval, 1ms",
            word.value
        ))),
        Some(nanoseconds) => Ok(nanoseconds),
    }
}

fn retries(word: Option<Word>) -> Result<i32, Rejected> {
    let Some(word) = word else { return Ok(0) };
    match word.value.parse() {
        Ok(retries) if retries >= 0 => Ok(retries),
        _ => {
            let message = format!("--retries must be 0 or more, not {:?}", word.value);
            Err(Box::new(Diagnostic::error(
                "invalid-flag",
                word.span,
                message,
            )))
        }
    }
}
