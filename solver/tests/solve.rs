//! Whole solves with an executor and a cache in memory: what runs, what hits, and that neither the
//! cache nor the number of places changes the result.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kiln_solver::graph::Description;
use kiln_solver::key::Difference;
use kiln_solver::miss::Reason;
use kiln_solver::op::{
    CopySource, FileAction, FileOp, InputIndex, LocalSource, Reads, Source, Unpack,
};
use kiln_solver::{
    Cache, Claim, ContentDigest, Earlier, Event, EventKind, Executor, Exit, Fact, Graph, Key, Op,
    Outcome, Progress, RelPath, Reporter, SolveError, Solver, Step, StepError, StepId, StepKeys,
    StepReporter, VertexId,
};
use proptest::prelude::*;

/// Yields text: a step's own and that of its inputs. Steps named `same` forget their inputs, `fail`
/// exits with 7.
#[derive(Default)]
struct Texts {
    context: String,
    ran: Mutex<Vec<String>>,
}

fn name_of(op: &Op) -> String {
    match op {
        Op::File(file) => match &file.actions[..] {
            [FileAction::Copy(copy)] => match &copy.sources[..] {
                [CopySource::Path(name)] => name.clone(),
                _ => unreachable!("these tests copy one path"),
            },
            _ => unreachable!("these tests have one action a step"),
        },
        _ => String::new(),
    }
}

#[async_trait]
impl Executor for Texts {
    type Output = Arc<str>;

    async fn run(
        &self,
        step: Step<Arc<str>>,
        inputs: Vec<Arc<str>>,
    ) -> Result<Outcome<Arc<str>>, StepError> {
        if let Op::Source(_) = *step.op {
            return Ok(Outcome::Done(self.context.as_str().into()));
        }
        // Lets others go first, so that places matter.
        tokio::task::yield_now().await;
        let name = name_of(&step.op);
        self.ran.lock().expect("unpoisoned").push(name.clone());
        Ok(match name.as_str() {
            "fail" => Outcome::Exited(Exit::Code(7)),
            "same" => Outcome::Done("same".into()),
            name => Outcome::Done(format!("{name}({})", inputs.join(",")).into()),
        })
    }

    async fn content(&self, output: &Arc<str>, _: &Reads) -> Result<ContentDigest, StepError> {
        Ok(ContentDigest::new(
            *blake3::hash(output.as_bytes()).as_bytes(),
        ))
    }
}

#[derive(Default)]
struct Memory(
    Mutex<HashMap<Key, Arc<str>>>,
    Mutex<Vec<StepKeys>>,
    Arc<Mutex<HashSet<Key>>>,
);

struct Claimed(Key, Arc<Mutex<HashSet<Key>>>);

impl Drop for Claimed {
    fn drop(&mut self) {
        self.1.lock().expect("unpoisoned").remove(&self.0);
    }
}

#[async_trait]
impl Cache<Arc<str>> for Memory {
    async fn look_up(&self, _step: Key, key: Key) -> Result<Option<Arc<str>>, StepError> {
        self.recall(key).await
    }

    async fn recall(&self, key: Key) -> Result<Option<Arc<str>>, StepError> {
        Ok(self.0.lock().expect("unpoisoned").get(&key).cloned())
    }

    async fn record(&self, keys: &StepKeys, output: &Arc<str>) -> Result<(), StepError> {
        let mut records = self.0.lock().expect("unpoisoned");
        records.insert(keys.definition, Arc::clone(output));
        records.insert(keys.content, Arc::clone(output));
        self.1.lock().expect("unpoisoned").push(keys.clone());
        Ok(())
    }

    async fn claim(&self, key: Key, reporter: &StepReporter) -> Result<Claim, StepError> {
        while !self.2.lock().expect("unpoisoned").insert(key) {
            tokio::task::yield_now().await;
        }
        Ok(Claim {
            reporter: reporter.clone(),
            guard: Box::new(Claimed(key, Arc::clone(&self.2))),
        })
    }

    async fn similar(&self, keys: &StepKeys) -> Result<Vec<Earlier>, StepError> {
        let recorded = self.1.lock().expect("unpoisoned").clone();
        let similar = recorded
            .into_iter()
            .rev()
            .filter(|other| other.outline == keys.outline || other.inputs == keys.inputs);
        let earlier = similar.map(|other| Earlier {
            content: other.content,
            explanation: other.explanation,
        });
        Ok(earlier.collect())
    }
}

