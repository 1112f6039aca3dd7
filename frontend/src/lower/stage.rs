//! Walks over the needed stages in order and collects vertices, variables and the image's config.

use std::cell::Cell;
use std::collections::BTreeMap;

use kiln_solver::graph::{Description, SourceSpan};
use kiln_solver::op::{ImageSource, LocalSource, Op, Source};
use kiln_solver::{DiffId, Graph, Platform, VertexId};

use super::display::{self, Numbering};
use super::environment::Environment;
use super::plan::{Base, Origin, Plan, PlannedStage, Root, Step};
use super::{
    Checked, ImageLocation, Images, Layer, LowerError, Lowered, NoCache, Options, ResolvedImage,
    epoch,
};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::image_config::{DEFAULT_PATH, History, ImageConfig};
use crate::source::Span;
use crate::syntax::{Command, Dockerfile};

/// A stage while it is being lowered, and afterwards what later stages take from it.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The root file system; `None` is empty.
    pub(super) root: Option<VertexId>,
    pub(super) config: ImageConfig,
    pub(super) base: Option<ResolvedImage>,
    pub(super) platform: Platform,
    /// What commands and expansions see: ENVs, and ARGs with a value.
    pub(super) environment: Environment,
    /// The ARGs so far and their values, for the history.
    pub(super) arguments: Vec<(String, String)>,
    pub(super) layers: Vec<Layer>,
    pub(super) numbering: Numbering,
    pub(super) ignore_cache: bool,
    /// Whether this stage has had a CMD.
    pub(super) has_cmd: bool,
}

/// Lowers one build.
pub(super) struct Builder<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) options: &'a Options,
    pub(super) global: &'a Environment,
    plan: &'a Plan<'a>,
    images: &'a dyn Images,
    pub(super) epoch: Option<i64>,
    pub(super) graph: Graph,
    finished: BTreeMap<usize, State>,
    externals: BTreeMap<usize, Option<VertexId>>,
    pub(super) warnings: Vec<Diagnostic>,
    /// How many more bytes expansions and environments may take.
    budget: Cell<usize>,
}

/// What expansions and environments of one build may take together: a few lines suffice to ask for
/// any amount.
const BUDGET: usize = 256 << 20;

impl<'a> Builder<'a> {
    pub(super) fn new(
        dockerfile: &'a Dockerfile,
        options: &'a Options,
        global: &'a Environment,
        plan: &'a Plan<'a>,
        images: &'a dyn Images,
        epoch: Option<i64>,
    ) -> Self {
        Self {
            dockerfile,
            options,
            global,
            plan,
            images,
            epoch,
            graph: Graph::new(),
            finished: BTreeMap::new(),
            externals: BTreeMap::new(),
            warnings: Vec::new(),
            budget: Cell::new(BUDGET),
        }
    }

    /// Lowers the needed stages; stops at the end of the first stage with an error.
    pub(super) fn lower(mut self, target: usize) -> Result<Lowered, LowerError> {
        for index in self.plan.needed.iter().copied() {
            let state = self.stage(index)?;
            self.finished.insert(index, state);
        }
        let Some(mut state) = self.finished.remove(&target) else {
            return Err(Diagnostic::error_nowhere("no-stage", "the target was not lowered").into());
        };
        state
            .config
            .config
            .labels
            .extend(self.options.labels.clone());
        if let Some(platform) = &self.options.target_platform {
            state.config.set_platform(platform);
        }
        Ok(Lowered {
            graph: self.graph,
            target: state.root,
            config: state.config,
            layers: state.layers,
            base: state.base,
            epoch: self.epoch,
            warnings: self.warnings,
        })
    }

    fn stage(&mut self, index: usize) -> Checked<State> {
        let plan = self.plan;
        let planned = &plan.planned[index];
        let mut state = self.begin(index, planned)?;
        if planned.replaced {
            return Ok(state);
        }
        for step in &planned.steps {
            self.step(&mut state, step, index)?;
        }
        Ok(state)
    }

    /// The state right behind FROM.
    fn begin(&mut self, index: usize, planned: &PlannedStage) -> Checked<State> {
        let span = self.plan.stage_at(index).instruction.span;
        let numbering = self.numbering(index, planned);
        let mut state = match &planned.base {
            Base::Stage(base) => self.child_of(*base, numbering, span)?,
            Base::Root(root) => self.on_root(root, planned.platform.as_ref(), numbering, span)?,
        };
        state.ignore_cache = self.ignores_cache(index);
        state.config.config.on_build.clear();
        if state.config.config.variable("PATH").is_none() {
            state.config.config.set_variable("PATH", DEFAULT_PATH);
        }
        for pair in &state.config.config.env {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            state.environment.set(name, value);
        }
        Ok(state)
    }

