//! What each stage is based on and takes from others, which stages the target needs, and which
//! images must be known; ONBUILD triggers of base images become steps here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_solver::Platform;

use super::environment::Environment;
use super::root::{Root, Roots};
use super::{Checked, ImageRequest, Images, LowerError, Options};
use crate::diagnostic::{Diagnostic, Suggestions};
use crate::expand::{ExpandError, Expander, NoVariables};
use crate::limits;
use crate::mount;
use crate::source::{Span, Spanned};
use crate::stage::{Stage, Stages};
use crate::syntax::{Command, Dockerfile, Instruction, Word};

/// The plan of a build.
pub(super) struct Plan<'a> {
    dockerfile: &'a Dockerfile,
    stages: &'a Stages<'a>,
    options: &'a Options,
    pub(super) planned: Vec<PlannedStage>,
    /// What stages take from that is no stage of the file.
    pub(super) externals: Vec<External>,
    external_positions: BTreeMap<Root, usize>,
    /// The stages that the target needs, once [`Plan::resolve`] is done.
    pub(super) needed: BTreeSet<usize>,
    /// How many more bytes triggers may have.
    trigger_budget: usize,
    suggestions: Suggestions,
}

/// One stage of the plan.
pub(super) struct PlannedStage {
    /// What it begins with.
    pub(super) base: Base,
    /// The image as written, variables expanded.
    pub(super) image: String,
    /// The platform of its base image.
    pub(super) platform: Option<Platform>,
    /// Whether a named context takes the place of the whole stage.
    pub(super) replaced: bool,
    /// Whether its FROM could not be understood.
    pub(super) broken: bool,
    pub(super) steps: Vec<Step>,
    triggers_added: bool,
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Stage(usize),
    Root(Root),
}

/// A root that only `--from` or a mount refers to.
pub(super) struct External {
    pub(super) root: Root,
    pub(super) span: Span,
}

/// An instruction of a stage and where its files come from.
pub(super) struct Step {
    pub(super) instruction: Arc<Instruction>,
    /// For RUN one origin for each mount; for COPY one, or none if that is the context.
    pub(super) origins: Vec<Origin>,
    /// Whether a base image's ONBUILD brought it.
    pub(super) triggered: bool,
}

/// Where files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The build context.
    Context,
    /// Nothing at all.
    Nothing,
    Stage(usize),
    External(usize),
}

impl<'a> Plan<'a> {
    /// Plans all stages, needed or not, because some mistakes count anywhere in the file. What is
    /// wrong is left out of the plan.
    pub(super) fn new(
        dockerfile: &'a Dockerfile,
        stages: &'a Stages<'a>,
        options: &'a Options,
        global: &Environment,
    ) -> (Self, Vec<Diagnostic>) {
        let (planned, externals, needed) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut plan = Self {
            dockerfile,
            stages,
            options,
            planned,
            externals,
            external_positions: BTreeMap::new(),
            needed,
            trigger_budget: limits::TRIGGERS,
            suggestions: Suggestions::default(),
        };
        let mut errors = Vec::new();
        for stage in &stages.all {
            if !stage.is_read {
                plan.planned.push(PlannedStage::broken());
                continue;
            }
            match plan.stage(stage, global) {
                Ok(planned) => plan.planned.push(planned),
                Err(error) => {
                    errors.push(*error);
                    plan.planned.push(PlannedStage::broken());
                }
            }
        }
        for stage in &stages.all {
            let mut steps = Vec::with_capacity(stage.instructions.len());
            for instruction in stage.instructions {
                match plan.step(Arc::clone(instruction), false) {
                    Ok(step) => steps.push(step),
                    Err(error) => errors.push(*error),
                }
            }
            plan.planned[stage.index].steps = steps;
        }
        if let Err(error) = plan.check_circles() {
            errors.push(*error);
        }
        (plan, errors)
    }

    fn stage(&self, stage: &Stage<'_>, global: &Environment) -> Checked<PlannedStage> {
        let image = self.expand_from(&stage.from.image, global)?;
        let platform = match &stage.from.platform {
            Some(platform) => Some(self.platform(platform, global)?),
            None => None,
        };
        let span = stage.from.image.span;
        let replacement = match &stage.name {
            Some(name) => self.roots().named_context(name, platform.as_ref(), span)?,
            None => None,
        };
        let replaced = replacement.is_some();
        let base = match (replacement, self.stages.before(stage.index, &image)) {
            (Some(root), _) => Base::Root(root),
            (None, Some(earlier)) => Base::Stage(earlier),
            (None, None) => Base::Root(self.roots().root(&image, platform.as_ref(), span)?),
        };
        let (steps, triggers_added) = (Vec::new(), false);
        Ok(PlannedStage {
            base,
            image,
            platform,
            replaced,
            broken: false,
            steps,
            triggers_added,
        })
    }

