//! What a target takes from outside: build arguments, secrets, ssh agents and caches.
//!
//! The lowering notes what every stage uses; here that is collected from the target and from all that
//! it needs.

use std::collections::{BTreeMap, BTreeSet};

use kiln_solver::op::{Mount, MountKind};

use super::plan::{Base, Plan};
use super::stage::Builder;
use super::{Images, LowerError, Options, arguments, epoch};
use crate::check::Findings;
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::parse::Parsed;
use crate::source::Span;
use crate::stage::Stages;
use crate::syntax::{Argument, Command, Dockerfile, Instruction, Word};
use crate::targets;

/// What a target takes from outside, each list in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name in lower case.
    pub name: Option<String>,
    /// What a comment above its FROM says.
    pub description: String,
    /// The build arguments that make a difference.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets by their ids.
    pub secrets: Vec<OutlineMount>,
    /// ssh agents by their ids.
    pub ssh: Vec<OutlineMount>,
    /// Cache directories by their ids.
    pub caches: Vec<OutlineMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What a comment above its ARG says.
    pub description: String,
    /// Its value in this build; empty if it has none.
    pub value: String,
    /// Where its ARG stands.
    pub span: Span,
}

/// A mount that the machine which builds must provide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether a step fails without it.
    pub is_required: bool,
    /// Where the first RUN that uses it stands.
    pub span: Span,
}

/// What one stage uses, noted while it is lowered.
#[derive(Debug, Default)]
pub(super) struct Uses {
    declared: BTreeMap<String, OutlineArgument>,
    used: BTreeSet<String>,
    secrets: BTreeMap<String, OutlineMount>,
    ssh: BTreeMap<String, OutlineMount>,
    caches: BTreeMap<String, OutlineMount>,
}

impl Uses {
    /// Notes an ARG. One that only repeats the name of an ARG of the whole file is that ARG.
    pub(super) fn argument(
        &mut self,
        instruction: &Instruction,
        argument: &Argument,
        value: Option<&str>,
        is_of_file: bool,
    ) {
        let name = &argument.name.value;
        self.used.insert(name.clone());
        if !is_of_file {
            self.declared
                .insert(name.clone(), described(instruction, argument, value));
        }
    }

    /// Notes the mounts of a RUN.
    pub(super) fn mounts(&mut self, mounts: &[Mount], cache_namespace: &str, span: Span) {
        for mount in mounts {
            let (kind, id, is_required) = match &mount.kind {
                MountKind::Secret(secret) => (&mut self.secrets, &*secret.id, secret.required),
                MountKind::Ssh(ssh) => (&mut self.ssh, &*ssh.id, ssh.required),
                MountKind::Cache(cache) => {
                    let id = cache.id.strip_prefix(cache_namespace).unwrap_or(&cache.id);
                    (&mut self.caches, id.strip_prefix('/').unwrap_or(id), false)
                }
                _ => continue,
            };
            kind.entry(id.to_owned()).or_insert(OutlineMount {
                id: id.to_owned(),
                is_required,
                span,
            });
        }
    }
}

fn described(
    instruction: &Instruction,
    argument: &Argument,
    value: Option<&str>,
) -> OutlineArgument {
    let name = &argument.name.value;
    OutlineArgument {
        name: name.clone(),
        description: targets::description(&instruction.comments, name),
        value: value.unwrap_or_default().to_owned(),
        span: instruction.span,
    }
}

/// Outlines the target. No image needs to be known; what depends on one that is not stays empty.
pub fn outline(
    parsed: &Parsed,
    options: &Options,
    images: &dyn Images,
) -> Result<Outline, Vec<Diagnostic>> {
    if parsed.has_errors() {
        return Err(parsed.diagnostics.clone());
    }
    let dockerfile = &parsed.dockerfile;
    let stages = Stages::of(dockerfile);
    let target = stages
        .target(options.target.as_deref())
        .map_err(|error| vec![error])?;
    let (global, mut errors) = arguments::global(dockerfile, &stages, options, target);
    let (mut plan, found) = Plan::new(dockerfile, &stages, options, &global);
    errors.extend(found);
    let (_, found) = plan.survey(Some(target), images);
    errors.extend(found);
    let (epoch, found) = epoch::resolve_if_known(dockerfile, &stages, options, &global, images);
    errors.extend(found);
    let findings = Findings::default();
    let builder = Builder::new(dockerfile, options, &global, &plan, images, epoch, findings);
    let (uses, found) = builder.uses();
    errors.extend(found);
    if !errors.is_empty() {
        return Err(errors);
    }
    let file =
        FileArguments::of(dockerfile, &stages, options, target).map_err(|error| match error {
            LowerError::Invalid(errors) => errors,
            LowerError::NeedsImages(_) | LowerError::NeedsRemotes(_) => Vec::new(),
        })?;
    let stage = &stages.all[target];
    let mut outline = Outline {
        name: stage.name.clone(),
        description: stage.name.as_ref().map_or_else(String::new, |name| {
            targets::description(&stage.instruction.comments, name)
        }),
        ..Outline::default()
    };
    collect(&mut outline, &plan, &file, uses, target);
    Ok(outline)
}

