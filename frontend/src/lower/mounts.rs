//! `RUN --mount`, with its paths resolved and its inputs found.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use kiln_solver::op::{CacheMount, InputIndex, Mount, MountKind, SecretMount, Sharing, SshMount};
use kiln_solver::pattern::clean;
use kiln_solver::{RelPath, VertexId};

use super::Checked;
use super::plan::{Origin, Step};
use super::stage::{Builder, STEP_COST, State};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::mount::{self, MountSpec, MountType};
use crate::source::Span;
use crate::syntax::{Run, Word};

impl Builder<'_> {
    /// The mounts as written, variables expanded.
    pub(super) fn mount_specs(&self, state: &State, run: &Run) -> Checked<Vec<MountSpec>> {
        let escape = self.dockerfile.directives.escape_char();
        let expander = Expander::new(escape, &state.environment);
        let cost = Cell::new(0);
        // Told once a mount: a mount may have very many values.
        let unmatched = RefCell::new(BTreeSet::new());
        let parse = |word: &Word| {
            mount::parse(&word.value, |value| {
                let expansion = expander
                    .attempt(value)
                    .map_err(|failure| self.failed(state, *failure, word.span))?;
                cost.set(cost.get() + expansion.text.len() + STEP_COST * expansion.steps);
                unmatched.borrow_mut().extend(expansion.unmatched);
                Ok(expansion.text)
            })
        };
        let specs = run.mounts.iter().map(|word| {
            let spec = parse(word);
            self.undefined(state, &unmatched.take(), word.span);
            let spec =
                spec.map_err(|error| Box::new(error.into_diagnostic(&word.value, word.span)))?;
            self.charge(cost.take(), word.span)?;
            Ok(spec)
        });
        specs.collect()
    }

    /// All mounts. Directories are sorted so that none hides another; what else order does not tell
    /// apart has one order, too, so that it is in no key.
    pub(super) fn mounts(
        &mut self,
        state: &State,
        step: &Step,
        run: &Run,
        specs: &[MountSpec],
        inputs: &mut Vec<VertexId>,
    ) -> Checked<Vec<Mount>> {
        let (mut directories, mut secrets, mut agents) = (Vec::new(), Vec::new(), Vec::new());
        let mut as_written = Vec::new();
        for ((spec, word), origin) in specs.iter().zip(&run.mounts).zip(&step.origins) {
            let (mount, list) = match spec.kind {
                MountType::Secret | MountType::Ssh if hides_root(state, spec) => {
                    return Err(not_a_target(spec, word.span));
                }
                MountType::Secret => (secret(state, spec), &mut secrets),
                MountType::Ssh => (ssh(state, spec, agents.len()), &mut agents),
                _ => {
                    let target = directory_target(state, spec, word.span)?;
                    directories.push((target, spec, *origin, word.span));
                    continue;
                }
            };
            list.push(mount.clone());
            as_written.push(mount);
        }
        directories.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let directories = directories.into_iter().map(|(target, spec, origin, span)| {
            self.directory(&target, spec, origin, span, inputs)
        });
        let mut mounts: Vec<_> = directories.collect::<Checked<_>>()?;
        match hide_each_other(&as_written) {
            true => mounts.extend(as_written),
            false => {
                secrets.sort_by_key(|mount| (mount.target.clone(), variable(mount)));
                // SSH_AUTH_SOCK names the first agent.
                mounts.extend(agents);
                mounts.extend(secrets);
            }
        }
        Ok(mounts)
    }

    fn directory(
        &mut self,
        target: &RelPath,
        spec: &MountSpec,
        origin: Origin,
        span: Span,
        inputs: &mut Vec<VertexId>,
    ) -> Checked<Mount> {
        let source = RelPath::resolve(&RelPath::root(), &spec.source);
        let kind = match spec.kind {
            MountType::Tmpfs => MountKind::Tmpfs { size: spec.size },
            MountType::Cache => {
                let from = self.mount_input(cache_origin(spec, origin), span, inputs)?;
                self.cache(spec, from, source)
            }
            _ => {
                let from = self.mount_input(origin, span, inputs)?;
                MountKind::Bind { from, source }
            }
        };
        Ok(Mount {
            target: target.to_string(),
            kind,
            read_only: spec.read_only,
        })
    }

    fn mount_input(
        &mut self,
        origin: Origin,
        span: Span,
        inputs: &mut Vec<VertexId>,
    ) -> Checked<Option<InputIndex>> {
        let Some(vertex) = self.origin(origin, span)? else {
            return Ok(None);
        };
        inputs.push(vertex);
        Ok(Some(InputIndex(inputs.len() - 1)))
    }

    fn cache(&self, spec: &MountSpec, from: Option<InputIndex>, source: RelPath) -> MountKind {
        let namespace = self.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
        // As BuildKit has it: where a cache is asked to have an owner or mode, it begins empty; where it
        // begins with a directory, it has that directory's.
        let is_given = (spec.mode, spec.uid, spec.gid) != (None, None, None);
        let begins_empty = source.is_root() && (is_given || from.is_none());
        let id = if spec.id.is_empty() {
            clean(&spec.target)
        } else {
            spec.id.clone()
        };
        MountKind::Cache(CacheMount {
            id: format!("{}/{id}", namespace.map_or("", String::as_str)),
            sharing: match spec.sharing {
                None | Some(mount::Sharing::Shared) => Sharing::Shared,
                Some(mount::Sharing::Private) => Sharing::Private,
                Some(mount::Sharing::Locked) => Sharing::Locked,
            },
            from: from.filter(|_| !begins_empty),
            mode: spec.mode.filter(|_| begins_empty).unwrap_or(0o755),
            uid: spec.uid.filter(|_| begins_empty).unwrap_or(0),
            gid: spec.gid.filter(|_| begins_empty).unwrap_or(0),
            source,
        })
    }
}

