//! From a tar of anybody's to a tree: the one place where foreign archives are read.

mod error;
mod field;
#[cfg(test)]
mod hostile;
mod member;
mod parse;
mod pax;

use std::io::{self, Read, Write};
use std::sync::Arc;

use kiln_solver::DiffId;
use sha2::{Digest, Sha256};

use super::contents::Contents;
use super::tar_stream::{OpenTarError, open_blob};
use crate::store::{LayerBlob, LayerError, Store};
use crate::tree::LayerTree;

pub use error::IngestError;
pub(crate) use field::is_header;
pub(crate) use parse::parse_cache_tar;
pub use parse::{Whiteouts, parse_archive, parse_tar};

/// Takes in a layer that the store has as a compressed blob: verifies its diff id and notes what it
/// holds. The returned contents are an unnamed file with the uncompressed tar.
///
/// Which blob holds the layer is only what images say, and one may lie about a layer of another:
/// every blob is tried, and those that hold something else are not believed again.
pub fn ingest(store: &Store, diff_id: &DiffId) -> Result<(Arc<LayerTree>, Contents), IngestError> {
    first_that_holds(store, diff_id, |blob| ingest_blob(store, diff_id, blob))
}

/// The same without the bytes: for those who bring a layer that nobody has to see yet.
pub(crate) fn look_into(store: &Store, diff_id: &DiffId) -> Result<(), IngestError> {
    first_that_holds(store, diff_id, |blob| {
        let tree = parse_layer(store, diff_id, blob)?;
        Ok(store.layers().put_tree(diff_id, &tree.encode())?)
    })
}

fn first_that_holds<T>(
    store: &Store,
    diff_id: &DiffId,
    read: impl Fn(&LayerBlob) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let mut refused = IngestError::from(LayerError::Missing(*diff_id));
    for blob in store
        .index()
        .layer_blobs(diff_id)
        .map_err(OpenTarError::from)?
    {
        if !store.has_blob(&blob.digest) {
            continue;
        }
        match read(&blob) {
            Err(error) if error.is_of_the_blob() => {
                let index = store.index();
                let forgotten = index.remove_layer_blob(diff_id, &blob.compression);
                forgotten.map_err(OpenTarError::from)?;
                store.remove_damaged_blob(&blob.digest);
                refused = error;
            }
            result => {
                if result.is_ok() && !blob.is_proven {
                    let index = store.index();
                    let proven = index.prove_layer_blob(diff_id, &blob.compression);
                    proven.map_err(OpenTarError::from)?;
                }
                return result;
            }
        }
    }
    Err(refused)
}

fn ingest_blob(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
) -> Result<(Arc<LayerTree>, Contents), IngestError> {
    let mut copy = store
        .scratch()
        .new_unnamed_file()
        .map_err(LayerError::from)?;
    let tree = Arc::new(read_layer(store, diff_id, blob, &mut copy)?);
    store.layers().put_tree(diff_id, &tree.encode())?;
    Ok((tree, Contents::Tar(Arc::new(copy.into_file()))))
}

/// What a layer holds by a blob that is said to hold it; an error if it does not.
pub(crate) fn parse_layer(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
) -> Result<LayerTree, IngestError> {
    read_layer(store, diff_id, blob, &mut io::sink())
}

/// Reads a layer and verifies its diff id; its uncompressed bytes go to `copy`, too.
fn read_layer(
    store: &Store,
    diff_id: &DiffId,
    blob: &LayerBlob,
    copy: &mut dyn Write,
) -> Result<LayerTree, IngestError> {
    let mut source = Tee {
        inner: open_blob(store, blob)?,
        hasher: Sha256::new(),
        copy,
        refused: None,
    };
    let parsed = parse_tar(&mut source, Whiteouts::Deletions).and_then(|tree| {
        io::copy(&mut source, &mut io::sink()).map_err(IngestError::reading)?;
        Ok(tree)
    });
    if let Some(source) = source.refused {
        // A store that takes no more says nothing of the blob.
        return Err(IngestError::Write { source });
    }
    let tree = parsed?;
    let found = DiffId::new(source.hasher.finalize().into());
    if found == *diff_id {
        return Ok(tree);
    }
    Err(IngestError::DiffId {
        expected: *diff_id,
        found,
    })
}

/// Hashes and copies what is read.
struct Tee<'c, R> {
    inner: R,
    hasher: Sha256,
    copy: &'c mut dyn Write,
    /// Why the copy could not be written; whoever reads is only told that it failed.
    refused: Option<io::Error>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        if let Err(error) = self.copy.write_all(&buffer[..length]) {
            let told = error.kind().into();
            self.refused = Some(error);
            return Err(told);
        }
        Ok(length)
    }
}
