//! Blobs of a layout that no entry of its index leads to: what stays when a cache is saved again and again under
//! one name.
//!
//! Who writes into a layout puts blobs there first and names them last, and not everybody takes Kiln's locks:
//! what was written of late stays.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind::{InvalidInput, NotFound};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_solver::Sha256Digest;
use rustix::fs::FlockOperation;

use super::ExportError;
use super::layout::blob_name;
use crate::image::{LayoutHold, open_document};
use crate::io_error::{AtPath, IoError};

/// How long a blob may wait for its name.
const WRITTEN_OF_LATE: Duration = Duration::from_secs(3600);
/// What a digest begins with, and how many hexadecimal digits it has.
const ALGORITHM: &str = "sha256:";
const DIGITS: usize = 64;
/// How much of a document is looked at at once, in bytes.
const PIECE: u64 = 256 * 1024;

/// Removes blobs that nothing names; how many went. None go while somebody reads the layout but whoever has
/// `hold`, or if something cannot be read.
pub(crate) fn remove_unnamed(directory: &Path, hold: &LayoutHold) -> Result<usize, ExportError> {
    // As whoever writes into it.
    let lock = File::open(directory).at("open", directory)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).at("lock", directory)?;
    let Some(_alone) = hold.alone() else {
        return Ok(0);
    };
    let Some(named) = named(directory)? else {
        return Ok(0);
    };
    let blobs = directory.join("blobs/sha256");
    let mut removed = 0;
    for entry in fs::read_dir(&blobs).at("list", &blobs)? {
        let entry = entry.at("list", &blobs)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let digest = format!("{ALGORITHM}{name}").parse::<Sha256Digest>();
        let Ok(digest) = digest.map_err(drop) else {
            continue;
        };
        let metadata = entry.metadata().at("look at", entry.path())?;
        if metadata.is_file() && !named.contains(&digest) && is_old(metadata.modified().ok()) {
            fs::remove_file(entry.path()).at("remove", entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_old(written: Option<SystemTime>) -> bool {
    let age = written.and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age >= WRITTEN_OF_LATE)
}

/// All digests that stand in the index, in documents that it names, and so on: more than those of blobs, and in
/// formats that nobody has thought of yet. `None` if there is no index.
fn named(directory: &Path) -> Result<Option<BTreeSet<Sha256Digest>>, IoError> {
    let index = directory.join("index.json");
    if !index.exists() {
        return Ok(None);
    }
    let (mut named, mut pending) = (BTreeSet::new(), vec![index]);
    while let Some(document) = pending.pop() {
        for digest in digests_in(&document)? {
            if named.insert(digest) {
                pending.push(directory.join(blob_name(&digest)));
            }
        }
    }
    Ok(Some(named))
}

/// The digests in a JSON document; none are in what is none, as layers are, or is not there.
fn digests_in(path: &Path) -> Result<BTreeSet<Sha256Digest>, IoError> {
    let mut digests = BTreeSet::new();
    let mut file = match open_document(path) {
        // Nor in what nobody can read to its end, such as a pipe.
        Err(error) if matches!(error.kind(), NotFound | InvalidInput) => return Ok(digests),
        file => file.at("open", path)?,
    };
    let mut window = Vec::new();
    let mut is_first = true;
    loop {
        let read = file.by_ref().take(PIECE).read_to_end(&mut window);
        if read.at("read", path)? == 0 || (is_first && !may_be_json(&window)) {
            return Ok(digests);
        }
        is_first = false;
        digests.extend(digests_of(&window));
        // What is cut off is found with the next piece.
        window.drain(..window.len().saturating_sub(ALGORITHM.len() + DIGITS - 1));
    }
}

/// Whether an object begins here, or white space before one.
fn may_be_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|byte| *byte == b'{')
}

fn digests_of(bytes: &[u8]) -> impl Iterator<Item = Sha256Digest> {
    bytes.windows(ALGORITHM.len() + DIGITS).filter_map(|found| {
        let is_one = found.starts_with(ALGORITHM.as_bytes());
        std::str::from_utf8(found)
            .ok()
            .filter(|_| is_one)?
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("document");
        let digest = |number: u64| format!("sha256:{number:064x}");
        for shift in 0..90 {
            let mut text = format!(
                "{{{}",
                " ".repeat(usize::try_from(PIECE).expect("small") - shift)
            );
            text += &digest(1);
            text += &digest(2);
            text += "\"sha256:xyz";
            fs::write(&path, &text).expect("writable");
            let found = digests_in(&path).expect("readable");
            let expected = [1, 2].map(|number| digest(number).parse().expect("a digest"));
            assert_eq!(found, BTreeSet::from(expected), "{shift}");
        }
        fs::write(&path, format!("\n\t {{{}", digest(1))).expect("writable");
        assert_eq!(digests_in(&path).expect("readable").len(), 1);
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
            .expect("a pipe");
        assert!(digests_in(&pipe).expect("nothing waits").is_empty());
        fs::write(&path, digest(1)).expect("writable");
        assert!(digests_in(&path).expect("readable").is_empty());
    }
}
