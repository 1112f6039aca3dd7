//! The graph of a build: vertices that do something, edges to what they need.
//!
//! Acyclic by construction, since a vertex can only be added after its inputs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::op::{InputIndex, Op};

/// Names a vertex of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(NodeIndex);

impl VertexId {
    /// The vertex's position, dense from 0 in the order of adding.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// One operation of a build.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// What it does. Shared, because running steps outlive a borrow of the graph.
    pub op: Arc<Op>,
    /// What it needs, in the positions that the operation refers to.
    pub inputs: Vec<VertexId>,
    /// What people see of it. Never hashed.
    pub description: Description,
    /// Whether its result may not come from the cache. Never hashed.
    pub ignore_cache: bool,
}

/// What people see of a vertex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// One line, such as `[builder 2/5] RUN make`.
    pub name: String,
    /// Where the instruction stands.
    pub span: Option<SourceSpan>,
}

/// A place in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpan {
    /// Byte offsets in the Dockerfile's text.
    pub bytes: Range<usize>,
}

/// The operations of a build and what each needs.
#[derive(Debug, Default)]
pub struct Graph {
    vertices: DiGraph<Vertex, InputIndex>,
    known: HashMap<Identity, VertexId>,
    /// What is left out of directories of the client's.
    ignored: BTreeMap<VertexId, Vec<String>>,
}

/// What makes two vertices the same.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    /// The hash of the rest, kept because operations are large.
    hash: u64,
    op: Arc<Op>,
    inputs: Vec<VertexId>,
    ignore_cache: bool,
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Graph {
    /// A graph without vertices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says by which rules something is left out of a client's directory, for people.
    pub fn note_ignored(&mut self, id: VertexId, rules: Vec<String>) {
        self.ignored.insert(id, rules);
    }

    /// The rules by which something is left out of what a vertex yields.
    pub fn ignored(&self, id: VertexId) -> &[String] {
        self.ignored.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Adds an operation, or returns the vertex that already does the same on the same inputs.
    pub fn add(
        &mut self,
        op: Op,
        inputs: Vec<VertexId>,
        description: Description,
        ignore_cache: bool,
    ) -> VertexId {
        let identity = Identity {
            hash: self.known.hasher().hash_one((&op, &inputs, ignore_cache)),
            op: Arc::new(op),
            inputs,
            ignore_cache,
        };
        let entry = match self.known.entry(identity) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(entry) => entry,
        };
        let (op, inputs) = (Arc::clone(&entry.key().op), entry.key().inputs.clone());
        let id = VertexId(self.vertices.add_node(Vertex {
            op,
            inputs,
            description,
            ignore_cache,
        }));
        for (index, input) in entry.key().inputs.iter().enumerate() {
            self.vertices.add_edge(input.0, id.0, InputIndex(index));
        }
        *entry.insert(id)
    }

    /// The vertex of that name.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// All vertices, inputs before what needs them.
    pub fn ids(&self) -> impl Iterator<Item = VertexId> + use<> {
        self.vertices.node_indices().map(VertexId)
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.vertices.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vertices that `target` needs, itself included, inputs before what needs them.
    pub fn needed_by(&self, target: VertexId) -> Vec<VertexId> {
        let mut found = Vec::new();
        let mut walk = Dfs::new(Reversed(&self.vertices), target.0);
        while let Some(node) = walk.next(Reversed(&self.vertices)) {
            found.push(VertexId(node));
        }
        found.sort_unstable();
        found
    }

    /// The vertices whose layers make up those of `target`: itself, what it is based on, and so on.
    pub fn based_on(&self, target: VertexId) -> Vec<VertexId> {
        let mut found = vec![target];
        let mut next = 0;
        while let Some(id) = found.get(next) {
            let Vertex { op, inputs, .. } = self.vertex(*id);
            for InputIndex(index) in op.bases(inputs.len()) {
                // What begins with nothing has no base.
                if let Some(base) = inputs.get(index)
                    && !found.contains(base)
                {
                    found.push(*base);
                }
            }
            next += 1;
        }
        found
    }

    /// The vertices that directly need `id`, each once.
    pub fn consumers(&self, id: VertexId) -> Vec<VertexId> {
        let neighbors = self.vertices.neighbors_directed(id.0, Direction::Outgoing);
        let mut consumers: Vec<_> = neighbors.map(VertexId).collect();
        consumers.sort_unstable();
        consumers.dedup();
        consumers
    }

    /// For each vertex, how many steps lie between it and the farthest end: what is run first when
    /// not everything can run at once.
    pub fn heights(&self) -> Vec<usize> {
        let mut heights = vec![0; self.len()];
        for node in self.vertices.node_indices().rev() {
            let above = self.vertices.neighbors_directed(node, Direction::Outgoing);
            heights[node.index()] = above.map(|n| heights[n.index()] + 1).max().unwrap_or(0);
        }
        heights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{FileOp, LocalSource, Source};

    fn local(graph: &mut Graph, name: &str) -> VertexId {
        let op = Op::Source(Source::Local(LocalSource {
            name: name.to_owned(),
        }));
        graph.add(op, Vec::new(), Description::default(), false)
    }

    fn empty_file_op(base: usize) -> Op {
        Op::File(FileOp {
            base: Some(InputIndex(base)),
            actions: Vec::new(),
        })
    }

    #[test]
    fn the_same_operation_on_the_same_inputs_is_one_vertex() {
        let mut graph = Graph::new();
        let (a, b) = (local(&mut graph, "a"), local(&mut graph, "a"));
        assert_eq!(a, b);
        let c = local(&mut graph, "c");
        assert_ne!(a, c);
    }

    #[test]
    fn only_what_the_target_needs_is_listed_inputs_first() {
        let mut graph = Graph::new();
        let (a, unneeded) = (local(&mut graph, "a"), local(&mut graph, "b"));
        let step = graph.add(empty_file_op(0), vec![a], Description::default(), false);
        let target = graph.add(
            empty_file_op(1),
            vec![a, step],
            Description::default(),
            false,
        );
        assert_eq!(graph.needed_by(target), [a, step, target]);
        assert_eq!(graph.consumers(a), [step, target]);
        assert_eq!(graph.heights()[a.index()], 2);
        assert_eq!(graph.heights()[unneeded.index()], 0);
    }
}
