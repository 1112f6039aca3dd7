//! What will be wanted of the results of a graph's steps, known before any of them runs, so that it can be made
//! while others run. Nothing but speed depends on it.

use std::collections::HashSet;
use std::sync::Arc;

use kiln_solver::op::Op;
use kiln_solver::{Graph, VertexId};

use crate::layer::Ahead;

/// What is foreseen; nothing by default.
#[derive(Default)]
pub struct Foresight {
    exported: Option<ExportedLayers>,
    before_commands: HashSet<VertexId>,
}

/// The steps whose layers will leave the store compressed, and what compresses them meanwhile.
pub struct ExportedLayers {
    /// The steps.
    pub vertices: HashSet<VertexId>,
    /// What compresses.
    pub ahead: Arc<Ahead>,
}

impl Foresight {
    /// What will follow in `graph` on the way to `target`, whose `exported` layers will leave the store.
    pub fn of(graph: &Graph, target: VertexId, exported: Option<ExportedLayers>) -> Self {
        let is_command = |id: &VertexId| matches!(*graph.vertex(*id).op, Op::Exec(_));
        let mut before_commands = HashSet::new();
        for id in graph.needed_by(target).into_iter().rev() {
            if is_command(&id) || before_commands.contains(&id) {
                before_commands.extend(&graph.vertex(id).inputs);
            }
        }
        Self {
            exported,
            before_commands,
        }
    }

    /// What compresses the layer of a step, if that will leave the store.
    pub(super) fn ahead(&self, vertex: VertexId) -> Option<&Arc<Ahead>> {
        let exported = self.exported.as_ref()?;
        let is_exported = exported.vertices.contains(&vertex);
        is_exported.then_some(&exported.ahead)
    }

    /// Whether a command waits for the result of a step, or for what is made of it.
    pub(super) fn is_before_a_command(&self, vertex: VertexId) -> bool {
        self.before_commands.contains(&vertex)
    }
}
