//! 1 GiB copied into an image that is exported as an OCI archive.

use std::path::Path;

use anyhow::Result;

use super::{Before, Phase, Workload, directory, with_context};
use crate::context::{self, Content, FileTree};
use crate::tools::{LayerCompression, Output};

const FILE_BYTES: usize = 16 << 20;

/// 1 GiB, half of it random.
const TREE: FileTree = FileTree {
    files: 64,
    files_per_directory: 64,
    smallest_bytes: FILE_BYTES,
    largest_bytes: FILE_BYTES,
    content: Content::HalfRandom,
};

pub(super) fn prepare(work: &Path) -> Result<Workload> {
    let context = directory(work, "export").join("context");
    context::make_once(&context, &format!("{TREE:?}"), |directory| {
        eprintln!("writing 1 GiB");
        TREE.write(directory)
    })?;
    let compressions = [
        LayerCompression::Gzip,
        LayerCompression::Zstd,
        LayerCompression::Uncompressed,
    ];
    let phases = compressions.into_iter().map(phase).collect();
    with_context(
        work,
        "export",
        "FROM scratch\nCOPY . /data\n",
        context,
        phases,
    )
}

fn phase(compression: LayerCompression) -> Phase {
    let output = Output::OciArchive(compression);
    Phase {
        output,
        ..Phase::measured(compression.as_str(), Before::FreshState)
    }
}
