//! Walks over the needed stages in order and collects vertices, variables and the image's config.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use kiln_solver::graph::{Description, SourceSpan};
use kiln_solver::{Graph, Platform, VertexId};

use super::display::{self, Numbering};
use super::environment::Environment;
use super::outline::Uses;
use super::plan::{Origin, Plan, Step};
use super::remote::RemoteRequest;
use super::{Checked, Images, Layer, LowerError, Lowered, Options, ResolvedImage, epoch};
use crate::check::{self, Findings, StepFacts, VariableScope};
use crate::diagnostic::Diagnostic;
use crate::expand::{ExpandError, Expander};
use crate::image_config::{History, ImageConfig};
use crate::limits;
use crate::source::{Source, Span};
use crate::syntax::{Command, Dockerfile, Instruction};

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
    /// The ARGs so far and their last values, for the history.
    pub(super) arguments: Vec<(String, String)>,
    pub(super) layers: Vec<Layer>,
    pub(super) numbering: Numbering,
    pub(super) ignore_cache: bool,
    /// Whether this stage has had a CMD.
    pub(super) has_cmd: bool,
    /// Whether a WORKDIR of the file came before.
    pub(super) has_workdir: bool,
    /// The positions in [`State::arguments`], by name.
    pub(super) declared: Rc<BTreeMap<String, usize>>,
    /// The positions of the config's variables, by name, once this stage has set one.
    pub(super) variable_positions: Option<BTreeMap<String, usize>>,
    /// What rules remember of the stage.
    pub(super) seen: check::Seen,
    /// Whether the base image is not known, so that variables may be missing.
    pub(super) is_base_unknown: bool,
}

impl State {
    /// A stage without anything.
    pub(super) fn new(platform: Platform, numbering: Numbering) -> Self {
        Self {
            root: None,
            config: ImageConfig::empty(&platform),
            base: None,
            platform,
            environment: Environment::default(),
            arguments: Vec::new(),
            layers: Vec::new(),
            numbering,
            ignore_cache: false,
            has_cmd: false,
            has_workdir: false,
            declared: Rc::default(),
            variable_positions: None,
            seen: check::Seen::default(),
            is_base_unknown: false,
        }
    }

    /// Declares an ARG; a second time it only changes the value.
    pub(super) fn declare(&mut self, name: &str, value: String) {
        if let Some(position) = self.declared.get(name) {
            self.arguments[*position].1 = value;
            return;
        }
        let position = self.arguments.len();
        Rc::make_mut(&mut self.declared).insert(name.to_owned(), position);
        self.arguments.push((name.to_owned(), value));
    }

