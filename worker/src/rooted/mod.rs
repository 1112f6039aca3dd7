//! Files below a directory, found by descriptor: the one place where a path from outside, of an image, an
//! archive, a context, a repository or a step, becomes one that the kernel is asked for. `cli/tests/paths.rs`
//! sees to that.
//!
//! There are two ways. [Beneath](beneath) a directory no link is followed: for what Kiln lists, reads and makes.
//! [In a root](in_root) links are followed as a process would whose root it is: for paths of steps. Neither
//! leads out, whoever changes the directory meanwhile.

mod beneath;
mod in_root;

pub(crate) use beneath::{Parents, described, open_beneath, open_file_beneath, through};
pub(crate) use in_root::{find_in_root, open_in_root, walk_in_root};
