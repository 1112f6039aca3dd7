//! Walks over the needed stages in order and collects vertices, variables and the image's config.

use std::cell::Cell;
use std::collections::BTreeMap;

use kiln_solver::graph::{Description, SourceSpan};
use kiln_solver::{Graph, Platform, VertexId};

use super::display::{self, Numbering};
use super::environment::Environment;
use super::plan::{Origin, Plan, Step};
use super::{Checked, Images, Layer, LowerError, Lowered, Options, ResolvedImage, epoch};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::image_config::{History, ImageConfig};
use crate::limits;
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
    pub(super) plan: &'a Plan<'a>,
    pub(super) images: &'a dyn Images,
    pub(super) epoch: Option<i64>,
    pub(super) graph: Graph,
    pub(super) finished: BTreeMap<usize, State>,
    pub(super) externals: BTreeMap<usize, Option<VertexId>>,
    pub(super) warnings: Vec<Diagnostic>,
    /// How many more bytes expansions and environments may take.
    budget: Cell<usize>,
}

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
            budget: Cell::new(limits::VARIABLES),
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
        state.config.normalize_platform();
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
                let message = format!(
                    "variables take more than {} MiB in all",
                    limits::VARIABLES >> 20
                );
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
