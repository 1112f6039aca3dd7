//! ADD of a local archive: its entries instead of itself.

use std::io::{self, Read, Write};
use std::sync::Arc;

use kiln_solver::Exceeded;

use super::builder::LayerBuilder;
use super::copy::Copying;
use super::error::ExecutorError;
use super::output::Files;
use super::unpack::{UnpackError, Unpacking};
use crate::layer::{Contents, IngestError, decompress, is_compressed, is_header, parse_archive};
use crate::tree::{EntryKind, Found};

/// The longest header that tells an archive.
const PROBE: u64 = 512;

/// Unpacks a file to the copy's destination if it is an archive by its content, whatever its name;
/// whether it was one. Owners are the archive's unless `--chown` says otherwise; `--chmod` does not
/// apply. What comes behind the end of the tar may be anything.
pub(super) fn unpack(
    copying: &Copying<'_>,
    files: &Files,
    found: Found<'_>,
    layer: &mut LayerBuilder<'_>,
) -> Result<bool, ExecutorError> {
    let EntryKind::File { size, .. } = found.entry.kind else {
        return Ok(false);
    };
    let fail = |source| ExecutorError::Archive {
        path: found.entry.path.clone(),
        source,
    };
    let reader = files.bytes(found).open(size)?;
    let mut plain = decompress(reader).map_err(|error| fail(IngestError::reading(error)))?;
    let mut probe = Vec::new();
    let begun = plain.by_ref().take(PROBE).read_to_end(&mut probe);
    if begun.is_err() || !is_tar(&probe) {
        return Ok(false);
    }
    let mut tar = Bounded {
        inner: copying.store.scratch().new_unnamed_file()?,
        most: copying.most_unpacked,
        written: 0,
    };
    let mut reader = probe.chain(plain);
    let members = parse_archive(&mut reader, &mut tar);
    if let Some(exceeded) = tar.exceeded() {
        return Err(ExecutorError::Exceeded(exceeded));
    }
    let members = members.map_err(fail)?;
    check_rest(&mut reader).map_err(fail)?;
    let contents = Contents::Tar(Arc::new(tar.inner.into_file()));
    Unpacking::new(copying, layer)?
        .run(members, &contents)
        .map(|()| true)
        .map_err(|error| match error {
            UnpackError::Archive(source) => fail(source),
            UnpackError::Executor(error) => error,
        })
}

/// A file that becomes no larger than it may: a small archive can hold one of any size.
struct Bounded<W> {
    inner: W,
    most: Option<u64>,
    /// How much there is, and was to be.
    written: u64,
}

impl<W> Bounded<W> {
    fn exceeded(&self) -> Option<Exceeded> {
        let most = self.most.filter(|most| self.written > *most);
        most.map(Exceeded::Disk)
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        match self.exceeded() {
            Some(exceeded) => Err(io::Error::other(exceeded.to_string())),
            None => self.inner.write_all(bytes).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads what comes behind the end of a tar, for only there the compression's checksum says whether what came
/// before it is whole. That something else follows, or that the end is cut off, does no harm.
fn check_rest(reader: &mut dyn Read) -> Result<(), IngestError> {
    let Err(error) = io::copy(reader, &mut io::sink()) else {
        return Ok(());
    };
    let problem = error.to_string();
    let is_damage = ["checksum", "corrupt"]
        .iter()
        .any(|it| problem.contains(it));
    match is_damage || error.raw_os_error().is_some() {
        true => Err(IngestError::reading(error)),
        false => Ok(()),
    }
}

/// Whether the first 512 bytes of something are those of a tar or of something compressed.
pub fn may_be_archive(probe: &[u8]) -> bool {
    is_tar(probe) || is_compressed(probe)
}

fn is_tar(probe: &[u8]) -> bool {
    probe.first_chunk().is_some_and(is_header)
}