/// Where a directory appears.
fn directory_target(state: &State, spec: &MountSpec, span: Span) -> Checked<RelPath> {
    let target = below_working_directory(state, &spec.target);
    if target.is_root() {
        return Err(not_a_target(spec, span));
    }
    Ok(target)
}

/// Whether two secrets or agents appear in one place or variable, where the later one counts.
fn hide_each_other(mounts: &[Mount]) -> bool {
    let mut places = BTreeSet::new();
    let targets = mounts.iter().map(|mount| Some(mount.target.clone()));
    let targets = targets.filter(|target| target.as_deref() != Some(""));
    let variables = mounts.iter().map(variable);
    let mut all = targets.chain(variables).flatten();
    !all.all(|place| places.insert(place))
}

/// The variable that a secret appears in.
fn variable(mount: &Mount) -> Option<String> {
    match &mount.kind {
        MountKind::Secret(secret) => secret.env.clone(),
        _ => None,
    }
}

/// A cache begins empty unless it says otherwise; it never begins with the context.
fn cache_origin(spec: &MountSpec, origin: Origin) -> Origin {
    if spec.from.is_empty() {
        Origin::Nothing
    } else {
        origin
    }
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

fn secret(state: &State, spec: &MountSpec) -> Mount {
    let named = if spec.source.is_empty() {
        &spec.id
    } else {
        &spec.source
    };
    let id = if named.is_empty() {
        base_name(&spec.target)
    } else {
        named
    };
    let target = match (&spec.env, spec.target.as_str()) {
        (Some(_), "") => String::new(),
        (None, "") => format!("/run/secrets/{}", base_name(id)),
        (_, target) => below_working_directory(state, target).to_string(),
    };
    let kind = MountKind::Secret(SecretMount {
        id: id.to_owned(),
        env: spec.env.clone(),
        required: spec.required,
        mode: spec.mode.unwrap_or(0o400),
        uid: spec.uid.unwrap_or(0),
        gid: spec.gid.unwrap_or(0),
    });
    Mount {
        target,
        kind,
        read_only: true,
    }
}

fn ssh(state: &State, spec: &MountSpec, number: usize) -> Mount {
    let target = match spec.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{number}"),
        target => below_working_directory(state, target).to_string(),
    };
    let id = if spec.id.is_empty() {
        "default"
    } else {
        &spec.id
    };
    let kind = MountKind::Ssh(SshMount {
        id: id.to_owned(),
        required: spec.required,
        mode: spec.mode.unwrap_or(0o600),
        uid: spec.uid.unwrap_or(0),
        gid: spec.gid.unwrap_or(0),
    });
    Mount {
        target,
        kind,
        read_only: true,
    }
}

fn hides_root(state: &State, spec: &MountSpec) -> bool {
    !spec.target.is_empty() && below_working_directory(state, &spec.target).is_root()
}

fn not_a_target(spec: &MountSpec, span: Span) -> Box<Diagnostic> {
    let error = |message| Diagnostic::error("invalid-mount", span, message);
    Box::new(match spec.target.as_str() {
        "" => error(format!("a {} mount needs a target", spec.kind.name()))
            .hint("add target= and a path to its options"),
        target => error(format!("{target:?} cannot be the target of a mount")),
    })
}

fn below_working_directory(state: &State, target: &str) -> RelPath {
    let cwd = RelPath::resolve(&RelPath::root(), &state.config.config.working_dir);
    RelPath::resolve(&cwd, target)
}
