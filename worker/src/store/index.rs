//! The index: which key has which result, which name which image, which blob holds which layer.
//!
//! SQLite in WAL mode, so that many processes read and write at once. A commit is not synced: after
//! a power cut the last records may be gone, but never half there.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_solver::{ContentDigest, DiffId, Key, Sha256Digest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use rustix::fs::{CWD, RenameFlags};

use crate::tree::Timestamp;

/// How long a process waits for another that writes.
const PATIENCE: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE record (
    key         BLOB PRIMARY KEY,
    kind        INTEGER NOT NULL,
    result      BLOB NOT NULL,
    created     INTEGER NOT NULL,
    used        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE step (
    content     BLOB PRIMARY KEY,
    outline     BLOB NOT NULL,
    inputs      BLOB NOT NULL,
    explanation BLOB NOT NULL,
    created     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX step_outline ON step (outline, created);
CREATE INDEX step_inputs ON step (inputs, created);
CREATE TABLE selection (
    key     BLOB PRIMARY KEY,
    content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE layer_blob (
    diff_id     BLOB NOT NULL,
    compression TEXT NOT NULL,
    digest      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    media_type  TEXT NOT NULL,
    PRIMARY KEY (diff_id, compression)
) WITHOUT ROWID;
CREATE TABLE image (
    name     TEXT PRIMARY KEY,
    manifest BLOB NOT NULL,
    created  INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// Why the index could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the index {}: {source}", path.display())]
pub struct IndexError {
    /// The database's file.
    pub path: PathBuf,
    /// What went wrong.
    pub source: Reason,
}

/// What went wrong with an index.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Reason {
    /// What SQLite says.
    Sqlite(#[from] rusqlite::Error),
    /// What the file system says of its file.
    Io(#[from] std::io::Error),
}

/// Which of a step's two keys a record stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// The definition key.
    Definition,
    /// The content key.
    Content,
}

/// A blob that holds a layer in some compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// How it came to be: `original` for a blob from a registry, else codec, level and version.
    pub compression: String,
    /// Its name.
    pub digest: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its OCI or Docker media type.
    pub media_type: String,
}

/// An image that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The full reference, such as `docker.io/library/app:latest`.
    pub name: String,
    /// Its manifest (or index), a blob of the store.
    pub manifest: Sha256Digest,
    /// When the name was given.
    pub created: Timestamp,
}

/// An open index.
pub struct Index {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Index {
    /// Opens the index at `path`. If there is none, one is made whole at `draft`, a new path of the
    /// same file system, and moved there.
    pub(super) fn open(path: &Path, draft: &Path) -> Result<Self, IndexError> {
        if !path.exists() {
            create(path, draft)?;
        }
        let fail = |source| IndexError {
            path: path.to_owned(),
            source: Reason::Sqlite(source),
        };
        let connection = Connection::open(path).map_err(fail)?;
        configure(&connection).map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    /// The result recorded under a key.
    pub fn record(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT result FROM record WHERE key = ?1")?;
            statement
                .query_row([&key.as_bytes()[..]], |row| row.get(0))
                .optional()
        })
    }

    /// Notes that records were used now.
    pub fn touch_records(&self, keys: &[Key]) -> Result<(), IndexError> {
        let now = Timestamp::now().seconds;
        self.with(|connection| {
            let transaction = connection.transaction()?;
            for key in keys {
                // A minute more or less does not matter to what is removed first.
                let mut statement = transaction.prepare_cached(
                    "UPDATE record SET used = ?2 WHERE key = ?1 AND used < ?2 - 60",
                )?;
                statement.execute(params![&key.as_bytes()[..], now])?;
            }
            transaction.commit()
        })
    }

    /// All results with the time of their last use, in no order.
    pub fn records(&self) -> Result<Vec<(Key, Vec<u8>, i64)>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare("SELECT key, result, used FROM record")?;
            let rows = statement.query_map([], |row| {
                Ok((Key::new(digest_bytes(row, 0)?), row.get(1)?, row.get(2)?))
            })?;
            rows.collect()
        })
    }

    /// Forgets records.
    pub fn remove_records(&self, keys: &[Key]) -> Result<(), IndexError> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            for key in keys {
                for statement in [
                    "DELETE FROM record WHERE key = ?1",
                    "DELETE FROM step WHERE content = ?1",
                ] {
                    transaction
                        .prepare_cached(statement)?
                        .execute([&key.as_bytes()[..]])?;
                }
            }
            transaction.commit()
        })
    }

    /// The remembered content of a selection (see [`kiln_solver::key::selection_key`]).
    pub fn selection(&self, key: &Key) -> Result<Option<ContentDigest>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT content FROM selection WHERE key = ?1")?;
            let content = |row: &Row<'_>| Ok(ContentDigest::new(digest_bytes(row, 0)?));
            statement
                .query_row([&key.as_bytes()[..]], content)
                .optional()
        })
    }

    /// Remembers the content of a selection.
    pub fn put_selection(&self, key: &Key, content: &ContentDigest) -> Result<(), IndexError> {
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO selection VALUES (?1, ?2)")?
                .execute(params![&key.as_bytes()[..], &content.as_bytes()[..]])?;
            Ok(())
        })
    }

    /// The blobs that hold a layer; they need not be in the store.
    pub fn layer_blobs(&self, diff_id: &DiffId) -> Result<Vec<LayerBlob>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT compression, digest, size, media_type FROM layer_blob WHERE diff_id = ?1",
            )?;
            let rows = statement.query_map([&diff_id.as_bytes()[..]], |row| {
                Ok(LayerBlob {
                    compression: row.get(0)?,
                    digest: Sha256Digest::new(digest_bytes(row, 1)?),
                    size: row.get(2)?,
                    media_type: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Notes that a blob holds a layer.
    pub fn put_layer_blob(&self, diff_id: &DiffId, blob: &LayerBlob) -> Result<(), IndexError> {
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO layer_blob VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    &diff_id.as_bytes()[..],
                    blob.compression,
                    &blob.digest.as_bytes()[..],
                    blob.size,
                    blob.media_type
                ])?;
            Ok(())
        })
    }

    /// Forgets a blob of a layer: it turned out to hold something else.
    pub fn remove_layer_blob(&self, diff_id: &DiffId, compression: &str) -> Result<(), IndexError> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM layer_blob WHERE diff_id = ?1 AND compression = ?2")?
                .execute(params![&diff_id.as_bytes()[..], compression])?;
            Ok(())
        })
    }

    /// The image of that full name.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>, IndexError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT name, manifest, created FROM image WHERE name = ?1")?
                .query_row([name], image_record)
                .optional()
        })
    }

    /// All images that have a name, by name.
    pub fn images(&self) -> Result<Vec<ImageRecord>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare("SELECT name, manifest, created FROM image ORDER BY name")?;
            let rows = statement.query_map([], image_record)?;
            rows.collect()
        })
    }

    /// Gives an image a name, in place of an earlier one of that name.
    pub fn put_image(&self, image: &ImageRecord) -> Result<(), IndexError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO image VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE \
                     SET manifest = ?2, created = ?3 WHERE manifest <> ?2",
                )?
                .execute(params![
                    image.name,
                    &image.manifest.as_bytes()[..],
                    image.created.seconds
                ])?;
            Ok(())
        })
    }

    /// Takes a name away; whether there was one.
    pub fn remove_image(&self, name: &str) -> Result<bool, IndexError> {
        self.with(|connection| {
            Ok(connection.execute("DELETE FROM image WHERE name = ?1", [name])? > 0)
        })
    }

    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let mut connection: MutexGuard<'_, Connection> = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|source| IndexError {
            path: self.path.clone(),
            source: Reason::Sqlite(source),
        })
    }
}

/// Several processes may do so at once: the first wins. None ever sees an index in the making, for
/// SQLite lets nobody wait while another switches the journal's mode.
fn create(path: &Path, draft: &Path) -> Result<(), IndexError> {
    let written = write_schema(draft).map_err(Reason::Sqlite);
    let moved = written.and_then(|()| {
        match rustix::fs::renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Ok(std::fs::remove_file(draft)?),
            Err(errno) => Err(Reason::Io(errno.into())),
        }
    });
    moved.map_err(|source| IndexError {
        path: path.to_owned(),
        source,
    })
}

fn write_schema(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // The file remembers it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    configure(&connection)?;
    connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
    // Closing moves the journal into the file.
    connection.close().map_err(|(_, error)| error)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

fn image_record(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    Ok(ImageRecord {
        name: row.get(0)?,
        manifest: Sha256Digest::new(digest_bytes(row, 1)?),
        created: Timestamp {
            seconds: row.get(2)?,
            nanoseconds: 0,
        },
    })
}

pub(super) fn digest_bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; 32]> {
    row.get(column)
}
