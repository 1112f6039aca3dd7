//! From a layer's tree and bytes to a directory, in the form that overlayfs takes as a lower one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kiln_solver::RelPath;
use rayon::prelude::*;

use super::contents::Contents;
use super::lower::{Lower, copy_with_holes};
use super::twins::Twins;
use crate::io_error::{IoError, what_to_do};
use crate::rooted::Parents;
use crate::store::Disk;
use crate::tree::{Entry, EntryKind, LayerTree};

/// Why a layer could not be extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// An entry could not be made.
    #[error("cannot unpack {path} in the store: {source}{}", what_to_do(source))]
    Entry {
        /// The entry.
        path: RelPath,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file's bytes could not be read.
    #[error(transparent)]
    Read(#[from] IoError),
}

/// Makes what a settled tree holds in `directory`, which is empty and which nobody else writes to. Each entry is
/// made in its parent by descriptor: what stands below a link in the tree, since nobody knows where the link
/// leads, is an error and not made where it leads on this machine.
pub fn extract(
    tree: &LayerTree,
    contents: &Contents,
    directory: &Path,
    disk: &Arc<dyn Disk>,
) -> Result<(), ExtractError> {
    extract_beside(tree, contents, &Twins::default(), directory, disk)
}

/// The same where files of other layers' directories may have the same bytes.
pub(super) fn extract_beside(
    tree: &LayerTree,
    contents: &Contents,
    twins: &Twins,
    directory: &Path,
    disk: &Arc<dyn Disk>,
) -> Result<(), ExtractError> {
    let extraction = Extraction {
        lower: Lower::new(directory, disk)?,
        contents,
        twins,
    };
    let numbered = || tree.entries().iter().enumerate();
    let directories: Vec<&Entry> = tree.entries().iter().filter(|e| e.is_directory()).collect();
    let mut parents = extraction.lower.parents();
    for entry in &directories {
        extraction.lower.make_directory(entry, &mut parents)?;
    }
    let others: Vec<(usize, &Entry)> = numbered().filter(|(_, e)| !e.is_directory()).collect();
    others.par_chunks(64).try_for_each(|chunk| {
        let mut parents = extraction.lower.parents();
        let mut entries = chunk.iter();
        entries.try_for_each(|(index, entry)| extraction.make(*index, entry, &mut parents))
    })?;
    for (_, entry) in others {
        extraction.lower.make_link(entry, &mut parents)?;
    }
    // Last, since making what is in a directory changes its times, and its mode may forbid it.
    for entry in directories.iter().rev() {
        extraction.lower.set_metadata(entry, &mut parents)?;
    }
    Ok(())
}

struct Extraction<'c> {
    lower: Lower,
    contents: &'c Contents,
    twins: &'c Twins,
}

impl Extraction<'_> {
    /// Makes what is neither a directory nor a link to a file.
    fn make(
        &self,
        index: usize,
        entry: &Entry,
        parents: &mut Parents<'_>,
    ) -> Result<(), ExtractError> {
        let EntryKind::File { size, .. } = entry.kind else {
            return self.lower.make_special(entry, parents);
        };
        if size == 0 {
            return self.lower.make_file(entry, parents, |_| Ok(()));
        }
        let bytes = self.contents.bytes(entry).open(size)?;
        self.lower.make_file(entry, parents, |file| {
            match self.twins.share(index, &entry.path, file.file()) {
                true => Ok(()),
                false => copy_with_holes(bytes, file, size),
            }
        })
    }
}
