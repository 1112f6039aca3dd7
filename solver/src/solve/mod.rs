//! Drives a schedule: opens the sources, computes keys, asks the cache, runs what misses, records.

mod perform;

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::digest::Key;
use crate::execute::{Cache, Executor, Exit, StepError};
use crate::graph::{Graph, VertexId};
use crate::key::{InputPart, definition_key};
use crate::miss;
use crate::op::Op;
use crate::progress::{Fact, Hit, Reporter, StepReporter};
use crate::schedule::{Action, Found, Schedule};
use perform::{Completed, Task, content_part, perform, perform_source};

/// Why a build did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// A command ran and failed.
    #[error("process {command:?} did not complete successfully: {exit}")]
    Exited {
        /// The step.
        vertex: VertexId,
        /// Program and arguments, joined by blanks.
        command: String,
        /// How it ended.
        exit: Exit,
    },
    /// A step could not be performed.
    #[error("{source}")]
    Step {
        /// The step.
        vertex: VertexId,
        /// What went wrong.
        source: StepError,
    },
}

/// What a build came to.
pub struct Solved<O> {
    /// The target's output.
    pub output: O,
    /// The output of every vertex that was asked for, by [`VertexId::index`].
    pub outputs: Vec<Option<O>>,
    /// The definition key of every vertex that has one, by [`VertexId::index`].
    pub definitions: Vec<Option<Key>>,
}

/// Builds targets of graphs.
pub struct Solver<E: Executor, C: Cache<E::Output>> {
    /// Performs steps.
    pub executor: Arc<E>,
    /// Remembers results.
    pub cache: Arc<C>,
    /// Announces steps.
    pub reporter: Reporter,
    /// How many steps may run at once.
    pub parallel_steps: usize,
}

impl<E: Executor, C: Cache<E::Output>> Solver<E, C> {
    /// Builds one target. The first failure ends everything that still runs.
    pub async fn solve(
        &self,
        graph: &Graph,
        target: VertexId,
    ) -> Result<Solved<E::Output>, SolveError> {
        let needed = graph.needed_by(target);
        let mut run = Run::new(self, graph, &needed);
        let result = run.drive(&needed, target).await;
        if result.is_err() {
            run.cancel_unfinished();
        }
        result.map(|output| Solved {
            output,
            outputs: run.outputs,
            definitions: run.definitions,
        })
    }
}

/// One solve under way.
struct Run<'s, E: Executor, C: Cache<E::Output>> {
    solver: &'s Solver<E, C>,
    graph: &'s Graph,
    reporters: Vec<Option<StepReporter>>,
    /// Steps that were started and have not ended.
    unfinished: Vec<bool>,
    /// Steps that nobody will ask for, since what needs them came from the cache.
    spared: Vec<bool>,
    /// Steps that ran.
    ran: Vec<bool>,
    definitions: Vec<Option<Key>>,
    outputs: Vec<Option<E::Output>>,
}

impl<'s, E: Executor, C: Cache<E::Output>> Run<'s, E, C> {
    fn new(solver: &'s Solver<E, C>, graph: &'s Graph, needed: &[VertexId]) -> Self {
        let mut reporters: Vec<Option<StepReporter>> = vec![None; graph.len()];
        for id in needed {
            let vertex = graph.vertex(*id);
            let (name, span) = (&vertex.description.name, &vertex.description.span);
            let inputs = vertex.inputs.iter();
            let mut inputs: Vec<_> = inputs
                .filter_map(|input| Some(reporters[input.index()].as_ref()?.id()))
                .collect();
            inputs.sort_unstable();
            inputs.dedup();
            let reporter = solver
                .reporter
                .announce_on(name.clone(), span.clone(), inputs);
            reporters[id.index()] = Some(reporter);
        }
        Self {
            solver,
            graph,
            reporters,
            unfinished: vec![false; graph.len()],
            spared: vec![false; graph.len()],
            ran: vec![false; graph.len()],
            definitions: vec![None; graph.len()],
            outputs: vec![None; graph.len()],
        }
    }

