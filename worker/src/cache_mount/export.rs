//! Cache mounts on their way out of a store: one layer for each, in an artifact of Kiln's own.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kiln_solver::{LogStream, RelPath, Sha256Digest, StepReporter};
use sha2::{Digest, Sha256};

use super::document::{self, CacheMountRecord, CacheMounts, RootDirectory};
use super::error::CacheMountError;
use super::held::{Hold, WhenHeld, hold};
use super::identity::CacheIdentity;
use super::inventory::{CacheSelection, StoredCacheMount, list_cache_mounts};
use super::walk::walk;
use crate::export::{Artifact, LayerBytes, LayoutDestination, TravelingLayer, write_artifact};
use crate::image::Descriptor;
use crate::io_error::{AtPath, IoError, is_not_found};
use crate::layer::{Compression, Contents, PackEntry, PackError, Packed, pack_restless};
use crate::meter::Meter;
use crate::rooted::described;
use crate::stop::Stop;
use crate::store::{DiskFile, Store};

/// What the artifact is called in its layout.
pub(super) const TAG: &str = "cachemounts";
/// How often a cache is read again because a large file changed while it was copied.
const ATTEMPTS: usize = 8;
/// How many threads compress; one more packs.
const THREADS: usize = 4;

/// What is to leave a store.
pub struct CacheMountExport {
    /// Which caches.
    pub selection: CacheSelection,
    /// How they are compressed.
    pub compression: Compression,
    /// Where they go.
    pub destination: LayoutDestination,
    /// Whether it is an error that there is no cache of an id that was asked for.
    pub must_exist: bool,
}

/// A cache that left a store.
#[derive(Debug, Clone)]
pub struct ExportedCacheMount {
    /// What mounts call it.
    pub id: String,
    /// How many bytes its tar has.
    pub size: u64,
    /// How many bytes it has as it travels.
    pub compressed: u64,
    /// What was not taken along.
    pub left_out: Vec<LeftOut>,
}

/// Something that was not taken along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// A device or socket.
    Special(RelPath),
    /// A file that was written to meanwhile.
    Changed(RelPath),
}

/// Writes caches into a layout. Each is held while it is read, beside builds that share it; one that a build
/// has for itself is waited for, which `reporter` is told.
pub fn export_cache_mounts(
    store: &Store,
    export: CacheMountExport,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<Vec<ExportedCacheMount>, CacheMountError> {
    let all = list_cache_mounts(store)?;
    let ids: Vec<String> = all.iter().filter_map(StoredCacheMount::id).collect();
    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let missing = export.selection.missing(&known);
    if !missing.is_empty() && export.must_exist {
        let missing = missing.into_iter().map(str::to_owned).collect();
        let mut known = ids;
        known.dedup();
        return Err(CacheMountError::Missing { missing, known });
    }
    let packing = Packing {
        store,
        compression: export.compression,
        stop,
        reporter,
    };
    let mut packed = Vec::new();
    for cache in &all {
        let Some(id) = cache.id().filter(|id| export.selection.has(id)) else {
            continue;
        };
        match &cache.identity {
            Some(identity) => packed.extend(packing.pack(cache, identity)?),
            None => packing.tell(&format!(
                "the cache {id} is left out: an older Kiln made it, and what it began with is not \
                 known; it can be exported once a build has used it again"
            )),
        }
    }
    let records = packed.iter().map(|cache| cache.record.clone()).collect();
    let artifact = Artifact {
        artifact_type: document::ARTIFACT,
        config_type: document::CONFIG,
        config: CacheMounts::new(records).encode(),
        layers: packed.iter().map(PackedCache::layer).collect(),
        tag: TAG.to_owned(),
    };
    write_artifact(store, artifact, export.destination, stop, reporter)?;
    Ok(packed.into_iter().map(PackedCache::exported).collect())
}

/// A cache that is ready to travel.
struct PackedCache {
    record: CacheMountRecord,
    descriptor: Descriptor,
    blob: TemporaryBlob,
    left_out: Vec<LeftOut>,
}

impl PackedCache {
    fn layer(&self) -> TravelingLayer {
        TravelingLayer {
            descriptor: self.descriptor.clone(),
            bytes: LayerBytes::Blob(self.blob.path.clone()),
        }
    }

    fn exported(self) -> ExportedCacheMount {
        ExportedCacheMount {
            id: self.record.identity.shown().to_owned(),
            size: self.record.size,
            compressed: self.descriptor.size,
            left_out: self.left_out,
        }
    }
}

struct Packing<'p> {
    store: &'p Store,
    compression: Compression,
    stop: &'p Stop,
    reporter: &'p StepReporter,
}

