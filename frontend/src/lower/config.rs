//! Instructions that only change the image's config or the stage's variables.

use std::fmt::Write;

use kiln_solver::RelPath;
use kiln_solver::op::{FileAction, FileOp, InputIndex, Op, Owner};

use super::plan::Step;
use super::stage::{Builder, State, describe};
use super::{Checked, arguments, epoch};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::image_config::{self, Empty, ImageConfig};
use crate::port::Ports;
use crate::source::Span;
use crate::syntax::{Argument, Command, CommandLine, Healthcheck, Instruction, KeyValue, Word};
use crate::{duration, port, printed, signal};

/// ARGs that are not variables of the stage.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What an exposed port takes from the budget, in bytes.
const PORT_COST: usize = 64;

impl Builder<'_> {
    pub(super) fn metadata(&mut self, state: &mut State, instruction: &Instruction) -> Checked<()> {
        match &instruction.command {
            Command::Env(pairs) => self.env(state, pairs),
            Command::Label(pairs) => self.label(state, pairs),
            Command::Cmd(command) => self.cmd(state, command),
            Command::Entrypoint(command) => self.entrypoint(state, command),
            Command::Expose(ports) => self.expose(state, ports),
            Command::Healthcheck(check) => self.healthcheck(state, check),
            Command::Maintainer(name) => {
                state.config.author.clone_from(&name.value);
                self.record(state, format!("MAINTAINER {}", name.value))
            }
            Command::OnBuild(trigger) => {
                state.config.config.on_build.push(trigger.text.clone());
                Ok(())
            }
            Command::Shell(words) => {
                state.config.config.shell = values(words);
                let printed = printed::list(&state.config.config.shell);
                self.record(state, format!("SHELL {printed}"))
            }
            Command::StopSignal(word) => self.stop_signal(state, word),
            Command::User(word) => {
                let user = self.expand(state, &word.value, word.span)?;
                state.config.config.user.clone_from(&user);
                self.record(state, format!("USER {user}"))
            }
            Command::Volume(words) => self.volume(state, words),
            _ => Ok(()),
        }
    }

    fn record(&self, state: &mut State, created_by: String) -> Checked<()> {
        self.charge(created_by.len(), self.current_span())?;
        self.history(state, created_by);
        Ok(())
    }

    /// All pairs see the variables as they were before the instruction.
    fn expand_pairs(&self, state: &State, pairs: &[KeyValue]) -> Checked<Vec<(String, String)>> {
        let expand = |word: &Word| self.expand(state, &word.value, word.span);
        pairs
            .iter()
            .map(|pair| Ok((expand(&pair.key)?, expand(&pair.value)?)))
            .collect()
    }

    fn env(&self, state: &mut State, pairs: &[KeyValue]) -> Checked<()> {
        let mut message = "ENV".to_owned();
        for (key, value) in self.expand_pairs(state, pairs)? {
            message.extend([" ", key.as_str(), "=", value.as_str()]);
            state.environment.set(&key, &value);
            state.arguments.changed(&key);
            state.variables.set(&key, &value);
        }
        self.record(state, message)
    }

    fn label(&self, state: &mut State, pairs: &[KeyValue]) -> Checked<()> {
        let mut message = "LABEL".to_owned();
        for (key, value) in self.expand_pairs(state, pairs)? {
            message.extend([" ", key.as_str(), "=", value.as_str()]);
            state.config.config.labels.insert(key, value);
        }
        self.record(state, message)
    }

    fn cmd(&self, state: &mut State, command: &CommandLine) -> Checked<()> {
        let args = command_args(&state.config, command);
        let message = format!("CMD {}", printed::quoted_list(&args));
        state.config.config.cmd = args;
        state.config.config.args_escaped = true;
        state.has_cmd = true;
        self.record(state, message)
    }

    /// An inherited CMD was meant for the inherited ENTRYPOINT.
    fn entrypoint(&self, state: &mut State, command: &CommandLine) -> Checked<()> {
        let args = command_args(&state.config, command);
        let message = format!("ENTRYPOINT {}", printed::quoted_list(&args));
        state.config.config.entrypoint = args;
        if !state.has_cmd {
            state.config.config.cmd.clear();
        }
        self.record(state, message)
    }

    fn expose(&self, state: &mut State, words: &[Word]) -> Checked<()> {
        let mut message = "EXPOSE [".to_owned();
        for word in words {
            let expander =
                Expander::new(self.dockerfile.directives.escape_char(), &state.environment);
            let ports = expander.words(&word.value).map_err(|error| {
                Box::new(Diagnostic::error("expansion", word.span, error.to_string()))
            })?;
            for text in ports {
                let ports = port::parse(&text).map_err(|error| {
                    let finding = Diagnostic::error("invalid-port", word.span, error.to_string());
                    Box::new(finding.did_you_mean_this(error.meant()))
                })?;
                for port in ports.range.clone() {
                    // Writing to a text cannot fail.
                    let _ = write!(message, "{port}/{} ", ports.protocol);
                }
                self.expose_new(state, &ports, word.span)?;
            }
        }
        if message.ends_with(' ') {
            message.pop();
        }
        message.push(']');
        self.record(state, message)
    }

    /// Adds to the config what no EXPOSE before has added.
    fn expose_new(&self, state: &mut State, ports: &Ports, span: Span) -> Checked<()> {
        for fresh in state.exposed.add(ports) {
            self.charge(PORT_COST * fresh.range.len(), span)?;
            let ports = fresh.names().map(|port| (port, Empty {}));
            state.config.config.exposed_ports.extend(ports);
        }
        Ok(())
    }

    fn healthcheck(&self, state: &mut State, check: &Healthcheck) -> Checked<()> {
        let check = match check {
            Healthcheck::None => image_config::Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Default::default()
            },
            Healthcheck::Check(options) => image_config::Healthcheck {
                test: healthcheck_test(&options.command),
                interval: options.interval,
                timeout: options.timeout,
                start_period: options.start_period,
                start_interval: options.start_interval,
                retries: i64::from(options.retries),
            },
        };
        let message = format!(
            "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
            printed::list(&check.test),
            duration::print(check.interval),
            duration::print(check.timeout),
            duration::print(check.start_period),
            duration::print(check.start_interval),
            check.retries,
        );
        state.config.config.healthcheck = Some(check);
        self.record(state, message)
    }

    fn stop_signal(&self, state: &mut State, word: &Word) -> Checked<()> {
        let name = self.expand(state, &word.value, word.span)?;
        if !signal::is_signal(&name) {
            let message = format!("there is no signal {name:?}");
            let finding = Diagnostic::error("invalid-signal", word.span, message);
            let meant = signal::nearest(&name);
            return Err(Box::new(finding.did_you_mean_this(meant.as_deref())));
        }
        state.config.config.stop_signal.clone_from(&name);
        self.record(state, format!("STOPSIGNAL {name}"))
    }

    fn volume(&self, state: &mut State, words: &[Word]) -> Checked<()> {
        let mut volumes = Vec::new();
        for word in words {
            let volume = self.expand(state, &word.value, word.span)?;
            if volume.is_empty() {
                let message = format!("{} expands to nothing", word.value);
                return Err(Box::new(Diagnostic::error(
                    "empty-volume",
                    word.span,
                    message,
                )));
            }
            volumes.push(volume);
        }
        let message = format!("VOLUME {}", printed::list(&volumes));
        let volumes = volumes.into_iter().map(|volume| (volume, Empty {}));
        state.config.config.volumes.extend(volumes);
        self.record(state, message)
    }

    pub(super) fn arguments(&self, state: &mut State, declared: &[Argument]) -> Checked<()> {
        let mut message = "ARG".to_owned();
        for argument in declared {
            let name = &argument.name.value;
            let value = self.argument_value(state, argument)?;
            self.note_argument(argument, value.as_deref());
            if let Some(value) = value
                .as_ref()
                .filter(|_| !NO_VARIABLES.contains(&name.as_str()))
            {
                state.environment.set(name, value);
            }
            message.extend([" ", name.as_str()]);
            if let Some(value) = &value {
                message.extend(["=", value.as_str()]);
            }
            let value = value.as_deref().unwrap_or_default();
            state.arguments.declare(name, value, &state.environment);
        }
        self.record(state, message)
    }

    fn note_argument(&self, argument: &Argument, value: Option<&str>) {
        let name = &argument.name.value;
        let is_of_file = argument.default.is_none()
            && !self.options.build_args.contains_key(name)
            && self.global.value(name).is_some();
        if let Some(instruction) = self.instruction() {
            self.note(|uses| uses.argument(&instruction, argument, value, is_of_file));
        }
    }

    /// `--build-arg`, or else the default, or else the value of the whole file.
    fn argument_value(&self, state: &State, argument: &Argument) -> Checked<Option<String>> {
        let name = &argument.name.value;
        let given = self.options.build_args.get(name);
        if let Some(value) = given.filter(|value| !epoch::is_none(name, value)) {
            return Ok(Some(value.clone()));
        }
        match &argument.default {
            Some(default) => self.expand(state, &default.value, default.span).map(Some),
            None if given.is_some() => Ok(None),
            None => Ok(self.global.value(name).map(str::to_owned)),
        }
    }

    pub(super) fn workdir(&mut self, state: &mut State, step: &Step, word: &Word) -> Checked<()> {
        let path = self.expand(state, &word.value, word.span)?;
        let path = absolute(&state.config.config.working_dir, &path);
        state.config.config.working_dir.clone_from(&path);
        let message = format!("WORKDIR {path}");
        if path == "/" {
            return self.record(state, message);
        }
        let text = self.expanded_name(state, step)?;
        let name = state
            .numbering
            .name(&text, step.triggered, &state.environment);
        let make = FileAction::MakeDirectory {
            path: RelPath::resolve(&RelPath::root(), &path),
            mode: 0o755,
            owner: owner(&state.config.config.user),
            time: self.epoch,
        };
        let inputs: Vec<_> = state.root.into_iter().collect();
        let base = state.root.map(|_| InputIndex(0));
        let op = Op::File(FileOp {
            base,
            actions: vec![make],
        });
        let description = describe(name, Some(step.instruction.span));
        let vertex = self.graph.add(op, inputs, description, false);
        state.root = Some(vertex);
        self.layer(state, message, vertex);
        Ok(())
    }

    /// The proxies of the build arguments, which commands see and no key knows.
    pub(super) fn proxies(&self) -> Vec<(String, String)> {
        arguments::proxies(self.options)
    }
}

