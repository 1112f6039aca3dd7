//! RUN.

use kiln_solver::op::{
    DEFAULT_HOSTNAME, Exec, InputIndex, Mount, MountKind, Network, Op, Security,
};

use super::Checked;
use super::config::{in_shell, values};
use super::display::heredoc_summary;
use super::environment::Environment;
use super::plan::Step;
use super::stage::{Builder, State, describe};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Variables};
use crate::heredoc;
use crate::mount::{MountSpec, MountType};
use crate::source::Span;
use crate::syntax::{self, CommandLine, Run};

/// What a RUN executes, and how it is shown.
struct Invocation {
    args: Vec<String>,
    /// A script that the step sees as a file.
    script: Option<Mount>,
    text: String,
}

impl Builder<'_> {
    pub(super) fn run(&mut self, state: &mut State, step: &Step, run: &Run) -> Checked<()> {
        let span = step.instruction.span;
        if let Some(device) = run.devices.first() {
            return Err(Box::new(Diagnostic::unsupported(
                device.span,
                "RUN --device",
            )));
        }
        self.charge(2 * state.environment.size(), span)?;
        let invocation = invocation(state, run, &step.instruction.text);
        let specs = self.mount_specs(state, run)?;
        let mut inputs: Vec<_> = state.root.into_iter().collect();
        let mut mounts = self.mounts(state, step, run, &specs, &mut inputs)?;
        let namespace = self.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
        let namespace = namespace.map_or("", String::as_str);
        self.note(|uses| uses.mounts(&mounts, namespace, span));
        mounts.extend(invocation.script);
        let message = history_message(state, &invocation.args);
        let text = self.shown_text(state, &invocation.text, &specs, span)?;
        let name = state
            .numbering
            .name(&text, step.triggered, &state.environment);
        let exec = Exec {
            root: state.root.map(|_| InputIndex(0)),
            args: invocation.args,
            env: environment(state, &specs, &mounts),
            unhashed_env: self.proxies(),
            cwd: working_directory(state),
            user: state.config.config.user.clone(),
            mounts,
            network: self.network(run)?,
            security: self.security(run)?,
            hostname: self.hostname(),
            extra_hosts: self.options.extra_hosts.clone(),
            platform: state.platform.clone(),
        };
        let description = describe(name, Some(span));
        let op = Op::Exec(Box::new(exec));
        let vertex = self.graph.add(op, inputs, description, state.ignore_cache);
        state.root = Some(vertex);
        self.layer(state, message, vertex);
        Ok(())
    }

    fn network(&self, run: &Run) -> Checked<Network> {
        Ok(match &run.network {
            Some(network) if network.value == syntax::Network::Host => {
                let is_allowed = self.options.allowed.host_network;
                entitled(is_allowed, "network.host", network.span)?;
                Network::Host
            }
            Some(network) if network.value == syntax::Network::None => Network::None,
            _ => self.options.network,
        })
    }

    fn security(&self, run: &Run) -> Checked<Security> {
        Ok(match &run.security {
            Some(security) if security.value == syntax::Security::Insecure => {
                entitled(
                    self.options.allowed.insecure,
                    "security.insecure",
                    security.span,
                )?;
                Security::Insecure
            }
            _ => Security::Sandbox,
        })
    }

    fn hostname(&self) -> Option<String> {
        let argument = self.options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME");
        let hostname = argument
            .filter(|name| !name.is_empty())
            .or(self.options.hostname.as_ref());
        let is_another = |name: &&String| !name.is_empty() && *name != DEFAULT_HOSTNAME;
        hostname.filter(is_another).cloned()
    }

    /// The instruction as people see it: set variables with their values, secrets masked.
    fn shown_text(
        &self,
        state: &State,
        text: &str,
        specs: &[MountSpec],
        span: Span,
    ) -> Checked<String> {
        let masked = Masked {
            secrets: specs
                .iter()
                .filter_map(|spec| spec.env.as_deref())
                .collect(),
            environment: &state.environment,
        };
        let escape = self.dockerfile.directives.escape_char();
        let expander = Expander::new(escape, &masked).raw_quotes().keep_unset();
        self.shown(expander, text, span)
    }
}

