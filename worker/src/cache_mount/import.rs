//! Cache mounts on their way into a store. What comes is anybody's: all of it is verified and unpacked
//! beside the store's caches before any of it is seen.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_solver::{DiffId, LogStream, RelPath, StepReporter};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::document::{self, CacheMountRecord, CacheMounts};
use super::error::CacheMountError;
use super::export::TAG;
use super::held::{Hold, WhenHeld, hold, note_use};
use super::inventory::CacheSelection;
use crate::gc::DiskSpace;
use crate::image::{ArtifactKind, Descriptor, StoredArtifact};
use crate::io_error::AtPath;
use crate::layer::{
    Contents, IngestError, belongs_to_layers, decompress, extract, parse_cache_tar,
};
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::{Store, remove_tree};
use crate::tree::{Entry, LayerTree};

/// No cache may have more entries. They are held in memory, some 300 bytes each.
const MAXIMUM_ENTRIES: usize = 2_000_000;

/// What is to come into a store.
#[derive(Debug, Clone)]
pub struct CacheMountImport {
    /// The layout: a directory or a tar.
    pub source: PathBuf,
    /// Which caches.
    pub selection: CacheSelection,
    /// Whether caches that hold something already are replaced.
    pub replace: bool,
    /// What happens to caches that builds hold.
    pub when_busy: WhenBusy,
    /// Whether it is an error that there is no cache of an id that was asked for.
    pub must_exist: bool,
}

/// What happens to caches that builds hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    /// The import waits.
    Wait,
    /// They stay as they are.
    Skip,
}

/// A cache that was to come into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedCacheMount {
    /// What mounts call it.
    pub id: String,
    /// How many bytes its tar has.
    pub size: u64,
    /// What became of it.
    pub taken: Taken,
}

/// What became of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The store had none, or an empty one.
    New,
    /// It took the place of another.
    Replaced,
    /// The store has one that is not empty, which was kept.
    Kept,
    /// A build holds the store's, which was kept.
    Busy,
}

/// Brings caches from a layout into a store: all that are wanted and not there, or none. A cache that holds
/// something is kept unless it is to be replaced; `reporter` is told what is waited for.
pub fn import_cache_mounts(
    store: &Store,
    import: &CacheMountImport,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Vec<ImportedCacheMount>, CacheMountError> {
    let kind = ArtifactKind {
        config_type: document::CONFIG,
        maximum_config: document::MAXIMUM_CONFIG,
        name: "cache mounts",
    };
    let artifact = StoredArtifact::find(&import.source, kind, TAG)?;
    let config = CacheMounts::decode(&artifact.config, artifact.layers.len());
    let config = config.map_err(|problem| CacheMountError::Document {
        what: artifact.config_name.clone(),
        problem,
    })?;
    check_ids(import, &config)?;
    let pairs = config.caches.into_iter().zip(&artifact.layers);
    let wanted: Vec<(CacheMountRecord, &Descriptor)> = pairs
        .filter(|(record, _)| import.selection.has(record.identity.shown()))
        .collect();
    let importing = Importing {
        store,
        artifact: &artifact,
        import,
        stop,
        reporter,
    };
    importing.check_room(&wanted)?;
    let mut imported = Vec::new();
    let mut staged = Vec::new();
    for (record, layer) in wanted {
        let files = store
            .root()
            .join("cache-mounts")
            .join(&record.name)
            .join("files");
        if !import.replace && has_entries(&files)? {
            imported.push(of(&record, Taken::Kept));
        } else {
            let new = importing.stage(&record, layer)?;
            staged.push((record, new));
        }
    }
    for (record, new) in staged {
        let taken = importing.publish(&record, &new)?;
        imported.push(of(&record, taken));
    }
    imported.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(imported)
}

fn of(record: &CacheMountRecord, taken: Taken) -> ImportedCacheMount {
    ImportedCacheMount {
        id: record.identity.shown().to_owned(),
        size: record.size,
        taken,
    }
}

fn check_ids(import: &CacheMountImport, config: &CacheMounts) -> Result<(), CacheMountError> {
    let ids = config.caches.iter().map(|cache| cache.identity.shown());
    let mut known: Vec<&str> = ids.collect();
    known.sort_unstable();
    known.dedup();
    let missing = import.selection.missing(&known);
    if missing.is_empty() || !import.must_exist {
        return Ok(());
    }
    Err(CacheMountError::Missing {
        missing: missing.into_iter().map(str::to_owned).collect(),
        known: known.into_iter().map(str::to_owned).collect(),
    })
}

struct Importing<'i> {
    store: &'i Store,
    artifact: &'i StoredArtifact,
    import: &'i CacheMountImport,
    stop: &'i Stop,
    reporter: &'i StepReporter,
}