/// The ARGs before the first FROM, and which of them each one refers to.
struct FileArguments<'a> {
    escape: char,
    arguments: BTreeMap<String, OutlineArgument>,
    refers_to: BTreeMap<String, BTreeSet<String>>,
    values: super::environment::Environment,
    stages: &'a Stages<'a>,
}

impl<'a> FileArguments<'a> {
    fn of(
        dockerfile: &Dockerfile,
        stages: &'a Stages<'a>,
        options: &Options,
        target: usize,
    ) -> Result<Self, LowerError> {
        let values = arguments::without_file(options, stages, target);
        let mut file = Self {
            escape: dockerfile.directives.escape_char(),
            arguments: BTreeMap::new(),
            refers_to: BTreeMap::new(),
            values,
            stages,
        };
        for instruction in &stages.global {
            let Command::Arg(declared) = &instruction.command else {
                continue;
            };
            for argument in declared {
                file.declare(instruction, argument, options)?;
            }
        }
        Ok(file)
    }

    fn declare(
        &mut self,
        instruction: &Instruction,
        argument: &Argument,
        options: &Options,
    ) -> Result<(), LowerError> {
        let name = &argument.name.value;
        let mut refers_to = BTreeSet::new();
        let value = match (options.build_args.get(name), &argument.default) {
            (Some(given), _) => Some(given.clone()),
            (None, None) => None,
            (None, Some(default)) => {
                let expander = Expander::new(self.escape, &self.values);
                let expansion = expander.word(&default.value).map_err(|error| {
                    Diagnostic::error("expansion", default.span, error.to_string())
                })?;
                refers_to = expansion.matched;
                Some(expansion.text)
            }
        };
        // With a reference to its former self, it depends on what that depended on.
        if refers_to.remove(name)
            && let Some(former) = self.refers_to.get(name)
        {
            refers_to.extend(former.iter().cloned());
        }
        if let Some(value) = &value {
            self.values.set(name, value);
        }
        self.refers_to.insert(name.clone(), refers_to);
        self.arguments.insert(
            name.clone(),
            described(instruction, argument, value.as_deref()),
        );
        Ok(())
    }

    /// The names that the FROM of a stage refers to.
    fn used_by_from(&self, stage: usize) -> BTreeSet<String> {
        let from = self.stages.all[stage].from;
        let expander = Expander::new(self.escape, &self.values);
        let matched = |word: &Word| expander.word(&word.value).unwrap_or_default().matched;
        let mut used = matched(&from.image);
        used.extend(from.platform.iter().flat_map(matched));
        used
    }

    /// Adds what names depend on.
    fn close(&self, used: &mut BTreeSet<String>) {
        let mut open: Vec<String> = used.iter().cloned().collect();
        while let Some(name) = open.pop() {
            for other in self.refers_to.get(&name).into_iter().flatten() {
                if used.insert(other.clone()) {
                    open.push(other.clone());
                }
            }
        }
    }
}

/// Goes from the target to all that it needs; what is found first counts.
fn collect(
    outline: &mut Outline,
    plan: &Plan<'_>,
    file: &FileArguments<'_>,
    mut uses: BTreeMap<usize, Uses>,
    target: usize,
) {
    let mut arguments = BTreeMap::new();
    let mut secrets = BTreeMap::new();
    let mut ssh = BTreeMap::new();
    let mut caches = BTreeMap::new();
    let mut open = std::collections::VecDeque::from([target]);
    while let Some(index) = open.pop_front() {
        let Some(stage) = uses.remove(&index) else {
            continue;
        };
        let mut used = stage.used;
        used.extend(file.used_by_from(index));
        file.close(&mut used);
        for name in used {
            let known = stage.declared.get(&name);
            if let Some(argument) = known.or_else(|| file.arguments.get(&name)) {
                arguments.entry(name).or_insert_with(|| argument.clone());
            }
        }
        add_new(&mut secrets, stage.secrets);
        add_new(&mut ssh, stage.ssh);
        add_new(&mut caches, stage.caches);
        if let Base::Stage(base) = plan.planned[index].base {
            open.push_back(base);
        }
        open.extend(plan.planned[index].taken_stages());
    }
    outline.arguments = arguments.into_values().collect();
    outline.arguments.sort_by_key(|argument| argument.span);
    outline.secrets = in_order(secrets);
    outline.ssh = in_order(ssh);
    outline.caches = in_order(caches);
}

fn add_new(to: &mut BTreeMap<String, OutlineMount>, from: BTreeMap<String, OutlineMount>) {
    for (id, mount) in from {
        to.entry(id).or_insert(mount);
    }
}

fn in_order(mounts: BTreeMap<String, OutlineMount>) -> Vec<OutlineMount> {
    let mut mounts: Vec<OutlineMount> = mounts.into_values().collect();
    mounts.sort_by_key(|mount| mount.span);
    mounts
}