    /// Sets a variable of the config, where it stands or else at the end.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) {
        let list = &mut self.config.config.env;
        let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let positions = self.variable_positions.get_or_insert_with(|| {
            // Of several with one name, the first counts.
            let pairs = list.iter().enumerate().rev();
            pairs.map(|(at, pair)| (name_of(pair), at)).collect()
        });
        let pair = format!("{name}={value}");
        match positions.get(name) {
            Some(position) => list[*position] = pair,
            None => {
                positions.entry(name_of(&pair)).or_insert(list.len());
                list.push(pair);
            }
        }
    }
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
    findings: Findings,
    /// The instruction that is being lowered.
    current: RefCell<Option<Arc<Instruction>>>,
    /// Whether it uses what an unknown base image may define.
    is_uncertain: Cell<bool>,
    errors: Vec<Diagnostic>,
    /// What must be known of other machines before the graph is complete.
    pub(super) missing: Vec<(RemoteRequest, Option<Span>)>,
    /// What each stage takes from outside, if somebody wants to know.
    uses: Option<RefCell<BTreeMap<usize, Uses>>>,
    current_stage: usize,
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
        findings: Findings,
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
            findings,
            current: RefCell::new(None),
            is_uncertain: Cell::new(false),
            errors: Vec::new(),
            missing: Vec::new(),
            uses: None,
            current_stage: 0,
            budget: Cell::new(limits::VARIABLES),
        }
    }

    /// Lowers the needed stages.
    pub(super) fn lower(mut self, target: usize) -> Result<Lowered, LowerError> {
        self.stages();
        if !self.errors.is_empty() {
            return Err(LowerError::Invalid(self.errors));
        }
        if !self.missing.is_empty() {
            return Err(LowerError::NeedsRemotes(self.missing));
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
        let directive = self.dockerfile.directives.check.as_ref();
        Ok(Lowered {
            graph: self.graph,
            target: state.root,
            config: state.config,
            layers: state.layers,
            base: state.base,
            epoch: self.epoch,
            warnings: self
                .findings
                .finish(directive.map(|directive| directive.span)),
        })
    }

    /// What the rules find in the needed stages, and all errors.
    pub(super) fn survey(mut self) -> (Findings, Vec<Diagnostic>) {
        self.stages();
        (self.findings, self.errors)
    }

    /// What the needed stages take from outside, and all errors.
    pub(super) fn uses(mut self) -> (BTreeMap<usize, Uses>, Vec<Diagnostic>) {
        self.uses = Some(RefCell::default());
        self.stages();
        let uses = self.uses.map(RefCell::into_inner).unwrap_or_default();
        (uses, self.errors)
    }

    /// Notes what the current stage takes from outside.
    pub(super) fn note(&self, note: impl FnOnce(&mut Uses)) {
        if let Some(uses) = &self.uses {
            note(uses.borrow_mut().entry(self.current_stage).or_default());
        }
    }

    fn stages(&mut self) {
        let plan = self.plan;
        for index in plan.needed.iter().copied() {
            self.current_stage = index;
            self.note(|_| {});
            let planned = &plan.planned[index];
            let mut state = match self.begin(index, planned) {
                Ok(state) => state,
                Err(error) => {
                    self.errors.push(*error);
                    self.unknown_state()
                }
            };
            state.is_base_unknown |= planned.broken;
            let steps = planned.steps.iter().filter(|_| !planned.replaced);
            for step in steps {
                self.is_uncertain.set(false);
                match self.step(&mut state, step, index) {
                    Err(error) if error.code == TOO_LARGE => {
                        self.errors.push(*error);
                        return;
                    }
                    Err(error) if !self.is_uncertain.get() => self.errors.push(*error),
                    _ => {}
                }
            }
            state.variable_positions = None;
            self.finished.insert(index, state);
        }
    }

    fn step(&mut self, state: &mut State, step: &Step, index: usize) -> Checked<()> {
        self.ask_rules(state, &step.instruction);
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
            // The parser has said why.
            Command::Invalid => Ok(()),
            Command::From(_) => {
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
                self.charge(expansion.text.len() + STEP_COST * expansion.steps, span)?;
                self.undefined(state, &expansion.unmatched, span);
                Ok(expansion.text)
            }
            Err(error) => {
                if matches!(error, ExpandError::Required { .. }) {
                    self.is_uncertain.set(state.is_base_unknown);
                }
                if error == ExpandError::TooLong {
                    self.charge(limits::EXPANSION_GROWTH, span)?;
                }
                let message = format!("{:?} cannot be expanded: {error}", beginning_of(text));
                Err(Box::new(Diagnostic::error("expansion", span, message)))
            }
        }
    }

    /// Tells the rules about names that have no value.
    pub(super) fn undefined(&self, state: &State, names: &BTreeSet<String>, span: Span) {
        let current = self.current.borrow();
        let (Some(instruction), false) = (current.as_ref(), names.is_empty()) else {
            return;
        };
        self.is_uncertain
            .set(self.is_uncertain.get() || state.is_base_unknown);
        let scope = VariableScope {
            names: &|| state.environment.names().collect(),
            is_declared: &|name| state.declared.contains_key(name),
            is_complete: !state.is_base_unknown,
        };
        let place = |name: &str| place_of(&self.dockerfile.source, span, name);
        check::undefined_variables(&self.findings, instruction, names, &scope, &place);
    }

    /// The instruction that is being lowered.
    pub(super) fn instruction(&self) -> Option<Arc<Instruction>> {
        self.current.borrow().clone()
    }

    fn ask_rules(&self, state: &mut State, instruction: &Arc<Instruction>) {
        *self.current.borrow_mut() = Some(Arc::clone(instruction));
        let facts = StepFacts {
            escape: self.dockerfile.directives.escape_char(),
            variables: &state.environment,
            shell: &state.config.config.shell,
            has_workdir: state.has_workdir,
            ignored: &self.options.ignored,
        };
        check::step(&self.findings, instruction, &facts, &mut state.seen);
        state.has_workdir |= matches!(instruction.command, Command::Workdir(_));
    }

    /// Tells the rules what a base image turned out to be.
    pub(super) fn base_found(
        &self,
        image: &str,
        expected: &Platform,
        found: &Platform,
        span: Span,
    ) {
        check::base_platform(&self.findings, image, expected, found, span);
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
                Err(Box::new(Diagnostic::error(TOO_LARGE, span, message)))
            }
        }
    }

    /// The name of a step whose variables are shown with their values.
    pub(super) fn expanded_name(&self, state: &State, step: &Step) -> Checked<String> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &state.environment);
        self.shown(expander, &step.instruction.text, step.instruction.span)
    }

    /// An instruction as people see it: expanded, unless that fails.
    pub(super) fn shown(&self, expander: Expander<'_>, text: &str, span: Span) -> Checked<String> {
        let (shown, cost) = match expander.word(text) {
            Ok(expansion) => (expansion.text, STEP_COST * expansion.steps),
            Err(ExpandError::TooLong) => (text.to_owned(), limits::EXPANSION_GROWTH),
            Err(_) => (text.to_owned(), 0),
        };
        self.charge(shown.len() + cost, span)?;
        Ok(display::with_keyword_in_capitals(&shown))
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

/// As much of a text as a message can hold.
fn beginning_of(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Where in a word `$name` or `${name` stands; the whole word if it is put together from pieces.
fn place_of(source: &Source, word: Span, name: &str) -> Span {
    let text = source.slice(word);
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let places = text.match_indices(name).filter_map(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let begin = match before.ends_with("${") {
            true => at - 2,
            false if before.ends_with('$') => at - 1,
            false => return None,
        };
        let end = at + name.len() + usize::from(before.ends_with("${") && after.starts_with('}'));
        (!after.starts_with(is_name)).then(|| Span::new(word.start + begin, word.start + end))
    });
    places.into_iter().next().unwrap_or(word)
}

/// What one step of matching a pattern takes from the budget, in bytes.
const STEP_COST: usize = 4;

/// The code of the error that leaves nothing to go on with.
const TOO_LARGE: &str = "too-large";

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
