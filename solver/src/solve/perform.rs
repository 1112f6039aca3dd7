//! The single actions of a solve: open a source, look a key up, run a step and record it.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::{SolveError, Solver};
use crate::digest::Key;
use crate::execute::{Cache, Executor, Exit, Outcome, Step, StepError, StepKeys};
use crate::graph::VertexId;
use crate::key::{InputPart, KeyPart, content_key, explain, inputs_key, outline_key};
use crate::miss::{self, Miss, Reason};
use crate::op::{InputIndex, Op};
use crate::progress::{Fact, StepReporter};
use crate::schedule::Action;

/// What came of an action.
pub(super) struct Completed<O> {
    pub(super) action: Action,
    pub(super) output: Option<O>,
}

/// What an action needs to know, apart from the run's own state.
pub(super) struct Task {
    pub(super) action: Action,
    pub(super) id: VertexId,
    pub(super) op: Arc<Op>,
    pub(super) definition: Option<Key>,
    pub(super) reporter: StepReporter,
    /// The names of its inputs.
    pub(super) inputs: Vec<String>,
    /// What an explanation says beside the parts of the key.
    pub(super) about: Vec<KeyPart>,
    /// Whether it may not come from the cache.
    pub(super) ignore_cache: bool,
}

impl Task {
    fn step<O>(&self) -> Step<O> {
        Step {
            vertex: self.id,
            op: Arc::clone(&self.op),
            reporter: self.reporter.clone(),
            earlier: None,
        }
    }

    fn exited(&self, exit: Exit) -> SolveError {
        let command = match &*self.op {
            Op::Exec(exec) => exec.args.join(" "),
            _ => String::new(),
        };
        SolveError::Exited {
            vertex: self.id,
            command,
            exit,
        }
    }

    fn fail(&self) -> impl FnOnce(StepError) -> SolveError + use<> {
        let vertex = self.id;
        move |source| SolveError::Step { vertex, source }
    }
}

pub(super) async fn perform_source<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: Task,
) -> Result<(VertexId, E::Output), SolveError> {
    let outcome = solver
        .executor
        .run(task.step(), Vec::new())
        .await
        .map_err(task.fail())?;
    match outcome {
        Outcome::Done(output) => Ok((task.id, output)),
        Outcome::Exited(exit) => Err(task.exited(exit)),
    }
}

pub(super) async fn perform<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: Task,
    inputs: Vec<E::Output>,
) -> Result<Completed<E::Output>, SolveError> {
    let definition = task
        .definition
        .expect("all definition keys are computed first");
    let output = match task.action {
        Action::LookUpDefinition(_) => look_up(solver, &task, definition, definition).await?,
        Action::LookUpContent(_) => look_up_content(solver, &task, definition, &inputs).await?,
        Action::Run(_) => Some(run_and_record(solver, &task, definition, inputs).await?),
    };
    Ok(Completed {
        action: task.action,
        output,
    })
}

/// Looks up a key of a step, and says whose record it was.
async fn look_up<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    definition: Key,
    key: Key,
) -> Result<Option<E::Output>, SolveError> {
    let found = solver.cache.look_up(definition, key).await;
    let found = found.map_err(task.fail())?;
    if found.is_some()
        && let Some(origin) = solver.cache.origin(&key)
    {
        task.reporter.learned(Fact::Origin(origin));
    }
    Ok(found)
}

/// Looks up a content key; a hit is recorded under the definition key too, so that the next build
/// finds it before its inputs are known.
async fn look_up_content<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    definition: Key,
    inputs: &[E::Output],
) -> Result<Option<E::Output>, SolveError> {
    let mut keys = step_keys(solver, task, definition, inputs).await?;
    let found = look_up(solver, task, definition, keys.content).await?;
    if let Some(output) = &found {
        list_files(solver, task, &mut keys, inputs).await;
        solver
            .cache
            .record(&keys, output)
            .await
            .map_err(task.fail())?;
    }
    Ok(found)
}

/// Runs a step, unless another build runs it at the same time: then its result is taken.
async fn run_and_record<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    definition: Key,
    inputs: Vec<E::Output>,
) -> Result<E::Output, SolveError> {
    let mut keys = step_keys(solver, task, definition, &inputs).await?;
    list_files(solver, task, &mut keys, &inputs).await;
    let (executor, cache) = (&solver.executor, &solver.cache);
    let mut step = task.step();
    // What may not come from the cache must not come from another build either.
    let _claim = if task.ignore_cache {
        None
    } else {
        let claim = cache.claim(keys.content, &task.reporter).await;
        let claim = claim.map_err(task.fail())?;
        let found = cache.look_up(definition, keys.content).await;
        let found = found.map_err(task.fail())?;
        if let Some(output) = found {
            cache.record(&keys, &output).await.map_err(task.fail())?;
            return Ok(output);
        }
        step.reporter = claim.reporter;
        Some(claim.guard)
    };
    step.earlier = explain_miss(solver, task, &keys).await?;
    let outcome = executor.run(step, inputs).await.map_err(task.fail())?;
    match outcome {
        Outcome::Exited(exit) => Err(task.exited(exit)),
        Outcome::Done(output) => {
            cache.record(&keys, &output).await.map_err(task.fail())?;
            Ok(output)
        }
    }
}

/// Says why the step runs, and returns what the most similar earlier step yielded.
async fn explain_miss<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    keys: &StepKeys,
) -> Result<Option<E::Output>, SolveError> {
    let (reason, earlier) = if task.ignore_cache {
        (Reason::Forbidden, None)
    } else {
        let similar = solver.cache.similar(keys).await.map_err(task.fail())?;
        miss::explain(keys, similar)
    };
    task.reporter.learned(Fact::Missed(Arc::new(Miss {
        inputs: task.inputs.clone(),
        reason,
    })));
    match earlier {
        Some(key) => solver.cache.recall(key).await.map_err(task.fail()),
        None => Ok(None),
    }
}

async fn step_keys<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    definition: Key,
    inputs: &[E::Output],
) -> Result<StepKeys, SolveError> {
    let parts = inputs
        .iter()
        .enumerate()
        .map(|(index, output)| content_part(solver, task.id, &task.op, index, output));
    let parts = try_join_all(parts).await?;
    let content = content_key(&task.op, &parts);
    task.reporter.learned(Fact::Content(content));
    Ok(StepKeys {
        definition,
        content,
        outline: outline_key(&task.op),
        inputs: inputs_key(&parts),
        explanation: [task.about.clone(), explain(&task.op, &parts)].concat(),
    })
}

/// Adds to an explanation which files the step reads. It is no worse a step if they cannot be listed.
async fn list_files<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    task: &Task,
    keys: &mut StepKeys,
    inputs: &[E::Output],
) {
    for (index, output) in inputs.iter().enumerate() {
        for reading in task.op.listed(InputIndex(index)) {
            let files = solver.executor.listing(output, &reading).await;
            let parts = files.unwrap_or_default().into_iter();
            let parts = parts.map(|file| miss::about_file(index, &file));
            keys.explanation.extend(parts);
        }
    }
}

pub(super) async fn content_part<E: Executor, C: Cache<E::Output>>(
    solver: &Solver<E, C>,
    vertex: VertexId,
    op: &Op,
    index: usize,
    output: &E::Output,
) -> Result<InputPart, SolveError> {
    let reads = op.reads(InputIndex(index));
    let contents = reads
        .iter()
        .map(|reads| solver.executor.content(output, reads));
    let contents = try_join_all(contents).await;
    contents
        .map(InputPart::Content)
        .map_err(|source| SolveError::Step { vertex, source })
}
