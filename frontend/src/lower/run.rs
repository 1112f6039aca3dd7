//! RUN.

use std::borrow::Cow;
use std::mem::size_of;
use std::sync::Arc;

use kiln_solver::op::{
    DEFAULT_HOSTNAME, Exec, InputIndex, Mount, MountKind, Network, Op, Security, Variable,
};

use super::Checked;
use super::config::{in_shell, values};
use super::display::heredoc_summary;
use super::environment::Environment;
use super::history::Text;
use super::plan::Step;
use super::stage::{Builder, State, describe};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Variables};
use crate::heredoc;
use crate::mount::{MountSpec, MountType};
use crate::source::Span;
use crate::syntax::{self, CommandLine, Run};

/// What a RUN executes, and how it is shown.
struct Invocation<'a> {
    args: Vec<String>,
    /// A script that the step sees as a file.
    script: Option<Mount>,
    text: Cow<'a, str>,
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
        self.charge_variables(state, span)?;
        let invocation = invocation(state, run, &step.instruction.text);
        let specs = self.mount_specs(state, run)?;
        let mut inputs: Vec<_> = state.root.into_iter().collect();
        let mut mounts = self.mounts(state, step, run, &specs, &mut inputs)?;
        let namespace = self.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
        let namespace = namespace.map_or("", String::as_str);
        self.note(|uses| uses.mounts(&mounts, namespace, span));
        mounts.extend(invocation.script);
        let past = Text::Run {
            arguments: state.arguments.seen(&state.environment),
            command: invocation.args.join(" "),
        };
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
            shm_size: self.options.shm_size,
            limits: self.options.limits.clone(),
            platform: state.platform.clone(),
        };
        let description = describe(name, Some(span));
        let op = Op::Exec(Box::new(exec));
        let vertex = self.graph.add(op, inputs, description, state.ignore_cache);
        state.root = Some(vertex);
        state.past.push(past, Some(vertex));
        Ok(())
    }

    /// What the command sees is hashed, and listed unless the command before it saw the same.
    fn charge_variables(&self, state: &State, span: Span) -> Checked<()> {
        let (variables, arguments) = (&state.environment, &state.arguments);
        let listed = match variables.is_listed() {
            true => 0,
            false => size_of::<Variable>() * variables.len(),
        };
        let seen = match arguments.is_stale() {
            true => 2 * size_of::<Variable>() * arguments.len(),
            false => 0,
        };
        self.charge(variables.size() + listed + seen, span)
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
    fn shown_text<'t>(
        &self,
        state: &State,
        text: &'t str,
        specs: &[MountSpec],
        span: Span,
    ) -> Checked<Cow<'t, str>> {
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
fn environment(state: &mut State, specs: &[MountSpec], mounts: &[Mount]) -> Arc<[Variable]> {
    let list = state.environment.list();
    let is_agent = |mount: &&Mount| matches!(mount.kind, MountKind::Ssh(_));
    let agent = mounts.iter().find(is_agent);
    match agent.filter(|_| state.environment.value("SSH_AUTH_SOCK").is_none()) {
        None => list,
        Some(agent) => {
            let spec = specs.iter().find(|spec| spec.kind == MountType::Ssh);
            let written = spec.map(|spec| &spec.target);
            let socket = written.filter(|target| !target.is_empty());
            let socket = socket.unwrap_or(&agent.target).as_str();
            let variable = ("SSH_AUTH_SOCK".into(), socket.into());
            list.iter().cloned().chain([variable]).collect()
        }
    }
}

fn invocation<'a>(state: &State, run: &Run, instruction: &'a str) -> Invocation<'a> {
    let text = Cow::Borrowed(instruction);
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
    let text = Cow::Owned(format!("{text} ({})", heredoc_summary(&first.content)));
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