    fn numbering(&self, index: usize, planned: &PlannedStage) -> Numbering {
        let counts = |step: &&Step| {
            let command = &step.instruction.command;
            step.triggered
                || matches!(
                    command,
                    Command::Add(_) | Command::Copy(_) | Command::Run(_) | Command::Workdir(_)
                )
        };
        let base = matches!(planned.base, Base::Root(_)) && planned.image != "scratch";
        Numbering {
            stage: (!self.plan.is_single()).then(|| self.plan.display_name(index)),
            total: usize::from(base) + planned.steps.iter().filter(counts).count(),
            platform: None,
            next: 0,
        }
    }

    fn ignores_cache(&self, index: usize) -> bool {
        let name = self
            .plan
            .stage_at(index)
            .name
            .as_deref()
            .unwrap_or_default();
        match &self.options.no_cache {
            NoCache::Never => false,
            NoCache::All => true,
            NoCache::Stages(stages) => stages.iter().any(|stage| stage.eq_ignore_ascii_case(name)),
        }
    }

    /// A stage that goes on where an earlier one ended.
    fn child_of(&self, base: usize, mut numbering: Numbering, span: Span) -> Checked<State> {
        let Some(base) = self.finished.get(&base) else {
            let message = "the stage that this one is based on could not be lowered";
            return Err(Box::new(Diagnostic::error("no-stage", span, message)));
        };
        if self.options.multi_platform {
            numbering.platform = Some(base.platform.clone());
        }
        Ok(State {
            numbering,
            has_cmd: false,
            ..base.clone()
        })
    }

    fn on_root(
        &mut self,
        root: &Root,
        platform: Option<&Platform>,
        mut numbering: Numbering,
        span: Span,
    ) -> Checked<State> {
        let target = self.options.target_platform();
        let platform = if *root == Root::Scratch {
            target
        } else {
            platform.unwrap_or(target)
        };
        let platform = platform.clone();
        if self.options.multi_platform {
            numbering.platform = Some(platform.clone());
        }
        let base = self.image(root);
        let vertex = self.root_vertex(root, Some(&mut numbering), span)?;
        let config = match &base {
            Some(image) => {
                let mut config = image.config.clone();
                config.created = None;
                config
            }
            None => ImageConfig::empty(&platform),
        };
        Ok(State {
            root: vertex,
            config,
            base,
            platform,
            environment: Environment::default(),
            arguments: Vec::new(),
            layers: Vec::new(),
            numbering,
            ignore_cache: false,
            has_cmd: false,
        })
    }

    fn image(&self, root: &Root) -> Option<ResolvedImage> {
        match root {
            Root::Image { request, .. } => self.images.image(request).cloned(),
            _ => None,
        }
    }

    /// The vertex of a root; `None` if it is empty.
    fn root_vertex(
        &mut self,
        root: &Root,
        numbering: Option<&mut Numbering>,
        span: Span,
    ) -> Checked<Option<VertexId>> {
        let (source, name) = match root {
            Root::Scratch => return Ok(None),
            Root::Local { directory, context } => {
                let source = Source::Local(LocalSource {
                    name: directory.clone(),
                });
                (source, format!("[context {context}] load from client"))
            }
            Root::Image { request, context } => {
                let Some(image) = self.images.image(request) else {
                    return Ok(None);
                };
                if image.config.rootfs.diff_ids.is_empty() {
                    return Ok(None);
                }
                let reference = pinned(&request.location, image);
                let name = match (context, numbering) {
                    (Some(context), _) => format!("[context {context}] {reference}"),
                    (None, Some(numbering)) => {
                        numbering.name(&format!("FROM {reference}"), false, &Environment::default())
                    }
                    (None, None) => format!("FROM {reference}"),
                };
                (Source::Image(image_source(image, reference, span)?), name)
            }
        };
        let description = describe(name, Some(span));
        Ok(Some(self.graph.add(
            Op::Source(source),
            Vec::new(),
            description,
            false,
        )))
    }

    /// The vertex of the build context.
    pub(super) fn context(&mut self) -> VertexId {
        let source = Source::Local(LocalSource {
            name: "context".to_owned(),
        });
        let description = describe("[internal] load build context".to_owned(), None);
        self.graph
            .add(Op::Source(source), Vec::new(), description, false)
    }

