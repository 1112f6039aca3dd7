//! Walks over the needed stages in order and collects vertices, variables and the image's config.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::size_of;
use std::rc::Rc;
use std::sync::Arc;

use kiln_solver::graph::{Description, SourceSpan};
use kiln_solver::{Graph, Platform, VertexId};

use super::declared::Declared;
use super::display::{self, Numbering};
use super::environment::Environment;
use super::history::{Past, Text};
use super::image_variables::ImageVariables;
use super::outline::Uses;
use super::plan::{Origin, Plan, Step};
use super::remote::RemoteRequest;
use super::{Checked, Images, Layer, LowerError, Lowered, Options, ResolvedImage, epoch};
use crate::check::{self, Findings, StepFacts, VariableScope};
use crate::diagnostic::Diagnostic;
use crate::expand::{ExpandError, Expander, Failure};
use crate::image_config::ImageConfig;
use crate::limits;
use crate::port::Exposed;
use crate::source::{Source, Span};
use crate::syntax::{Command, Dockerfile, Instruction};

/// A stage while it is being lowered, and afterwards what later stages take from it.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The root file system; `None` is empty.
    pub(super) root: Option<VertexId>,
    /// The config but for its variables and its history.
    pub(super) config: ImageConfig,
    /// The config's variables.
    pub(super) variables: ImageVariables,
    /// What the file adds to the history, and the layers.
    pub(super) past: Past,
    pub(super) base: Option<Rc<ResolvedImage>>,
    pub(super) platform: Platform,
    /// What commands and expansions see: ENVs, and ARGs with a value.
    pub(super) environment: Environment,
    pub(super) arguments: Declared,
    /// The ports that the file has exposed.
    pub(super) exposed: Exposed,
    pub(super) numbering: Numbering,
    pub(super) ignore_cache: bool,
    /// Whether this stage has had a CMD.
    pub(super) has_cmd: bool,
    /// Whether a WORKDIR of the file came before.
    pub(super) has_workdir: bool,
    /// What rules remember of the stage.
    pub(super) seen: check::Seen,
    /// Whether the base image is not known, so that variables may be missing.
    pub(super) is_base_unknown: bool,
}

impl State {
    /// A stage without anything.
    pub(super) fn new(platform: Platform, numbering: Numbering) -> Self {
        let mut config = ImageConfig::empty(&platform);
        Self {
            root: None,
            variables: ImageVariables::new(std::mem::take(&mut config.config.env)),
            config,
            past: Past::default(),
            base: None,
            platform,
            environment: Environment::default(),
            arguments: Declared::default(),
            exposed: Exposed::default(),
            numbering,
            ignore_cache: false,
            has_cmd: false,
            has_workdir: false,
            seen: check::Seen::default(),
            is_base_unknown: false,
        }
    }

