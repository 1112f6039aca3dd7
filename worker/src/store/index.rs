//! The index: which key has which result, which name which image, which blob holds which layer.
//!
//! SQLite in WAL mode, so that many processes read and write at once. A commit is not synced: after
//! a power cut the last records may be gone, but never half there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_solver::{ContentDigest, DiffId, Key, Sha256Digest};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::disk::Disk;
use super::schema;
use crate::tree::Timestamp;

/// How long a process waits for another that writes.
const PATIENCE: Duration = Duration::from_secs(30);

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
pub enum Reason {
    /// What SQLite says.
    #[error("{0}{hint}", hint = what_to_do(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// What the file system says of its file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It lost everything.
    #[error("it is empty; kiln store verify --repair starts a new one")]
    Empty,
    /// A newer Kiln wrote it.
    #[error(
        "it has version {0}, which this Kiln does not know; use a newer one, or choose another store with --root"
    )]
    Version(u32),
}

/// Which of a step's two keys a record stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// The definition key.
    Definition,
    /// The content key.
    Content,
}

/// A cache record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// What it stands under.
    pub key: Key,
    /// What the step yielded, encoded.
    pub result: Vec<u8>,
    /// When it was written, in seconds since 1970.
    pub created: i64,
    /// When it was used last, give or take a minute, in seconds since 1970.
    pub used: i64,
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
    /// Whether somebody has looked into it; else it is what an image or a cache says.
    pub is_proven: bool,
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What the step yielded, encoded.
    pub result: Vec<u8>,
    /// The cache of somebody else's that it came from, if it did.
    pub origin: Option<String>,
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
    disk: Arc<dyn Disk>,
    connection: Mutex<Connection>,
}