    fn roots(&self) -> Roots<'_> {
        Roots {
            stages: self.stages,
            options: self.options,
            suggestions: &self.suggestions,
        }
    }

    fn expand_from(&self, word: &Word, global: &Environment) -> Checked<String> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), global);
        let error =
            |message: String| Box::new(Diagnostic::error("invalid-from", word.span, message));
        let too_long = || error(format!("it is longer than {} bytes", limits::FROM));
        let expansion = match expander.growing_by(limits::FROM).word(&word.value) {
            Err(ExpandError::TooLong(_)) => return Err(too_long()),
            expansion => expansion.map_err(|e| error(e.to_string()))?,
        };
        if expansion.text.len() > limits::FROM {
            return Err(too_long());
        }
        if !expansion.text.is_empty() {
            return Ok(expansion.text);
        }
        let mut finding = *error(format!("{} expands to nothing", word.value));
        for name in &expansion.unmatched {
            let nearest = self.suggestions.closest(name, || global.names());
            finding = finding.did_you_mean_this(nearest);
        }
        Err(Box::new(finding.hint(
            "only ARGs before the first FROM have a value in FROM",
        )))
    }

    fn platform(&self, word: &Word, global: &Environment) -> Checked<Platform> {
        let text = self.expand_from(word, global)?;
        if text == "linux" {
            return Ok(self.options.build_platform.clone());
        }
        let error = |message| Box::new(Diagnostic::error("invalid-platform", word.span, message));
        if text == "local" {
            let message = "the platform \"local\" is for the command line only";
            return Err(error(message.to_owned()));
        }
        text.parse().map_err(|wrong| error(format!("{wrong}")))
    }

    fn step(&mut self, instruction: Arc<Instruction>, triggered: bool) -> Checked<Step> {
        let origins = match &instruction.command {
            Command::Copy(copy) => match &copy.from {
                Some(from) => vec![self.copy_origin(from)?],
                None => Vec::new(),
            },
            Command::Run(run) => run
                .mounts
                .iter()
                .map(|mount| self.mount_origin(mount))
                .collect::<Checked<_>>()?,
            _ => Vec::new(),
        };
        Ok(Step {
            instruction,
            origins,
            triggered,
        })
    }

    fn copy_origin(&mut self, from: &Word) -> Checked<Origin> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &NoVariables);
        let error = |message| Diagnostic::error("invalid-from", from.span, message);
        match expander.word(&from.value) {
            Ok(expansion) if expansion.text == from.value => {}
            _ => {
                let finding = error("--from cannot contain variables".to_owned());
                let hint =
                    "name the image with FROM in a stage of its own, and copy from that stage";
                return Err(Box::new(finding.hint(hint)));
            }
        }
        match from.value.parse::<i64>() {
            Ok(index) => match usize::try_from(index) {
                Ok(index) if index < self.stages.all.len() => Ok(Origin::Stage(index)),
                _ => Err(Box::new(error(format!(
                    "there is no stage {index}; they count from 0"
                )))),
            },
            Err(_) => self.origin(&from.value, from.span),
        }
    }

    fn mount_origin(&mut self, mount: &Word) -> Checked<Origin> {
        let from = mount::from_unexpanded(&mount.value)
            .map_err(|error| Box::new(error.into_diagnostic(&mount.value, mount.span)))?;
        match from.filter(|from| !from.is_empty()) {
            Some(from) => self.origin(&from, mount.span),
            None => Ok(Origin::Context),
        }
    }

    fn origin(&mut self, name: &str, span: Span) -> Checked<Origin> {
        if let Some(stage) = self.stages.by_name(name) {
            return Ok(Origin::Stage(stage));
        }
        let root = self.roots().root(name, None, span)?;
        if root == Root::Scratch {
            return Ok(Origin::Nothing);
        }
        let next = self.externals.len();
        let known = *self.external_positions.entry(root.clone()).or_insert(next);
        if known == next {
            self.externals.push(External { root, span });
        }
        Ok(Origin::External(known))
    }

    /// A stage may only take from earlier ones, so a circle is a stage that takes from itself or a
    /// group of stages that take from each other.
    fn check_circles(&self) -> Checked<()> {
        for (index, planned) in self.planned.iter().enumerate() {
            for step in &planned.steps {
                let reaches_itself = step.origins.iter().any(|origin| match origin {
                    // What only takes from earlier stages closes no circle.
                    Origin::Stage(other) => *other >= index && self.takes_from(*other, index),
                    _ => false,
                });
                if reaches_itself {
                    let name = self.display_name(index);
                    let message = format!("circular dependency: the stage {name} needs itself");
                    let span = step.instruction.span;
                    return Err(Box::new(Diagnostic::error(
                        "circular-dependency",
                        span,
                        message,
                    )));
                }
            }
        }
        Ok(())
    }

    fn takes_from(&self, from: usize, wanted: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(stage) = open.pop() {
            if stage == wanted {
                return true;
            }
            if seen.insert(stage) {
                open.extend(self.planned[stage].taken_stages());
            }
        }
        false
    }

    /// The stage's name, or `stage-N`.
    pub(super) fn display_name(&self, index: usize) -> String {
        self.stages.all[index]
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"))
    }

    /// The file's stage at an index.
    pub(super) fn stage_at(&self, index: usize) -> &Stage<'a> {
        &self.stages.all[index]
    }

    /// Whether steps need not say which stage they belong to.
    pub(super) fn is_single(&self) -> bool {
        let refers = |step: &Step| {
            step.origins.iter().any(|origin| *origin != Origin::Context)
                || matches!(&step.instruction.command, Command::Run(run) if !run.mounts.is_empty())
        };
        self.planned.len() == 1 && !self.planned[0].steps.iter().any(refers)
    }

    /// The names that ARGs anywhere in the file declare.
    pub(super) fn declared_arguments(&self) -> impl Iterator<Item = &str> {
        let global = self.stages.global.iter().copied();
        let steps = self.planned.iter().flat_map(|stage| &stage.steps);
        let all = global.chain(steps.map(|step| &*step.instruction));
        all.flat_map(|instruction| match &instruction.command {
            Command::Arg(arguments) => arguments.as_slice(),
            _ => &[],
        })
        .map(|argument| argument.name.value.as_str())
    }

    /// Finds what `target` needs. Base images may bring triggers, and those may need more.
    pub(super) fn resolve(&mut self, target: usize, images: &dyn Images) -> Result<(), LowerError> {
        loop {
            self.needed = self.reach(target);
            let missing = self.missing_images(images);
            if !missing.is_empty() {
                return Err(LowerError::NeedsImages(missing));
            }
            let fresh: Vec<usize> = self.needed.iter().copied().collect();
            let fresh: Vec<usize> = fresh
                .into_iter()
                .filter(|stage| !self.planned[*stage].triggers_added)
                .collect();
            if fresh.is_empty() {
                return Ok(self.check_circles()?);
            }
            for stage in fresh {
                self.add_triggers(stage, images)?;
            }
        }
    }

    /// Adds the triggers of all stages, or of those that `target` needs, as far as their base images
    /// are known; returns those that are not, and what is wrong with triggers.
    pub(super) fn survey(
        &mut self,
        target: Option<usize>,
        images: &dyn Images,
    ) -> (Vec<Spanned<ImageRequest>>, Vec<Diagnostic>) {
        let mut errors = Vec::new();
        loop {
            self.needed = match target {
                Some(target) => self.reach(target),
                None => (0..self.planned.len()).collect(),
            };
            let needed = self.needed.iter().copied();
            let fresh: Vec<usize> = needed
                .filter(|stage| !self.planned[*stage].triggers_added)
                .collect();
            if fresh.is_empty() {
                return (missing(self.needed_bases(), images), errors);
            }
            for stage in fresh {
                if let Err(LowerError::Invalid(invalid)) = self.add_triggers(stage, images) {
                    errors.extend(invalid);
                }
            }
        }
    }

    fn reach(&self, target: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open = vec![target];
        while let Some(stage) = open.pop() {
            if !reached.insert(stage) {
                continue;
            }
            if let Base::Stage(base) = self.planned[stage].base {
                open.push(base);
            }
            open.extend(self.planned[stage].taken_stages());
        }
        reached
    }

    fn missing_images(&self, images: &dyn Images) -> Vec<Spanned<ImageRequest>> {
        let externals = self.needed_externals().into_iter();
        let externals = externals.map(|index| &self.externals[index]);
        let externals = externals.map(|external| (&external.root, external.span));
        missing(self.needed_bases().chain(externals), images)
    }

    /// The roots that needed stages begin with.
    fn needed_bases(&self) -> impl Iterator<Item = (&Root, Span)> {
        self.needed
            .iter()
            .filter_map(|stage| match &self.planned[*stage].base {
                Base::Root(root) => Some((root, self.stages.all[*stage].instruction.span)),
                Base::Stage(_) => None,
            })
    }

    fn needed_externals(&self) -> BTreeSet<usize> {
        let stages = self.needed.iter().map(|stage| &self.planned[*stage]);
        let origins = stages
            .filter(|stage| !stage.replaced)
            .flat_map(PlannedStage::origins);
        origins
            .filter_map(|origin| match origin {
                Origin::External(index) => Some(index),
                _ => None,
            })
            .collect()
    }

    fn add_triggers(&mut self, stage: usize, images: &dyn Images) -> Result<(), LowerError> {
        self.planned[stage].triggers_added = true;
        if self.planned[stage].replaced {
            return Ok(());
        }
        let span = self.stages.all[stage].instruction.span;
        let mut steps = Vec::new();
        for trigger in self.triggers(stage, images) {
            self.charge_trigger(&trigger, span)?;
            let instruction =
                crate::parse::parse_trigger(&trigger, span).map_err(LowerError::Invalid)?;
            steps.push(self.step(Arc::new(instruction), true)?);
        }
        self.planned[stage].steps.splice(0..0, steps);
        Ok(())
    }

    fn charge_trigger(&mut self, trigger: &str, span: Span) -> Result<(), Diagnostic> {
        let cost = limits::TRIGGER_COST + trigger.len();
        let rest = self.trigger_budget.checked_sub(cost);
        self.trigger_budget = rest.ok_or_else(|| {
            let message = format!(
                "the triggers that stages inherit take more than {} MiB in all",
                limits::TRIGGERS >> 20
            );
            Diagnostic::error("too-large", span, message)
        })?;
        Ok(())
    }

    /// The texts of the triggers that a stage's base brings.
    fn triggers(&self, stage: usize, images: &dyn Images) -> Vec<String> {
        match &self.planned[stage].base {
            Base::Root(Root::Image { request, .. }) => images
                .image(request)
                .map_or_else(Vec::new, |image| image.config.config.on_build.clone()),
            Base::Root(_) => Vec::new(),
            Base::Stage(base) => {
                let steps = self.planned[*base].steps.iter();
                let triggers = steps.filter_map(|step| match &step.instruction.command {
                    Command::OnBuild(trigger) => Some(trigger.text.clone()),
                    _ => None,
                });
                triggers.collect()
            }
        }
    }
}