    async fn drive(
        &mut self,
        needed: &[VertexId],
        target: VertexId,
    ) -> Result<E::Output, SolveError> {
        self.open_sources(needed).await?;
        let keyed = self.compute_definitions(needed).await;
        self.finish_sources(needed);
        keyed.inspect_err(|error| self.fail(error))?;
        let cache = &self.solver.cache;
        cache.expect(self.graph, needed, &self.definitions);
        let mut schedule = Schedule::new(self.graph, self.solver.parallel_steps);
        for id in needed {
            if self.is_source(*id) {
                schedule.provide(*id);
            }
        }
        schedule.demand(target);
        let mut under_way = FuturesUnordered::new();
        loop {
            for action in schedule.actions() {
                if let Action::Run(id) = action {
                    self.start(id);
                }
                let inputs = self.inputs_of(action);
                under_way.push(perform(self.solver, self.task(action), inputs));
            }
            let Some(completed) = under_way.next().await else {
                break;
            };
            let Completed { action, output } = match completed {
                Ok(completed) => completed,
                Err(error) => {
                    self.fail(&error);
                    return Err(error);
                }
            };
            let found = if output.is_some() {
                Found::Output
            } else {
                Found::Nothing
            };
            if let Some(output) = output {
                self.finish(action, output);
            }
            schedule.complete(action, found);
        }
        let output = self.outputs[target.index()].clone();
        Ok(output.expect("the schedule ends only when the target is done"))
    }

