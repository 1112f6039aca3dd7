//! Which vertex is in which state, and what may be done next. Pure: time and results come from the
//! caller.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::graph::{Graph, VertexId};

/// Where a vertex stands. `transition` is the only place that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has asked for it.
    Idle,
    /// Its definition key is being looked up.
    LookingUpDefinition,
    /// It was not found; so many of its inputs are still to come.
    WaitingForInputs(usize),
    /// Its content key is being looked up.
    LookingUpContent,
    /// It must run and waits for a free place.
    Queued,
    /// It runs.
    Running,
    /// Its output is there.
    Done,
}

/// What the caller is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Look up the definition key.
    LookUpDefinition(VertexId),
    /// Look up the content key; all inputs are there.
    LookUpContent(VertexId),
    /// Run it; all inputs are there.
    Run(VertexId),
}

/// What the caller found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The key was in the cache, or the vertex ran: its output is there.
    Output,
    /// The key was not in the cache.
    Nothing,
}

/// The state of all vertices of one solve.
pub(crate) struct Schedule<'g> {
    graph: &'g Graph,
    states: Vec<State>,
    /// Vertices whose result, or something it rests on, may not come from a definition key.
    tainted: Vec<bool>,
    heights: Vec<usize>,
    queue: BinaryHeap<(usize, Reverse<VertexId>)>,
    free_places: usize,
    actions: Vec<Action>,
}

impl<'g> Schedule<'g> {
    /// Begins with nothing asked for; `places` vertices may run at once.
    pub(crate) fn new(graph: &'g Graph, places: usize) -> Self {
        let mut tainted = vec![false; graph.len()];
        for id in graph.ids() {
            let vertex = graph.vertex(id);
            tainted[id.index()] =
                vertex.ignore_cache || vertex.inputs.iter().any(|input| tainted[input.index()]);
        }
        Self {
            graph,
            states: vec![State::Idle; graph.len()],
            tainted,
            heights: graph.heights(),
            queue: BinaryHeap::new(),
            free_places: places.max(1),
            actions: Vec::new(),
        }
    }

    /// Notes that the output of a vertex is there from the start: a source.
    pub(crate) fn provide(&mut self, id: VertexId) {
        self.states[id.index()] = State::Done;
    }

    /// Asks for the output of a vertex.
    pub(crate) fn demand(&mut self, id: VertexId) {
        if self.states[id.index()] != State::Idle {
            return;
        }
        if self.tainted[id.index()] {
            self.wait_for_inputs(id);
        } else {
            self.transition(id, State::LookingUpDefinition);
        }
    }

    /// Takes what came of an action.
    pub(crate) fn complete(&mut self, action: Action, found: Found) {
        match (action, found) {
            (Action::Run(id), _) => {
                self.free_places += 1;
                self.transition(id, State::Done);
            }
            (Action::LookUpDefinition(id) | Action::LookUpContent(id), Found::Output) => {
                self.transition(id, State::Done);
            }
            (Action::LookUpDefinition(id), Found::Nothing) => self.wait_for_inputs(id),
            (Action::LookUpContent(id), Found::Nothing) => self.transition(id, State::Queued),
        }
    }