impl Packing<'_> {
    fn tell(&self, line: &str) {
        let line = format!("{line}\n");
        self.reporter.log(LogStream::Stderr, line.as_bytes());
    }

    /// `None` if the cache is gone, or was never filled.
    fn pack(
        &self,
        cache: &StoredCacheMount,
        identity: &CacheIdentity,
    ) -> Result<Option<PackedCache>, CacheMountError> {
        let id = identity.shown();
        // No prune takes it away now.
        let home = self.store.lease("cache-mounts", &cache.name)?;
        let tell = || self.tell(&format!("waiting for the cache {id}, which a build holds"));
        let Some(_held) = hold(&home, Hold::Shared, WhenHeld::Wait(&tell))? else {
            return Ok(None);
        };
        let files = home.join("files");
        let contents = match Contents::open_directory(files.clone()) {
            Err(error) if is_not_found(&error) => return Ok(None),
            contents => contents?,
        };
        let mut changed: HashSet<PathBuf> = HashSet::new();
        loop {
            let attempt = self.attempt(&contents, &files, &changed);
            match attempt {
                Err(Failure::Changed(path)) if changed.len() < ATTEMPTS => {
                    changed.insert(path);
                }
                Err(failure) => return Err(failure.of(id)),
                Ok(attempt) => {
                    return Ok(Some(
                        self.finish(cache, identity, attempt, &changed, &files),
                    ));
                }
            }
        }
    }

    /// Packs all but some files, which were found to change.
    fn attempt(
        &self,
        contents: &Contents,
        files: &Path,
        without: &HashSet<PathBuf>,
    ) -> Result<Attempt, Failure> {
        let Contents::Directory { directory, .. } = contents else {
            unreachable!("it was opened as a directory")
        };
        let root = RootDirectory::of(&rustix::fs::fstat(&**directory).at("stat", files)?);
        let mut found = walk(directory, files)?;
        let is_without = |path: &RelPath| without.contains(&described(files, path));
        found.entries.retain(|entry| match &entry.kind {
            crate::tree::EntryKind::HardLink { target } => !is_without(target),
            _ => !is_without(&entry.path),
        });
        let entries = found.entries.into_iter().map(|entry| PackEntry {
            bytes: contents.bytes(&entry),
            digest_is_known: false,
            entry,
        });
        let (reader, mut writer) = io::pipe().at("make a pipe for", files)?;
        let mut blob = BlobInProgress::new(self.store)?;
        let (packed, compressed) = std::thread::scope(|scope| {
            let packing = scope.spawn(move || pack_restless(entries, &mut writer));
            let mut reader = Watched {
                inner: reader,
                stop: self.stop,
                meter: Meter::new(self.reporter, "packing cache mounts", None),
            };
            let compressed = self.compression.compress(&mut reader, &mut blob, THREADS);
            // Without a reader packing ends, should compressing have failed.
            reader.close();
            (packing.join(), compressed)
        });
        compressed.map_err(Failure::Compress)?;
        let packed = match packed {
            Ok(packed) => packed?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut left_out: Vec<LeftOut> = found.left_out.into_iter().map(LeftOut::Special).collect();
        left_out.extend(packed.left_out.iter().cloned().map(LeftOut::Changed));
        Ok(Attempt {
            root,
            packed,
            blob: blob.finish(),
            left_out,
        })
    }

    fn finish(
        &self,
        cache: &StoredCacheMount,
        identity: &CacheIdentity,
        attempt: Attempt,
        changed: &HashSet<PathBuf>,
        files: &Path,
    ) -> PackedCache {
        let Attempt {
            root,
            packed,
            blob,
            mut left_out,
        } = attempt;
        let below = |path: &PathBuf| {
            use std::os::unix::ffi::OsStrExt;
            RelPath::parse(path.strip_prefix(files).ok()?.as_os_str().as_bytes()).ok()
        };
        left_out.extend(changed.iter().filter_map(below).map(LeftOut::Changed));
        let annotations = BTreeMap::from([
            (document::ID.to_owned(), identity.shown().to_owned()),
            (document::NAME.to_owned(), cache.name.clone()),
        ]);
        PackedCache {
            descriptor: Descriptor {
                annotations,
                ..Descriptor::new(self.compression.media_type(), blob.digest, blob.size)
            },
            record: CacheMountRecord {
                name: cache.name.clone(),
                identity: identity.clone(),
                root,
                diff_id: packed.diff_id,
                size: packed.size,
            },
            blob,
            left_out,
        }
    }
}

/// What came of packing a cache.
struct Attempt {
    root: RootDirectory,
    packed: Packed,
    blob: TemporaryBlob,
    left_out: Vec<LeftOut>,
}

/// Why packing failed.
enum Failure {
    /// A file changed while it was copied.
    Changed(PathBuf),
    Io(IoError),
    Pack(PackError),
    Compress(io::Error),
}

impl Failure {
    fn of(self, id: &str) -> CacheMountError {
        let id = id.to_owned();
        match self {
            Self::Changed(path) => CacheMountError::Restless { id, path },
            Self::Io(error) => error.into(),
            Self::Pack(source) => CacheMountError::Pack { id, source },
            Self::Compress(source) => CacheMountError::Compress { id, source },
        }
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl From<PackError> for Failure {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Changed(path) => Self::Changed(path),
            PackError::Read(error) if is_not_found(&error) => Self::Changed(error.path),
            error => Self::Pack(error),
        }
    }
}

/// Counts what is read, and ends when the work should.
struct Watched<'w, R> {
    inner: R,
    stop: &'w Stop,
    meter: Meter,
}

impl<R> Watched<'_, R> {
    fn close(self) {
        drop(self.inner);
        self.meter.finish();
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let length = self.inner.read(buffer)?;
        self.meter.add(length as u64);
        Ok(length)
    }
}

/// A blob that is only on its way through: it is no part of the store.
struct BlobInProgress {
    file: DiskFile,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
    is_finished: bool,
}

impl BlobInProgress {
    fn new(store: &Store) -> Result<Self, IoError> {
        let (path, file) = store.scratch().new_file()?;
        Ok(Self {
            file,
            path,
            hasher: Sha256::new(),
            size: 0,
            is_finished: false,
        })
    }

    fn finish(mut self) -> TemporaryBlob {
        self.is_finished = true;
        TemporaryBlob {
            path: self.path.clone(),
            digest: Sha256Digest::new(std::mem::take(&mut self.hasher).finalize().into()),
            size: self.size,
        }
    }
}

impl Write for BlobInProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobInProgress {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A file of the scratch directory, removed when dropped.
struct TemporaryBlob {
    path: PathBuf,
    digest: Sha256Digest,
    size: u64,
}

impl Drop for TemporaryBlob {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