    /// How many bytes of the config every step may repeat.
    fn repeated_size(&self) -> usize {
        let config = &self.config.config;
        let shell: usize = config
            .shell
            .iter()
            .map(|word| size_of::<String>() + word.len())
            .sum();
        config.working_dir.len() + config.user.len() + shell
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
        state.config.write_directory_of_windows();
        state.config.config.env = state.variables.list();
        let layers = self.write_history(&mut state, target)?;
        let directive = self.dockerfile.directives.check.as_ref();
        Ok(Lowered {
            graph: self.graph,
            target: state.root,
            config: state.config,
            layers,
            base: state.base.map(Rc::unwrap_or_clone),
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
            self.finished.insert(index, state);
        }
    }

    fn step(&mut self, state: &mut State, step: &Step, index: usize) -> Checked<()> {
        self.ask_rules(state, &step.instruction);
        let span = step.instruction.span;
        self.charge(state.repeated_size(), span)?;
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
            Command::From(_) | Command::UnreadFrom(_) => {
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
        match expander.attempt(text) {
            Ok(expansion) => {
                self.charge(expansion.text.len() + STEP_COST * expansion.steps, span)?;
                self.undefined(state, &expansion.unmatched, span);
                Ok(expansion.text)
            }
            Err(failure) => {
                let error = self.failed(state, *failure, span);
                if let ExpandError::TooLong(bytes) = error {
                    self.charge(bytes, span)?;
                }
                let message = format!("{:?} cannot be expanded: {error}", beginning_of(text));
                Err(Box::new(Diagnostic::error("expansion", span, message)))
            }
        }
    }

    /// Tells the rules about names that have no value, and whether the error is certain.
    pub(super) fn failed(&self, state: &State, failure: Failure, span: Span) -> ExpandError {
        let was_uncertain = self.is_uncertain.get();
        self.undefined(state, &failure.unmatched, span);
        let depends_on_base =
            matches!(failure.error, ExpandError::Required { .. }) && state.is_base_unknown;
        self.is_uncertain.set(was_uncertain || depends_on_base);
        failure.error
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
            is_declared: &|name| state.arguments.contains(name),
            is_complete: !state.is_base_unknown,
        };
        let references = first_references(&self.dockerfile.source, span);
        // A word that is put together from pieces has none.
        let place = |name: &str| references.get(name).copied().unwrap_or(span);
        check::undefined_variables(&self.findings, instruction, names, &scope, &place);
    }

    /// Where the instruction stands that is being lowered.
    pub(super) fn current_span(&self) -> Span {
        let current = self.current.borrow();
        current
            .as_ref()
            .map_or_else(Span::default, |instruction| instruction.span)
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
                    "variables, ports and the texts of the history take more than {} MiB in all",
                    limits::VARIABLES >> 20
                );
                Err(Box::new(Diagnostic::error(TOO_LARGE, span, message)))
            }
        }
    }

    /// The name of a step whose variables are shown with their values.
    pub(super) fn expanded_name<'s>(&self, state: &State, step: &'s Step) -> Checked<Cow<'s, str>> {
        let expander = Expander::new(self.dockerfile.directives.escape_char(), &state.environment);
        self.shown(expander, &step.instruction.text, step.instruction.span)
    }

    /// An instruction as people see it: expanded, unless that fails.
    pub(super) fn shown<'t>(
        &self,
        expander: Expander<'_>,
        text: &'t str,
        span: Span,
    ) -> Checked<Cow<'t, str>> {
        let (shown, cost) = match expander.is_plain(text) {
            true => (Cow::Borrowed(text), 0),
            false => match expander.word(text) {
                Ok(expansion) => (Cow::Owned(expansion.text), STEP_COST * expansion.steps),
                Err(ExpandError::TooLong(bytes)) => (Cow::Borrowed(text), bytes),
                Err(_) => (Cow::Borrowed(text), 0),
            },
        };
        self.charge(shown.len() + cost, span)?;
        Ok(display::with_keyword_in_capitals(shown))
    }

    /// Adds an entry without a layer to the history.
    pub(super) fn history(&self, state: &mut State, created_by: String) {
        state.past.push(Text::Plain(created_by), None);
    }

    /// Adds a layer and its entry in the history.
    pub(super) fn layer(&self, state: &mut State, created_by: String, vertex: VertexId) {
        state.past.push(Text::Plain(created_by), Some(vertex));
    }

    /// Puts the history of the image together, which no other image shares.
    fn write_history(&self, state: &mut State, target: usize) -> Result<Vec<Layer>, Diagnostic> {
        if state.past.size() > limits::HISTORY {
            let message = format!(
                "the history of the image takes more than {} MiB; that of a RUN repeats all ARGs, and that of \
                 EXPOSE lists all ports",
                limits::HISTORY >> 20
            );
            let span = self.plan.stage_at(target).instruction.span;
            return Err(Diagnostic::error(TOO_LARGE, span, message));
        }
        if let Some(base) = &state.base {
            state.config.history.clone_from(&base.config.history);
        }
        let created = self.epoch.map(epoch::rfc3339);
        Ok(state
            .past
            .write(created.as_deref(), &mut state.config.history))
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

/// Where in a word `$name` or `${name` stands first, by name.
fn first_references(source: &Source, word: Span) -> HashMap<&str, Span> {
    let text = source.slice(word);
    let mut found = HashMap::new();
    for (dollar, _) in text.match_indices('$') {
        let behind = &text[dollar + 1..];
        let inner = behind.strip_prefix('{').unwrap_or(behind);
        let name = beginning_with_name(inner);
        let mut end = text.len() - inner.len() + name.len();
        if inner.len() < behind.len() && inner[name.len()..].starts_with('}') {
            end += 1;
        }
        let span = Span::new(word.start + dollar, word.start + end);
        found.entry(name).or_insert(span);
    }
    found
}

/// The name that a text begins with: a number, a name, or one sign.
fn beginning_with_name(text: &str) -> &str {
    let is_digit = |c: char| c.is_ascii_digit();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first = text.chars().next();
    let end = match first {
        Some(first) if is_digit(first) => text.find(|c| !is_digit(c)),
        Some(first) if is_name(first) => text.find(|c| !is_name(c)),
        first => first.map(char::len_utf8),
    };
    &text[..end.unwrap_or(text.len())]
}

/// What one step of matching a pattern takes from the budget, in bytes.
pub(super) const STEP_COST: usize = 4;

/// The code of the error that leaves nothing to go on with.
const TOO_LARGE: &str = "too-large";

/// A vertex's description.
pub(super) fn describe(name: String, span: Option<Span>) -> Description {
    Description {
        name,
        span: span.map(|span| SourceSpan {
            bytes: span.range(),
        }),
    }
}
