//! File trees as data: what a layer holds, what a stack of layers shows.
//!
//! Trees know nothing of where their files' bytes are; [`crate::layer`] does.

mod compare;
mod entry;
mod layer_tree;
mod redundant;
mod view;

pub use compare::{ChangeKind, PathChange, changes};
pub use entry::{DirectoryKind, Entry, EntryKind, Timestamp, Xattrs};
pub use layer_tree::{EncodedTree, LayerTree, TreeError, TreeReader, TreeWriter};
pub use redundant::needed;
pub use view::{Found, View, resolve};