/// A user or `user:group`, if there is one.
pub(super) fn owner(text: &str) -> Option<Owner> {
    if text.is_empty() {
        return None;
    }
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group.to_owned())),
        None => (text, None),
    };
    Some(Owner {
        user: user.to_owned(),
        group,
    })
}

/// A working directory: an absolute path stays as it is written, a relative one is joined and
/// cleaned.
fn absolute(current: &str, path: &str) -> String {
    match path {
        "" if current.starts_with('/') => current.to_owned(),
        _ if path.starts_with('/') => path.to_owned(),
        _ => {
            let root = RelPath::root();
            RelPath::resolve(&RelPath::resolve(&root, current), path).to_string()
        }
    }
}

pub(super) fn values(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.value.clone()).collect()
}

/// The arguments of a command; a text gets the stage's shell in front.
pub(super) fn command_args(config: &ImageConfig, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => values(words),
        CommandLine::Shell(text) => in_shell(config, text.value.clone()),
    }
}

pub(super) fn in_shell(config: &ImageConfig, text: String) -> Vec<String> {
    let mut args = config.config.shell.clone();
    if args.is_empty() {
        args = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    args.push(text);
    args
}

fn healthcheck_test(command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
        CommandLine::Exec(words) => std::iter::once("CMD".to_owned())
            .chain(values(words))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{Options, Source, lower, parse};

    #[test]
    fn exposing_all_ports_again_takes_nothing_but_history() {
        let text = format!("FROM scratch\n{}", "EXPOSE 1-65535\n".repeat(62));
        let parsed = parse(&Source::new("Dockerfile", &text));
        let options = Options::new("linux/amd64".parse().expect("a platform"));
        let lowered = lower(&parsed.dockerfile, &options, &BTreeMap::new());
        let config = lowered.expect("it is no error").config;
        assert_eq!(config.config.exposed_ports.len(), 65_535);
        let last = &config.history.last().expect("62 entries").created_by;
        assert!(last.starts_with("EXPOSE [1/tcp 2/tcp ") && last.ends_with(" 65535/tcp]"));
    }
}
