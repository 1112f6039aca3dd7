//! Which file system ran full, and what to do about it.

use std::error::Error;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_worker::gc::DiskSpace;

use super::chain;
use crate::human;
use crate::progress::LineBuffer;
use crate::record::StepLog;

/// What commands say whose write failed for want of room (`ENOSPC`, `EDQUOT`).
const IN_LOGS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
/// What SQLite says then; which of its errors it was is not known any more where it is reported.
const OF_DATABASES: &str = "database or disk is full";

/// The directories that a build writes to.
#[derive(Debug, Clone)]
pub struct Room {
    /// The store's.
    pub store: PathBuf,
    /// Those of outputs and of caches that are saved.
    pub others: Vec<PathBuf>,
    /// Whether the store was too full for logs.
    pub is_too_full_for_logs: bool,
}

impl Room {
    /// What to say behind an error; `None` if it is not about room.
    pub(super) fn advice(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
            (*error).source()
        });
        let mut full = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
        let is_full = |error: &io::Error| {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            matches!(error.kind(), StorageFull | QuotaExceeded)
        };
        let told = chain(error);
        if !full.any(is_full) && !told.contains(OF_DATABASES) {
            return None;
        }
        let named = |place: &&PathBuf| told.contains(&*place.to_string_lossy());
        Some(match self.others.iter().find(named) {
            Some(place) => format!("{} ran full", file_system(place)),
            None => self.advice_about_the_store(),
        })
    }

    /// The same of a command that failed: what it writes is in the store, as its log is.
    pub(super) fn advice_after(&self, log: Option<&StepLog>) -> Option<String> {
        let is_said = log.is_some_and(says_that_it_lacks_room);
        (is_said || self.is_too_full_for_logs).then(|| self.advice_about_the_store())
    }

    fn advice_about_the_store(&self) -> String {
        format!(
            "{}, which holds the store, ran full; kiln prune makes room there, and --root DIR puts the store elsewhere",
            file_system(&self.store)
        )
    }
}

fn says_that_it_lacks_room(log: &StepLog) -> bool {
    let (mut lines, mut is_full) = (LineBuffer::default(), false);
    let mut look = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        is_full |= IN_LOGS.iter().any(|said| line.contains(said));
    };
    // What cannot be read says nothing.
    let _ = log.read(|piece| lines.push(piece, &mut look));
    lines.flush(&mut look);
    is_full
}

/// A file system by where it is mounted, and how much of it is free now.
fn file_system(path: &Path) -> String {
    let mount = mount_point(path);
    let space = DiskSpace::at(&mount).map(|space| {
        let (free, total) = (human::size(space.free), human::size(space.total));
        format!(" ({free} of {total} free now)")
    });
    format!(
        "the file system at {}{}",
        mount.display(),
        space.unwrap_or_default()
    )
}

/// The highest directory above a path, which need not exist, that is on the same file system.
fn mount_point(path: &Path) -> PathBuf {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let existing = path.ancestors().find(|path| path.exists());
    let Ok(existing) = existing.unwrap_or(Path::new("/")).canonicalize() else {
        return path.to_owned();
    };
    let own = device(&existing);
    let same = existing
        .ancestors()
        .take_while(|above| device(above) == own);
    same.last().unwrap_or(&existing).to_owned()
}
