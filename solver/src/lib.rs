//! What to run, in what order, and whether to run it.
//!
//! The solver holds the graph of a build, computes the cache keys of its steps and drives them in
//! parallel. It does no I/O and knows no clock, environment or randomness: what a step does, where
//! results are kept and who watches come in through [`Executor`], [`Cache`] and [`Progress`].

pub mod digest;
mod execute;
pub mod graph;
pub mod key;
pub mod miss;
mod object_id;
pub mod op;
pub mod path;
pub mod pattern;
pub mod platform;
pub mod progress;
pub mod reference;
mod schedule;
mod solve;

pub use digest::{ContentDigest, DiffId, Key, Sha256Digest};
pub use execute::{
    Cache, Claim, Earlier, Exceeded, Executor, Exit, ListedFile, Outcome, Step, StepError, StepKeys,
};
pub use graph::{Description, Graph, SourceSpan, Vertex, VertexId};
pub use miss::{Miss, Reason as MissReason};
pub use object_id::{ObjectId, ObjectIdError};
pub use op::Op;
pub use path::RelPath;
pub use platform::Platform;
pub use progress::{Event, EventKind, Fact, LogStream, Progress, Reporter, StepId, StepReporter};
pub use reference::Reference;
pub use solve::{SolveError, Solved, Solver};