/// A cache that is whole and that nobody sees yet; dropped, it is removed.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        remove_tree(&self.0);
    }
}

impl Importing<'_> {
    /// Refuses what cannot fit before anything is written.
    fn check_room(
        &self,
        wanted: &[(CacheMountRecord, &Descriptor)],
    ) -> Result<(), CacheMountError> {
        let free = DiskSpace::at(self.store.root())?.free;
        let mut needed = 0_u64;
        for (record, _) in wanted {
            needed = needed.saturating_add(record.size);
            if needed > free {
                return Err(CacheMountError::Wrong {
                    id: record.identity.shown().to_owned(),
                    problem: format!(
                        "it is said to have {} bytes, and the store's disk has {free} left",
                        record.size
                    ),
                });
            }
        }
        Ok(())
    }

    /// Unpacks a cache beside the others.
    fn stage(
        &self,
        record: &CacheMountRecord,
        layer: &Descriptor,
    ) -> Result<Staged, CacheMountError> {
        let id = record.identity.shown();
        let mut tar = self.store.scratch().new_unnamed_file()?;
        let entries = self.read(record, layer, &mut tar)?;
        let tree = tree(record, entries).map_err(|problem| CacheMountError::Wrong {
            id: id.to_owned(),
            problem,
        })?;
        let contents = Contents::Tar(Arc::new(tar.into_file()));
        let staged = Staged(self.store.scratch().new_directory()?);
        let disk = self.store.scratch().disk();
        extract(&tree, &contents, &staged.0, disk).map_err(|source| CacheMountError::Extract {
            id: id.to_owned(),
            source,
        })?;
        Ok(staged)
    }

    /// Reads a layer whole: its uncompressed bytes go to `copy`.
    fn read(
        &self,
        record: &CacheMountRecord,
        layer: &Descriptor,
        copy: &mut dyn Write,
    ) -> Result<Vec<Entry>, CacheMountError> {
        let refused = |source| CacheMountError::Refused {
            id: record.identity.shown().to_owned(),
            source,
        };
        let blob = Drained(Arc::new(Mutex::new(self.artifact.open(layer)?)));
        let plain =
            decompress(blob.clone()).map_err(|error| refused(IngestError::reading(error)))?;
        let mut source = Watched {
            inner: plain.take(record.size.saturating_add(1)),
            hasher: Sha256::new(),
            size: 0,
            copy,
            stop: self.stop,
            meter: Meter::new(self.reporter, "unpacking cache mounts", None),
        };
        let parsed = parse_cache_tar(&mut source, MAXIMUM_ENTRIES);
        let rest = parsed.and_then(|entries| {
            io::copy(&mut source, &mut io::sink()).map_err(IngestError::reading)?;
            Ok(entries)
        });
        let Watched {
            hasher,
            size,
            meter,
            ..
        } = source;
        meter.finish();
        let found = DiffId::new(hasher.finalize().into());
        // Of a blob that is not what its name says, that is what should be told.
        let mut blob = blob;
        io::copy(&mut blob, &mut io::sink())
            .map_err(|error| refused(IngestError::reading(error)))?;
        let entries = rest.map_err(refused)?;
        if size != record.size {
            return Err(CacheMountError::Wrong {
                id: record.identity.shown().to_owned(),
                problem: format!(
                    "it is said to have {} bytes, but there are {}",
                    record.size,
                    if size > record.size { "more" } else { "fewer" },
                ),
            });
        }
        if found != record.diff_id {
            return Err(refused(IngestError::DiffId {
                expected: record.diff_id,
                found,
            }));
        }
        Ok(entries)
    }

    /// Moves a cache to its place, unless the store's own is to be kept.
    fn publish(&self, record: &CacheMountRecord, new: &Staged) -> Result<Taken, CacheMountError> {
        self.store.directory("cache-mounts")?;
        let home = self.store.lease("cache-mounts", &record.name)?;
        let Some(lock) = self.take(&home, record.identity.shown())? else {
            return Ok(Taken::Busy);
        };
        let files = home.join("files");
        let is_filled = has_entries(&files)?;
        if is_filled && !self.import.replace {
            return Ok(Taken::Kept);
        }
        record.identity.write(self.store.scratch(), &home)?;
        put(&new.0, &files)?;
        note_use(&lock).at("write the time of", &home)?;
        Ok(if is_filled {
            Taken::Replaced
        } else {
            Taken::New
        })
    }

    /// Holds a cache alone, made if need be; `None` if a build has it and is not waited for.
    fn take(&self, home: &Path, id: &str) -> Result<Option<File>, CacheMountError> {
        let tell = || {
            let line = format!("waiting for the cache {id}, which a build holds\n");
            self.reporter.log(LogStream::Stderr, line.as_bytes());
        };
        loop {
            fs::create_dir_all(home).at("create", home)?;
            let when = match self.import.when_busy {
                WhenBusy::Wait => WhenHeld::Wait(&tell),
                WhenBusy::Skip => WhenHeld::GiveUp,
            };
            let lock = hold(home, Hold::Exclusive, when)?;
            // A directory that a prune took away is made again.
            let is_skipped = self.import.when_busy == WhenBusy::Skip && home.exists();
            if lock.is_some() || is_skipped {
                return Ok(lock);
            }
        }
    }
}