impl Index {
    /// Opens the index at `path`. If there is none, one is made whole at `draft`, a new path of the
    /// same file system, and moved there.
    pub(super) fn open(path: &Path, draft: &Path, disk: Arc<dyn Disk>) -> Result<Self, IndexError> {
        let open = || {
            if !path.exists() {
                disk.may_change_index()?;
                schema::create(path, draft)?;
            }
            let mut connection = Connection::open(path)?;
            configure(&connection)?;
            schema::migrate(&mut connection)?;
            Ok(connection)
        };
        let connection = open().map_err(|source| IndexError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            disk,
            connection: Mutex::new(connection),
        })
    }

    /// The result recorded under a key.
    pub fn record(&self, key: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.recorded(key)?.map(|recorded| recorded.result))
    }

    /// The same, with where it came from.
    pub fn recorded(&self, key: &Key) -> Result<Option<Recorded>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT result, origin FROM record WHERE key = ?1")?;
            let recorded = |row: &Row<'_>| {
                Ok(Recorded {
                    result: row.get(0)?,
                    origin: row.get(1)?,
                })
            };
            statement
                .query_row([&key.as_bytes()[..]], recorded)
                .optional()
        })
    }

    /// Notes that records were used now.
    pub fn touch_records(&self, keys: &[Key]) -> Result<(), IndexError> {
        let now = now();
        self.change(|connection| {
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

    /// All records, in no order.
    pub fn records(&self) -> Result<Vec<StoredRecord>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare("SELECT key, result, created, used FROM record")?;
            let rows = statement.query_map([], |row| {
                Ok(StoredRecord {
                    key: Key::new(digest_bytes(row, 0)?),
                    result: row.get(1)?,
                    created: row.get(2)?,
                    used: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Forgets records, and which blobs hold layers, all or nothing.
    pub fn forget(
        &self,
        records: &[Key],
        layer_blobs: &[(DiffId, String)],
    ) -> Result<(), IndexError> {
        self.change(|connection| {
            let transaction = connection.transaction()?;
            for key in records {
                for statement in [
                    "DELETE FROM record WHERE key = ?1",
                    "DELETE FROM step WHERE content = ?1",
                ] {
                    transaction
                        .prepare_cached(statement)?
                        .execute([&key.as_bytes()[..]])?;
                }
            }
            for (diff_id, compression) in layer_blobs {
                transaction
                    .prepare_cached(
                        "DELETE FROM layer_blob WHERE diff_id = ?1 AND compression = ?2",
                    )?
                    .execute(params![&diff_id.as_bytes()[..], compression])?;
            }
            transaction.commit()
        })
    }

    /// The remembered content of a selection (see [`kiln_solver::key::selection_key`]).
    pub fn selection(&self, key: &Key) -> Result<Option<ContentDigest>, IndexError> {
        let found: Option<(ContentDigest, i64)> = self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT content, used FROM selection WHERE key = ?1")?;
            let content =
                |row: &Row<'_>| Ok((ContentDigest::new(digest_bytes(row, 0)?), row.get(1)?));
            statement
                .query_row([&key.as_bytes()[..]], content)
                .optional()
        })?;
        let Some((content, used)) = found else {
            return Ok(None);
        };
        // A day more or less does not matter to what is so small.
        if used < now() - 24 * 3600 {
            // That it could not be noted does not make the answer wrong.
            let _ = self.put_selection(key, &content);
        }
        Ok(Some(content))
    }

    /// Remembers the content of a selection.
    pub fn put_selection(&self, key: &Key, content: &ContentDigest) -> Result<(), IndexError> {
        self.change(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO selection VALUES (?1, ?2, ?3)")?
                .execute(params![&key.as_bytes()[..], &content.as_bytes()[..], now()])?;
            Ok(())
        })
    }

    /// Forgets the selections that were not used since a moment, in seconds since 1970, and how many
    /// they were.
    pub fn remove_selections(&self, unused_since: i64) -> Result<usize, IndexError> {
        self.change(|connection| {
            connection.execute("DELETE FROM selection WHERE used < ?1", [unused_since])
        })
    }

    /// The blobs that hold a layer, first those that were looked into; they need not be in the store.
    pub fn layer_blobs(&self, diff_id: &DiffId) -> Result<Vec<LayerBlob>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT compression, digest, size, media_type, proven FROM layer_blob \
                 WHERE diff_id = ?1 ORDER BY proven DESC",
            )?;
            let rows = statement.query_map([&diff_id.as_bytes()[..]], layer_blob)?;
            rows.collect()
        })
    }

    /// Notes that a blob holds a layer.
    pub fn put_layer_blob(&self, diff_id: &DiffId, blob: &LayerBlob) -> Result<(), IndexError> {
        self.change(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO layer_blob VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    &diff_id.as_bytes()[..],
                    blob.compression,
                    &blob.digest.as_bytes()[..],
                    blob.size,
                    blob.media_type,
                    blob.is_proven
                ])?;
            Ok(())
        })
    }

    /// Notes that somebody has looked into a blob of a layer, and that it holds the layer.
    pub fn prove_layer_blob(&self, diff_id: &DiffId, compression: &str) -> Result<(), IndexError> {
        self.change(|connection| {
            connection
                .prepare_cached(
                    "UPDATE layer_blob SET proven = 1 WHERE diff_id = ?1 AND compression = ?2",
                )?
                .execute(params![&diff_id.as_bytes()[..], compression])?;
            Ok(())
        })
    }

    /// Forgets a blob of a layer: it turned out to hold something else.
    pub fn remove_layer_blob(&self, diff_id: &DiffId, compression: &str) -> Result<(), IndexError> {
        self.change(|connection| {
            connection
                .prepare_cached("DELETE FROM layer_blob WHERE diff_id = ?1 AND compression = ?2")?
                .execute(params![&diff_id.as_bytes()[..], compression])?;
            Ok(())
        })
    }

    /// All that is known of which blob holds which layer.
    pub fn all_layer_blobs(&self) -> Result<Vec<(DiffId, LayerBlob)>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT compression, digest, size, media_type, proven, diff_id FROM layer_blob",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((DiffId::new(digest_bytes(row, 5)?), layer_blob(row)?))
            })?;
            rows.collect()
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
        self.change(|connection| {
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
        self.change(|connection| {
            Ok(connection.execute("DELETE FROM image WHERE name = ?1", [name])? > 0)
        })
    }

    /// Has SQLite check the database; an error says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let checked = self.with(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        });
        match checked {
            Ok(said) if said == ["ok"] => Ok(()),
            Ok(said) => Err(said.join("; ")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What was measured, by path: the stamp that it had then, and its bytes.
    pub(crate) fn measured(&self) -> Result<HashMap<String, (i64, u64)>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare("SELECT path, stamp, bytes FROM measured")?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
            rows.collect()
        })
    }

    /// Remembers what was measured, and forgets what is gone.
    pub(crate) fn put_measured(
        &self,
        measured: &[(String, i64, u64)],
        gone: &[String],
    ) -> Result<(), IndexError> {
        self.change(|connection| {
            let transaction = connection.transaction()?;
            for (path, stamp, bytes) in measured {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO measured VALUES (?1, ?2, ?3)")?
                    .execute(params![path, stamp, bytes])?;
            }
            for path in gone {
                transaction
                    .prepare_cached("DELETE FROM measured WHERE path = ?1")?
                    .execute([path])?;
            }
            transaction.commit()
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
        work(&mut connection).map_err(|source| self.error(Reason::Sqlite(source)))
    }

    /// The same for what writes.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let allowed = self.disk.may_change_index();
        allowed.map_err(|source| self.error(Reason::Io(source)))?;
        self.with(work)
    }

    fn error(&self, source: Reason) -> IndexError {
        IndexError {
            path: self.path.clone(),
            source,
        }
    }
}

/// A moment, in seconds since 1970, to be written beside what is used now.
pub(super) fn now() -> i64 {
    Timestamp::now().seconds
}

impl IndexError {
    /// Whether the database itself is damaged.
    pub fn is_damaged(&self) -> bool {
        let code = match &self.source {
            Reason::Sqlite(error) => error.sqlite_error_code(),
            // SQLite takes an empty file for a new database.
            Reason::Empty => return true,
            Reason::Io(_) | Reason::Version(_) => None,
        };
        matches!(
            code,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// What to do about what SQLite says, to be put behind it.
fn what_to_do(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; kiln store verify --repair saves what can be saved"
        }
        // Of shared memory and journals, SQLite says no more than this.
        Some(ErrorCode::SystemIoFailure) => "; the disk there may be full, or broken",
        Some(ErrorCode::DiskFull) => "; make room there or choose another place",
        _ => "",
    }
}

pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

fn layer_blob(row: &Row<'_>) -> rusqlite::Result<LayerBlob> {
    Ok(LayerBlob {
        compression: row.get(0)?,
        digest: Sha256Digest::new(digest_bytes(row, 1)?),
        size: row.get(2)?,
        media_type: row.get(3)?,
        is_proven: row.get(4)?,
    })
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