    /// What is to be done now; each action is returned once.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        while self.free_places > 0
            && let Some((_, Reverse(id))) = self.queue.pop()
        {
            self.free_places -= 1;
            self.transition(id, State::Running);
        }
        std::mem::take(&mut self.actions)
    }

    fn wait_for_inputs(&mut self, id: VertexId) {
        let mut inputs = self.graph.vertex(id).inputs.clone();
        inputs.sort_unstable();
        inputs.dedup();
        for input in &inputs {
            self.demand(*input);
        }
        let missing = inputs
            .iter()
            .filter(|input| self.states[input.index()] != State::Done)
            .count();
        self.transition(id, State::WaitingForInputs(missing));
    }

    fn transition(&mut self, id: VertexId, next: State) {
        self.states[id.index()] = next;
        match next {
            State::Idle => unreachable!("a vertex is never forgotten"),
            State::LookingUpDefinition => self.actions.push(Action::LookUpDefinition(id)),
            State::WaitingForInputs(0) if self.graph.vertex(id).ignore_cache => {
                self.transition(id, State::Queued);
            }
            State::WaitingForInputs(0) => self.transition(id, State::LookingUpContent),
            State::WaitingForInputs(_) => {}
            State::LookingUpContent => self.actions.push(Action::LookUpContent(id)),
            State::Queued => self.queue.push((self.heights[id.index()], Reverse(id))),
            State::Running => self.actions.push(Action::Run(id)),
            State::Done => self.wake_consumers(id),
        }
    }

    fn wake_consumers(&mut self, id: VertexId) {
        for consumer in self.graph.consumers(id) {
            if let State::WaitingForInputs(missing) = self.states[consumer.index()] {
                self.transition(consumer, State::WaitingForInputs(missing - 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Description;
    use crate::op::{FileOp, InputIndex, LocalSource, Op, Source};

    /// A source, two steps on it, and a step on both.
    fn diamond(ignore_cache: [bool; 3]) -> (Graph, [VertexId; 4]) {
        let mut graph = Graph::new();
        let op = Op::Source(Source::Local(LocalSource {
            name: "context".to_owned(),
        }));
        let source = graph.add(op, Vec::new(), Description::default(), false);
        let step = |base| {
            Op::File(FileOp {
                base,
                actions: Vec::new(),
            })
        };
        let left = graph.add(
            step(None),
            vec![source],
            Description::default(),
            ignore_cache[0],
        );
        let right = graph.add(
            step(Some(InputIndex(0))),
            vec![source],
            Description::default(),
            ignore_cache[1],
        );
        let top = graph.add(
            step(None),
            vec![left, right],
            Description::default(),
            ignore_cache[2],
        );
        (graph, [source, left, right, top])
    }

    fn started(graph: &Graph, source: VertexId, target: VertexId, places: usize) -> Schedule<'_> {
        let mut schedule = Schedule::new(graph, places);
        schedule.provide(source);
        schedule.demand(target);
        schedule
    }

    #[test]
    fn a_hit_at_the_top_looks_at_nothing_below() {
        let (graph, [source, _, _, top]) = diamond([false; 3]);
        let mut schedule = started(&graph, source, top, 8);
        assert_eq!(schedule.actions(), [Action::LookUpDefinition(top)]);
        schedule.complete(Action::LookUpDefinition(top), Found::Output);
        assert_eq!(schedule.actions(), []);
    }

    #[test]
    fn independent_steps_run_side_by_side_and_early_cutoff_stops_above_them() {
        let (graph, [source, left, right, top]) = diamond([false; 3]);
        let mut schedule = started(&graph, source, top, 8);
        schedule.actions();
        schedule.complete(Action::LookUpDefinition(top), Found::Nothing);
        let lookups = [
            Action::LookUpDefinition(left),
            Action::LookUpDefinition(right),
        ];
        assert_eq!(schedule.actions(), lookups);
        for lookup in lookups {
            schedule.complete(lookup, Found::Nothing);
        }
        let lookups = [Action::LookUpContent(left), Action::LookUpContent(right)];
        assert_eq!(schedule.actions(), lookups);
        for lookup in lookups {
            schedule.complete(lookup, Found::Nothing);
        }
        assert_eq!(schedule.actions(), [Action::Run(left), Action::Run(right)]);
        schedule.complete(Action::Run(right), Found::Output);
        assert_eq!(schedule.actions(), []);
        schedule.complete(Action::Run(left), Found::Output);
        assert_eq!(schedule.actions(), [Action::LookUpContent(top)]);
        schedule.complete(Action::LookUpContent(top), Found::Output);
        assert_eq!(schedule.actions(), []);
    }

    #[test]
    fn what_may_not_come_from_the_cache_runs_though_the_top_is_known() {
        let (graph, [source, left, right, top]) = diamond([true, false, false]);
        let mut schedule = started(&graph, source, top, 8);
        assert_eq!(
            schedule.actions(),
            [Action::LookUpDefinition(right), Action::Run(left)]
        );
        schedule.complete(Action::LookUpDefinition(right), Found::Output);
        schedule.complete(Action::Run(left), Found::Output);
        assert_eq!(schedule.actions(), [Action::LookUpContent(top)]);
    }

    #[test]
    fn no_more_run_at_once_than_there_are_places() {
        let (graph, [source, left, right, top]) = diamond([true; 3]);
        let mut schedule = started(&graph, source, top, 1);
        assert_eq!(schedule.actions(), [Action::Run(left)]);
        schedule.complete(Action::Run(left), Found::Output);
        assert_eq!(schedule.actions(), [Action::Run(right)]);
        schedule.complete(Action::Run(right), Found::Output);
        assert_eq!(schedule.actions(), [Action::Run(top)]);
    }
}