/// Puts a directory in the place of another, which may not be there; the other is where the first was.
fn put(new: &Path, place: &Path) -> Result<(), CacheMountError> {
    let rename = |flags| rustix::fs::renameat_with(CWD, new, CWD, place, flags);
    match rename(RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => rename(RenameFlags::NOREPLACE),
        // Not every file system can exchange.
        Err(Errno::INVAL) => {
            let aside = new.with_extension("old");
            let moved = fs::rename(place, &aside).and_then(|()| fs::rename(new, place));
            moved.at("move into place", place)?;
            remove_tree(&aside);
            Ok(())
        }
        result => result,
    }
    .at("move into place", place)?;
    Ok(())
}

fn has_entries(directory: &Path) -> Result<bool, CacheMountError> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries.at("list", directory)?.next().is_some()),
    }
}

/// The tree of a cache whose entries are as Kiln packs them: in order, each path once, every parent a
/// directory that stands there. So nothing that is unpacked leads through a link.
fn tree(record: &CacheMountRecord, mut entries: Vec<Entry>) -> Result<LayerTree, String> {
    let mut above: Vec<RelPath> = Vec::new();
    let mut before = RelPath::root();
    for entry in &mut entries {
        let path = &entry.path;
        if *path <= before {
            return Err(format!("{path} is out of order"));
        }
        while above
            .last()
            .is_some_and(|directory| !path.starts_with(directory))
        {
            above.pop();
        }
        if path.parent().as_ref() != Some(above.last().unwrap_or(&RelPath::root())) {
            return Err(format!("{path} is in no directory"));
        }
        before = path.clone();
        if entry.is_directory() {
            above.push(path.clone());
        }
        // Labels of another machine's security modules mean nothing on this one.
        entry.xattrs.retain(|(name, _)| belongs_to_layers(name));
    }
    entries.insert(0, record.root.entry());
    Ok(LayerTree::from_sorted(entries))
}

/// A reader that can be read on when whoever had it is done.
struct Drained<R>(Arc<Mutex<R>>);

impl<R> Clone for Drained<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Read> Read for Drained<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(buffer)
    }
}

/// Hashes, counts and copies what is read, and ends when the work should.
struct Watched<'w, R> {
    inner: R,
    hasher: Sha256,
    size: u64,
    copy: &'w mut dyn Write,
    stop: &'w Stop,
    meter: Meter,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.size += length as u64;
        self.copy.write_all(&buffer[..length])?;
        self.meter.add(length as u64);
        Ok(length)
    }
}