#[derive(Default)]
struct Events(Mutex<Vec<(StepId, EventKind)>>);

impl Progress for Events {
    fn report(&self, event: Event) {
        self.0
            .lock()
            .expect("unpoisoned")
            .push((event.step, event.kind));
    }
}

fn source(graph: &mut Graph) -> VertexId {
    let op = Op::Source(Source::Local(LocalSource {
        name: "context".to_owned(),
    }));
    graph.add(op, Vec::new(), Description::default(), false)
}

/// A step that reads its inputs: at most two, as base and as source.
fn step(graph: &mut Graph, name: &str, inputs: Vec<VertexId>) -> VertexId {
    let copy = kiln_solver::op::Copy {
        from: inputs.len().checked_sub(1).map(InputIndex),
        sources: vec![CopySource::Path(name.to_owned())],
        destination: RelPath::root(),
        destination_is_directory: false,
        owner: None,
        mode: None,
        unpack: Unpack::Never,
        exclude: Vec::new(),
        keep_parents: false,
    };
    let op = Op::File(FileOp {
        base: Some(InputIndex(0)),
        actions: vec![FileAction::Copy(copy)],
    });
    graph.add(op, inputs, Description::default(), false)
}

struct Ran {
    result: Result<Arc<str>, SolveError>,
    steps: Vec<String>,
    events: Vec<(StepId, EventKind)>,
}