    /// The vertex that files come from; `None` is an empty directory.
    pub(super) fn origin(&mut self, origin: Origin, span: Span) -> Checked<Option<VertexId>> {
        match origin {
            Origin::Context => Ok(Some(self.context())),
            Origin::Nothing => Ok(None),
            Origin::Stage(index) => match self.finished.get(&index) {
                Some(stage) => Ok(stage.root),
                None => {
                    let name = self.plan.display_name(index);
                    let message = format!("the stage {name} must stand before it is used");
                    Err(Box::new(Diagnostic::error("later-stage", span, message)))
                }
            },
            Origin::External(index) => {
                if let Some(known) = self.externals.get(&index) {
                    return Ok(*known);
                }
                let external = &self.plan.externals[index];
                let vertex = self.root_vertex(&external.root, None, external.span)?;
                self.externals.insert(index, vertex);
                Ok(vertex)
            }
        }
    }

    fn step(&mut self, state: &mut State, step: &Step, index: usize) -> Checked<()> {
        let span = step.instruction.span;
        match &step.instruction.command {
            Command::Run(run) => self.run(state, step, run),
            Command::Copy(copy) => {
                let origin = step.origins.first().copied().unwrap_or(Origin::Context);
                self.check_order(origin, index, span)?;
                self.transfer(state, step, copy, origin, false)
            }
            Command::Add(add) => self.transfer(state, step, add, Origin::Context, true),
            Command::Workdir(path) => self.workdir(state, step, path),
            Command::Arg(arguments) => self.arguments(state, arguments),
            Command::From(_) | Command::Invalid => {
                let message = "the instruction cannot be used here";
                Err(Box::new(Diagnostic::error(
                    "invalid-instruction",
                    span,
                    message,
                )))
            }
            _ => self.metadata(state, &step.instruction),
        }
    }

    fn check_order(&self, origin: Origin, index: usize, span: Span) -> Checked<()> {
        match origin {
            Origin::Stage(from) if from >= index => {
                let name = self.plan.display_name(from);
                let message = format!("the stage {name} must stand before it is used");
                Err(Box::new(Diagnostic::error("later-stage", span, message)))
            }
            _ => Ok(()),
        }
    }

    /// Expands a word with the stage's variables.
    pub(super) fn expand(&self, state: &State, text: &str, span: Span) -> Checked<String> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &state.environment);
        match expander.word(text) {
            Ok(expansion) => {
                self.charge(expansion.text.len(), span)?;
                Ok(expansion.text)
            }
            Err(error) => {
                let message = format!("{text:?} cannot be expanded: {error}");
                Err(Box::new(Diagnostic::error("expansion", span, message)))
            }
        }
    }

    /// Takes from the budget.
    pub(super) fn charge(&self, bytes: usize, span: Span) -> Checked<()> {
        match self.budget.get().checked_sub(bytes) {
            Some(rest) => {
                self.budget.set(rest);
                Ok(())
            }
            None => {
                let message = format!("variables take more than {} MiB in all", BUDGET >> 20);
                Err(Box::new(Diagnostic::error("too-large", span, message)))
            }
        }
    }

    /// The name of a step whose variables are shown with their values.
    pub(super) fn expanded_name(&self, state: &State, step: &Step) -> String {
        let text = &step.instruction.text;
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &state.environment);
        let text = expander
            .word(text)
            .map_or_else(|_| text.clone(), |expansion| expansion.text);
        display::with_keyword_in_capitals(&text)
    }

    /// Adds an entry without a layer to the history.
    pub(super) fn history(&self, state: &mut State, created_by: String) {
        state.config.history.push(History {
            created: self.epoch.map(epoch::rfc3339),
            created_by,
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: true,
            ..History::default()
        });
    }

    /// Adds a layer and its entry in the history.
    pub(super) fn layer(&self, state: &mut State, created_by: String, vertex: VertexId) {
        self.history(state, created_by);
        let history = state.config.history.len() - 1;
        state.config.history[history].empty_layer = false;
        state.layers.push(Layer { history, vertex });
    }
}

/// What BuildKit writes into every entry of a history.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// A vertex's description.
pub(super) fn describe(name: String, span: Option<Span>) -> Description {
    Description {
        name,
        span: span.map(|span| SourceSpan {
            bytes: span.range(),
        }),
    }
}

fn pinned(location: &ImageLocation, image: &ResolvedImage) -> String {
    match location {
        ImageLocation::Registry(name) if !name.contains('@') => format!("{name}@{}", image.digest),
        ImageLocation::Registry(name) | ImageLocation::Layout(name) => name.clone(),
    }
}

fn image_source(image: &ResolvedImage, reference: String, span: Span) -> Checked<ImageSource> {
    let diff_ids: Result<Vec<DiffId>, _> = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .map(|diff_id| diff_id.parse())
        .collect();
    let diff_ids = diff_ids.map_err(|error| {
        let message = format!("the config of {reference} is damaged: {error}");
        Box::new(Diagnostic::error("invalid-image", span, message))
    })?;
    Ok(ImageSource {
        diff_ids,
        manifest: image.manifest,
        reference,
    })
}
