//! What somebody else's records may say of the steps of a build. They are believed only where nobody can know
//! better: the layers below are those of what a step stands on, and what a digest names is had by its digest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_solver::op::{CopySource, FileAction, Source};
use kiln_solver::{Graph, Key, Op, VertexId};

use crate::snapshot::{Snapshot, SnapshotLayer};

/// A build's steps, and what each of them came to as far as that is known.
#[derive(Default)]
pub(crate) struct Beliefs {
    steps: HashMap<Key, Expected>,
    yielded: Mutex<HashMap<Key, Arc<Snapshot>>>,
}

/// What a step's result must be like.
struct Expected {
    /// What it begins with, lowest first.
    bases: Vec<Base>,
    /// How many layers come on top.
    new_layers: usize,
    /// Whether digests or the Dockerfile itself name what it brings.
    is_named_by_digest: bool,
}

enum Base {
    Image(Arc<Snapshot>),
    /// A step, by its definition key.
    Step(Key),
}

impl Beliefs {
    /// Those about the needed vertices of a graph. `find` is asked for the result that will be used of each
    /// step if nothing below it has to run; it may ask what is believed of the steps before.
    pub(crate) fn of(
        graph: &Graph,
        needed: &[VertexId],
        definitions: &[Option<Key>],
        find: &dyn Fn(&Self, &Key) -> Option<Snapshot>,
    ) -> Self {
        let mut beliefs = Self::default();
        for id in needed {
            let Some(Some(key)) = definitions.get(id.index()) else {
                continue;
            };
            if let Some(expected) = Expected::of(graph, *id, definitions) {
                beliefs.steps.insert(*key, expected);
            }
            if !graph.vertex(*id).ignore_cache
                && let Some(snapshot) = find(&beliefs, key)
            {
                beliefs.yields(key, &snapshot);
            }
        }
        beliefs
    }

    /// Notes what a step came to.
    pub(crate) fn yields(&self, step: &Key, snapshot: &Snapshot) {
        if self.steps.contains_key(step) {
            let snapshot = Arc::new(snapshot.clone());
            self.yielded().insert(*step, snapshot);
        }
    }

    /// Whether a step may have come to this, as somebody else says; `step` is its definition key. What the
    /// layers hold must be true: see [`super::StepImport::proves`].
    pub(crate) fn allow(&self, step: &Key, result: &Snapshot) -> bool {
        let Some(expected) = self.steps.get(step) else {
            return false;
        };
        let mut rest = &result.layers[..];
        for base in &expected.bases {
            let below = match base {
                Base::Image(snapshot) => Arc::clone(snapshot),
                Base::Step(key) => match self.yielded().get(key) {
                    Some(snapshot) => Arc::clone(snapshot),
                    None => return false,
                },
            };
            match rest.split_at_checked(below.layers.len()) {
                Some((begin, end)) if hold_the_same(begin, &below.layers) => rest = end,
                _ => return false,
            }
        }
        let is_new = |layer: &SnapshotLayer| !layer.is_named_by_its_bytes();
        !expected.is_named_by_digest && rest.len() == expected.new_layers && rest.iter().all(is_new)
    }

    fn yielded(&self) -> MutexGuard<'_, HashMap<Key, Arc<Snapshot>>> {
        self.yielded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Layers that differ in nothing but times hold the same: see [`Snapshot::content`].
fn hold_the_same(some: &[SnapshotLayer], others: &[SnapshotLayer]) -> bool {
    let contents =
        |layers: &[SnapshotLayer]| -> Vec<_> { layers.iter().map(|layer| layer.content).collect() };
    contents(some) == contents(others)
}

impl Expected {
    /// `None` if it stands on something that has no key, of which nothing can be said.
    fn of(graph: &Graph, id: VertexId, definitions: &[Option<Key>]) -> Option<Self> {
        let vertex = graph.vertex(id);
        let base = |input: VertexId| match &*graph.vertex(input).op {
            Op::Source(Source::Image(image)) => {
                let snapshot = Snapshot::of_image(&image.diff_ids);
                Some(Base::Image(Arc::new(snapshot)))
            }
            _ => Some(Base::Step((*definitions.get(input.index())?)?)),
        };
        let bases = vertex.op.bases(vertex.inputs.len()).into_iter();
        let bases: Option<Vec<Base>> = bases.map(|index| base(vertex.inputs[index.0])).collect();
        let is_named = |action| brings_what_is_named(graph, &vertex.inputs, action);
        Some(Self {
            bases: bases?,
            new_layers: usize::from(!matches!(&*vertex.op, Op::Merge)),
            is_named_by_digest: match &*vertex.op {
                Op::Source(_) => true,
                Op::File(file) => file.actions.iter().any(is_named),
                Op::Exec(_) | Op::Merge => false,
            },
        })
    }
}

/// Whether a change takes files from a pinned source, or from the Dockerfile.
fn brings_what_is_named(graph: &Graph, inputs: &[VertexId], action: &FileAction) -> bool {
    let FileAction::Copy(copy) = action else {
        return false;
    };
    let from = copy.from.map(|index| graph.vertex(inputs[index.0]));
    let is_pinned =
        from.is_some_and(|from| matches!(&*from.op, Op::Source(source) if source.is_pinned()));
    let mut sources = copy.sources.iter();
    is_pinned || sources.any(|source| matches!(source, CopySource::Inline { .. }))
}