fn solve(
    graph: &Graph,
    target: VertexId,
    context: &str,
    cache: &Arc<Memory>,
    places: usize,
) -> Ran {
    let executor = Arc::new(Texts {
        context: context.to_owned(),
        ran: Mutex::default(),
    });
    let events = Arc::new(Events::default());
    let solver = Solver {
        executor: Arc::clone(&executor),
        cache: Arc::clone(cache),
        reporter: Reporter::new(Arc::clone(&events) as Arc<dyn Progress>),
        parallel_steps: places,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let result = runtime
        .block_on(solver.solve(graph, target))
        .map(|solved| solved.output);
    let mut steps = executor.ran.lock().expect("unpoisoned").clone();
    steps.sort();
    let events = events.0.lock().expect("unpoisoned").clone();
    Ran {
        result,
        steps,
        events,
    }
}

#[test]
fn a_second_solve_runs_nothing_and_a_change_runs_what_depends_on_it() {
    let mut graph = Graph::new();
    let context = source(&mut graph);
    let fixed = step(&mut graph, "fixed", Vec::new());
    let changing = step(&mut graph, "changing", vec![context]);
    let target = step(&mut graph, "target", vec![fixed, changing]);
    let cache = Arc::default();
    assert_eq!(
        solve(&graph, target, "1", &cache, 4).steps,
        ["changing", "fixed", "target"]
    );
    assert_eq!(solve(&graph, target, "1", &cache, 4).steps, [""; 0]);
    assert_eq!(
        solve(&graph, target, "2", &cache, 4).steps,
        ["changing", "target"]
    );
}

#[test]
fn a_step_that_yields_the_same_again_lets_what_follows_hit() {
    let mut graph = Graph::new();
    let context = source(&mut graph);
    let same = step(&mut graph, "same", vec![context]);
    let target = step(&mut graph, "target", vec![same]);
    let cache = Arc::default();
    solve(&graph, target, "1", &cache, 4);
    assert_eq!(solve(&graph, target, "2", &cache, 4).steps, ["same"]);
    // And the next time nothing has to be asked but the target.
    assert_eq!(solve(&graph, target, "2", &cache, 4).steps, [""; 0]);
}

/// Both miss before either has run.
#[test]
fn two_solves_at_once_run_each_step_once() {
    let mut graph = Graph::new();
    let context = source(&mut graph);
    let first = step(&mut graph, "first", vec![context]);
    let target = step(&mut graph, "target", vec![first]);
    let executor = Arc::new(Texts::default());
    let cache = Arc::new(Memory::default());
    let solver = || Solver {
        executor: Arc::clone(&executor),
        cache: Arc::clone(&cache),
        reporter: Reporter::new(Arc::new(Events::default())),
        parallel_steps: 1,
    };
    let (one, other) = (solver(), solver());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let both = async { tokio::join!(one.solve(&graph, target), other.solve(&graph, target)) };
    let (a, b) = runtime.block_on(both);
    assert_eq!(
        a.expect("it succeeds").output,
        b.expect("it succeeds").output
    );
    let ran = executor.ran.lock().expect("unpoisoned").clone();
    assert_eq!(ran, ["first", "target"]);
}

#[test]
fn a_failure_names_its_step_and_every_started_step_ends() {
    let mut graph = Graph::new();
    let context = source(&mut graph);
    let fail = step(&mut graph, "fail", vec![context]);
    let other = step(&mut graph, "other", vec![context]);
    let target = step(&mut graph, "target", vec![other, fail]);
    let ran = solve(&graph, target, "1", &Arc::default(), 4);
    let error = ran.result.expect_err("a step fails");
    let is_named = matches!(
        error,
        SolveError::Exited { vertex, exit: Exit::Code(7), .. } if vertex == fail
    );
    assert!(is_named, "{error:?}");
    for (id, kind) in &ran.events {
        if *kind == EventKind::Started {
            let ends = ran.events.iter().filter(|(other, kind)| {
                let is_end = matches!(
                    kind,
                    EventKind::Finished | EventKind::Failed { .. } | EventKind::Canceled
                );
                other == id && is_end
            });
            assert_eq!(ends.count(), 1, "{id:?} in {:?}", ran.events);
        }
    }
}

fn reasons(ran: &Ran) -> Vec<&Reason> {
    let reasons = ran.events.iter().filter_map(|(_, kind)| match kind {
        EventKind::Learned(Fact::Missed(miss)) => Some(&miss.reason),
        _ => None,
    });
    reasons.collect()
}

#[test]
fn a_miss_names_the_parts_that_differ_from_the_nearest_earlier_step() {
    let mut graph = Graph::new();
    let context = source(&mut graph);
    let first = step(&mut graph, "first", vec![context]);
    let cache = Arc::default();
    assert_eq!(
        reasons(&solve(&graph, first, "1", &cache, 1)),
        [&Reason::New]
    );

    let changed_context = solve(&graph, first, "2", &cache, 1);
    let [Reason::Changed { differences, .. }] = reasons(&changed_context)[..] else {
        panic!("{:?}", reasons(&changed_context));
    };
    // It reads the context twice: as base and as what is copied.
    assert_eq!(differences[0].path, "inputs.content.-");

    let second = step(&mut graph, "second", vec![context]);
    let changed_operation = solve(&graph, second, "2", &cache, 1);
    let [Reason::Changed { differences, .. }] = reasons(&changed_operation)[..] else {
        panic!("{:?}", reasons(&changed_operation));
    };
    let expected = Difference {
        path: "op.file.actions.-.copy.sources.-.path".to_owned(),
        before: vec!["first".to_owned()],
        after: vec!["second".to_owned()],
    };
    assert_eq!(*differences, [expected]);
}

/// A graph in which each step reads one or two earlier ones.
fn graph(edges: &[Vec<prop::sample::Index>]) -> (Graph, VertexId) {
    let mut graph = Graph::new();
    let mut vertices = vec![source(&mut graph)];
    for (number, inputs) in edges.iter().enumerate() {
        let mut inputs: Vec<_> = inputs.iter().map(|index| *index.get(&vertices)).collect();
        inputs.dedup();
        let name = if number % 4 == 3 {
            "same".to_owned()
        } else {
            format!("s{number}")
        };
        vertices.push(step(&mut graph, &name, inputs));
    }
    let target = *vertices.last().expect("there is a source");
    (graph, target)
}

proptest! {
    #[test]
    fn neither_cache_nor_places_change_the_result(
        edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), 1..20)
    ) {
        let (graph, target) = graph(&edges);
        let cache = Arc::default();
        let serial = solve(&graph, target, "1", &Arc::default(), 1).result.expect("it succeeds");
        for (context, places) in [("1", 8), ("2", 8), ("1", 2), ("2", 1)] {
            let found = solve(&graph, target, context, &cache, places).result.expect("it succeeds");
            let uncached = solve(&graph, target, context, &Arc::default(), 1);
            prop_assert_eq!(&found, &uncached.result.expect("it succeeds"));
        }
        let again = solve(&graph, target, "1", &cache, 3);
        prop_assert_eq!(&again.result.expect("it succeeds"), &serial);
        prop_assert_eq!(again.steps, Vec::<String>::new());
    }
}