    async fn open_sources(&mut self, needed: &[VertexId]) -> Result<(), SolveError> {
        let sources: Vec<_> = needed
            .iter()
            .copied()
            .filter(|id| self.is_source(*id))
            .collect();
        for id in &sources {
            self.start(*id);
        }
        let tasks = sources.iter().map(|id| self.task(Action::Run(*id)));
        let mut opened: FuturesUnordered<_> = tasks
            .map(|task| perform_source(self.solver, task))
            .collect();
        while let Some(result) = opened.next().await {
            match result {
                Ok((id, output)) => self.outputs[id.index()] = Some(output),
                Err(error) => {
                    self.fail(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A source is read when the keys of what needs it are computed: only then it is done.
    fn finish_sources(&mut self, needed: &[VertexId]) {
        for id in needed {
            if self.is_source(*id) {
                self.unfinished[id.index()] = false;
                self.reporter(*id).finished();
            }
        }
    }

    async fn compute_definitions(&mut self, needed: &[VertexId]) -> Result<(), SolveError> {
        for id in needed.iter().copied() {
            if self.is_source(id) {
                continue;
            }
            let vertex = self.graph.vertex(id);
            let mut parts = Vec::with_capacity(vertex.inputs.len());
            for (index, input) in vertex.inputs.iter().enumerate() {
                parts.push(
                    match (
                        &self.definitions[input.index()],
                        &self.outputs[input.index()],
                    ) {
                        (Some(key), _) => InputPart::Definition(*key),
                        (None, Some(output)) => {
                            content_part(self.solver, id, &vertex.op, index, output).await?
                        }
                        (None, None) => unreachable!("inputs come before what needs them"),
                    },
                );
            }
            let key = definition_key(&vertex.op, &parts);
            self.reporter(id).learned(Fact::Definition(key));
            self.definitions[id.index()] = Some(key);
        }
        Ok(())
    }

    /// Whether a vertex must be opened before a key can be known.
    fn is_source(&self, id: VertexId) -> bool {
        matches!(&*self.graph.vertex(id).op, Op::Source(source) if !source.is_pinned())
    }

    fn task(&self, action: Action) -> Task {
        let (Action::LookUpDefinition(id) | Action::LookUpContent(id) | Action::Run(id)) = action;
        let vertex = self.graph.vertex(id);
        let name = |input: &VertexId| self.graph.vertex(*input).description.name.clone();
        Task {
            action,
            id,
            op: Arc::clone(&vertex.op),
            inputs: vertex.inputs.iter().map(name).collect(),
            about: miss::about(self.graph, &vertex.inputs),
            ignore_cache: vertex.ignore_cache,
            definition: self.definitions[id.index()],
            reporter: self.reporters[id.index()]
                .clone()
                .expect("needed vertices are announced"),
        }
    }

    fn inputs_of(&self, action: Action) -> Vec<E::Output> {
        match action {
            Action::LookUpDefinition(_) => Vec::new(),
            Action::LookUpContent(id) | Action::Run(id) => {
                let inputs = self.graph.vertex(id).inputs.iter();
                let output = |input: &VertexId| self.outputs[input.index()].clone();
                inputs
                    .map(|i| output(i).expect("inputs are done before"))
                    .collect()
            }
        }
    }

    fn reporter(&self, id: VertexId) -> &StepReporter {
        self.reporters[id.index()]
            .as_ref()
            .expect("needed vertices are announced")
    }

    fn start(&mut self, id: VertexId) {
        self.unfinished[id.index()] = true;
        self.reporter(id).started();
    }

    fn finish(&mut self, action: Action, output: E::Output) {
        match action {
            Action::Run(id) => {
                self.unfinished[id.index()] = false;
                self.ran[id.index()] = true;
                self.reporter(id).finished();
                self.outputs[id.index()] = Some(output);
            }
            Action::LookUpDefinition(id) => self.hit(id, output, Hit::SameDefinition),
            Action::LookUpContent(id) => self.hit(id, output, Hit::SameContent),
        }
    }

    fn hit(&mut self, id: VertexId, output: E::Output, why: Hit) {
        self.outputs[id.index()] = Some(output);
        self.report_spared_before(id);
        self.report_reproduced_below(id);
        self.reporter(id).learned(Fact::Hit(why));
        self.reporter(id).cached();
    }

    /// Reports of steps that a hit is based on and that ran all the same that what they yielded was known.
    fn report_reproduced_below(&mut self, hit: VertexId) {
        for id in self.graph.based_on(hit) {
            // It is said once, however many steps hit behind it.
            if std::mem::take(&mut self.ran[id.index()]) {
                self.reporter(id).learned(Fact::Reproduced);
            }
        }
    }

    /// Reports as cached what nobody will ask for any more, because all that needs it is known: it
    /// comes before what spared it, as in the Dockerfile.
    fn report_spared_before(&mut self, hit: VertexId) {
        let below = self.graph.needed_by(hit);
        let mut newly_spared = Vec::new();
        for id in below.into_iter().rev() {
            let is_settled = |id: &VertexId| {
                let is_announced = self.reporters[id.index()].is_some();
                !is_announced || self.outputs[id.index()].is_some() || self.spared[id.index()]
            };
            let is_open = self.outputs[id.index()].is_none() && !self.spared[id.index()];
            if is_open && self.graph.consumers(id).iter().all(is_settled) {
                self.spared[id.index()] = true;
                newly_spared.push(id);
            }
        }
        for id in newly_spared.into_iter().rev() {
            self.reporter(id).learned(Fact::Hit(Hit::NotNeeded));
            self.reporter(id).cached();
        }
    }

    fn fail(&mut self, error: &SolveError) {
        let (SolveError::Exited { vertex, .. } | SolveError::Step { vertex, .. }) = error;
        // A step can fail before it runs, when its key is computed.
        if !std::mem::take(&mut self.unfinished[vertex.index()]) {
            self.reporter(*vertex).started();
        }
        if let SolveError::Exited { exit, .. } = error {
            self.reporter(*vertex).learned(Fact::Exited(*exit));
        }
        self.reporter(*vertex).failed(error.to_string());
    }

    fn cancel_unfinished(&mut self) {
        for id in self.graph.ids() {
            if std::mem::take(&mut self.unfinished[id.index()]) {
                self.reporter(id).canceled();
            }
        }
    }
}