/// The images among some roots that are not known yet, each once.
fn missing<'r>(
    roots: impl Iterator<Item = (&'r Root, Span)>,
    images: &dyn Images,
) -> Vec<Spanned<ImageRequest>> {
    let mut missing: Vec<Spanned<ImageRequest>> = Vec::new();
    let mut listed = BTreeSet::new();
    for (root, span) in roots {
        let Root::Image { request, .. } = root else {
            continue;
        };
        if images.image(request).is_none() && listed.insert(request) {
            missing.push(Spanned::new(request.clone(), span));
        }
    }
    missing
}

impl PlannedStage {
    fn broken() -> Self {
        Self {
            base: Base::Root(Root::Scratch),
            image: String::new(),
            platform: None,
            replaced: false,
            broken: true,
            steps: Vec::new(),
            triggers_added: true,
        }
    }

    fn origins(&self) -> impl Iterator<Item = Origin> {
        self.steps
            .iter()
            .flat_map(|step| step.origins.iter().copied())
    }

    /// The stages that its steps take files from.
    pub(super) fn taken_stages(&self) -> impl Iterator<Item = usize> {
        let origins = self.origins().filter(|_| !self.replaced);
        origins.filter_map(|origin| match origin {
            Origin::Stage(stage) => Some(stage),
            _ => None,
        })
    }
}