/// Variables that hold secrets look the same whatever they hold.
struct Masked<'a> {
    secrets: Vec<&'a str>,
    environment: &'a Environment,
}

impl Variables for Masked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if self.secrets.contains(&name) {
            Some("****")
        } else {
            self.environment.value(name)
        }
    }
}

/// A Dockerfile may have come from anywhere, so whoever builds it must agree.
fn entitled(is_allowed: bool, name: &str, span: Span) -> Checked<()> {
    if is_allowed {
        return Ok(());
    }
    let message = format!("{name} is not allowed");
    let finding = Diagnostic::error("not-allowed", span, message);
    Err(Box::new(finding.hint(format!("build with --allow {name}"))))
}

fn working_directory(state: &State) -> String {
    match state.config.config.working_dir.as_str() {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

/// The variables of the command; the first ssh agent's socket is one of them, as it was written: a
/// relative path is meant from the directory that the command begins in.
fn environment(state: &State, specs: &[MountSpec], mounts: &[Mount]) -> Vec<(String, String)> {
    let mut list = state.environment.list();
    if state.environment.value("SSH_AUTH_SOCK").is_some() {
        return list;
    }
    let is_agent = |mount: &&Mount| matches!(mount.kind, MountKind::Ssh(_));
    if let Some(agent) = mounts.iter().find(is_agent) {
        let spec = specs.iter().find(|spec| spec.kind == MountType::Ssh);
        let written = spec.map(|spec| &spec.target);
        let socket = written.filter(|target| !target.is_empty());
        let socket = socket.unwrap_or(&agent.target).clone();
        list.push(("SSH_AUTH_SOCK".to_owned(), socket));
    }
    list
}

fn invocation(state: &State, run: &Run, instruction: &str) -> Invocation {
    let text = instruction.to_owned();
    let command = match &run.command {
        CommandLine::Exec(words) => {
            return Invocation {
                args: values(words),
                script: None,
                text,
            };
        }
        CommandLine::Shell(word) => &word.value,
    };
    let Some(first) = run.heredocs.first() else {
        return Invocation {
            args: in_shell(&state.config, command.clone()),
            script: None,
            text,
        };
    };
    if !matches!(heredoc::opening(command), Ok(Some(_))) {
        let args = in_shell(&state.config, with_bodies(command, &run.heredocs));
        return Invocation {
            args,
            script: None,
            text,
        };
    }
    let text = format!("{text} ({})", heredoc_summary(&first.content));
    let body = first.body();
    if body.starts_with("#!") {
        let script = script_mount(&first.opening.name, &body);
        let args = in_shell(&state.config, script.target.clone());
        return Invocation {
            args,
            script: Some(script),
            text,
        };
    }
    Invocation {
        args: in_shell(&state.config, body),
        script: None,
        text,
    }
}

/// A command that only begins with a heredoc gets the bodies back, for the shell to read.
fn with_bodies(command: &str, heredocs: &[heredoc::Heredoc]) -> String {
    let bodies = heredocs
        .iter()
        .map(|heredoc| format!("\n{}{}", heredoc.content, heredoc.opening.name));
    std::iter::once(command.to_owned()).chain(bodies).collect()
}

fn script_mount(name: &str, body: &str) -> Mount {
    let kind = MountKind::File {
        data: body.as_bytes().into(),
        mode: 0o755,
    };
    Mount {
        target: format!("/dev/pipes/{name}"),
        kind,
        read_only: true,
    }
}

/// The entry of the history: the ARGs so far with the values that the command sees, then the
/// command.
fn history_message(state: &State, args: &[String]) -> String {
    let arguments = &state.arguments;
    let count = (!arguments.is_empty()).then(|| format!("|{}", arguments.len()));
    let pairs = arguments.iter().map(|(name, value)| {
        let value = state.environment.value(name).unwrap_or(value);
        format!("{name}={value}")
    });
    let words: Vec<String> = count
        .into_iter()
        .chain(pairs)
        .chain(args.iter().cloned())
        .collect();
    format!("RUN {} # buildkit", words.join(" "))
}
