//! A context of 100,000 small files: what it costs to look at it, to bring it in, and to see one change.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Workload, directory, repeated, with_context};
use crate::context::{self, Content, FileTree};

/// About 200 MB.
const TREE: FileTree = FileTree {
    files: 100_000,
    files_per_directory: 100,
    smallest_bytes: 100,
    largest_bytes: 4000,
    content: Content::Words,
};

/// The files are copied into the image, and that is all.
pub(super) fn prepare_copied(work: &Path) -> Result<Workload> {
    let phases = repeated(changed_file(work));
    with_dockerfile(work, "context", "FROM base\nCOPY . /src\n", phases)
}

/// A command sees the files, so that they must be there as files.
pub(super) fn prepare_seen(work: &Path) -> Result<Workload> {
    let dockerfile = "FROM base\nCOPY . /src\nRUN find /src -type f | wc -l > /count\n";
    with_dockerfile(
        work,
        "context-run",
        dockerfile,
        repeated(changed_file(work)),
    )
}

fn with_dockerfile(
    work: &Path,
    name: &'static str,
    dockerfile: &str,
    phases: Vec<super::Phase>,
) -> Result<Workload> {
    let context = shared_context(work);
    context::make_once(&context, &format!("{TREE:?}"), |directory| {
        eprintln!("writing {} files", TREE.files);
        TREE.write(directory)
    })?;
    with_context(work, name, dockerfile, context, phases)
}

fn shared_context(work: &Path) -> PathBuf {
    directory(work, "context").join("context")
}

fn changed_file(work: &Path) -> PathBuf {
    shared_context(work).join(TREE.file_name(TREE.files / 2))
}
