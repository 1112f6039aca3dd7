//! What a stage begins with: FROM an image, an earlier stage, a named context or nothing; and the
//! vertices that files come from.

use std::rc::Rc;

use kiln_solver::op::{
    Copy, CopySource, FileAction, FileOp, ImageSource, InputIndex, LocalSource, Op, Source, Unpack,
};
use kiln_solver::{DiffId, Platform, RelPath, VertexId};

use super::display::Numbering;
use super::environment::Environment;
use super::image_variables::ImageVariables;
use super::plan::{Base, Origin, PlannedStage, Step};
use super::root::Root;
use super::stage::{Builder, State, describe};
use super::{Checked, ImageLocation, NoCache, ResolvedImage};
use crate::check;
use crate::diagnostic::Diagnostic;
use crate::image_config::default_path;
use crate::source::Span;
use crate::syntax::Command;

/// What a variable that a stage inherits takes from the budget, in bytes.
const INHERITANCE_COST: usize = 64;

impl Builder<'_> {
    /// The state right behind FROM.
    pub(super) fn begin(&mut self, index: usize, planned: &PlannedStage) -> Checked<State> {
        let span = self.plan.stage_at(index).instruction.span;
        let numbering = self.numbering(index, planned);
        let mut state = match &planned.base {
            Base::Stage(base) => self.child_of(*base, numbering, span)?,
            Base::Root(root) => self.on_root(root, planned.platform.as_ref(), numbering, span)?,
        };
        if let (Base::Root(Root::Image { context: None, .. }), Some(image)) =
            (&planned.base, &state.base)
            && !image.config.rootfs.diff_ids.is_empty()
        {
            let place = self.plan.stage_at(index).from.image.span;
            let found = image.config.platform();
            self.base_found(&planned.image, &state.platform, &found, place);
        }
        state.ignore_cache = self.ignores_cache(index);
        state.config.config.on_build.clear();
        if let Some(path) = default_path(&state.platform.os)
            && !state.variables.contains("PATH")
        {
            state.variables.set("PATH", path);
        }
        state.environment.set_all(state.variables.iter());
        if state.arguments.len() > 0 {
            let names = state.variables.iter().map(|(name, _)| name);
            names.for_each(|name| state.arguments.changed(name));
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
        let variables = base.environment.len() + base.arguments.len();
        self.charge(INHERITANCE_COST * variables + base.config.size(), span)?;
        if self.options.multi_platform {
            numbering.platform = Some(base.platform.clone());
        }
        Ok(State {
            numbering,
            has_cmd: false,
            seen: check::Seen::default(),
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
        let is_unknown = base.is_none();
        let vertex = self.root_vertex(root, Some(&mut numbering), span)?;
        let mut state = State {
            root: vertex,
            is_base_unknown: matches!(root, Root::Image { .. }) && is_unknown,
            ..State::new(platform, numbering)
        };
        if let Some(image) = &base {
            self.charge(image.config.size(), span)?;
            state.config = image.config.clone();
            state.config.created = None;
            state.config.history.clear();
            let variables = std::mem::take(&mut state.config.config.env);
            state.variables = ImageVariables::new(variables);
        }
        state.base = base.map(Rc::new);
        match (root, vertex) {
            (Root::Local { context, .. }, Some(vertex)) => {
                self.directory_as_image(&mut state, context, vertex, span);
            }
            (Root::Remote { context, .. }, Some(vertex)) => {
                self.layer(&mut state, format!("FROM {context} # buildkit"), vertex);
            }
            _ => {}
        }
        Ok(state)
    }

    /// What a stage begins with that could not be understood.
    pub(super) fn unknown_state(&self) -> State {
        State {
            is_base_unknown: true,
            ..State::new(self.options.target_platform().clone(), Numbering::default())
        }
    }

    /// A directory has no layers, so all of it is copied to one.
    fn directory_as_image(
        &mut self,
        state: &mut State,
        context: &str,
        directory: VertexId,
        span: Span,
    ) {
        let copy = FileAction::Copy(Copy {
            from: Some(InputIndex(0)),
            sources: vec![CopySource::Path("/".to_owned())],
            destination: RelPath::root(),
            destination_is_directory: true,
            owner: None,
            mode: None,
            unpack: Unpack::Never,
            exclude: Vec::new(),
            keep_parents: false,
        });
        let name = format!("[context {context}] FROM");
        let op = Op::File(FileOp {
            base: None,
            actions: vec![copy],
        });
        let vertex = self
            .graph
            .add(op, vec![directory], describe(name, Some(span)), false);
        state.root = Some(vertex);
        self.layer(state, format!("FROM {context} # buildkit"), vertex);
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
            Root::Remote { source, context } => {
                let name = format!("[context {context}] {}", source.describe());
                return self.remote_vertex(source, name, span);
            }
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
        if let Some(vertex) = self.options.context.vertex(&mut self.graph) {
            return vertex;
        }
        let source = Source::Local(LocalSource {
            name: "context".to_owned(),
        });
        let description = describe("[internal] load build context".to_owned(), None);
        let vertex = self
            .graph
            .add(Op::Source(source), Vec::new(), description, false);
        let rules = self.options.ignored.texts().map(str::to_owned).collect();
        self.graph.note_ignored(vertex, rules);
        vertex
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
