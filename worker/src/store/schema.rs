//! The tables of the index, and how those of older versions of Kiln become them.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use rustix::fs::{CWD, RenameFlags};

use super::index::{Reason, configure};

/// The version of the tables below, which SQLite keeps as `user_version`.
const VERSION: u32 = 3;

/// Of a record that came from somebody else's cache, `origin` tells where that was, and `claimed` its content
/// key as it is said there, if nobody has computed it here: `content` is the record's own key then.
const RECORD: &str = "CREATE TABLE record (
    key         BLOB PRIMARY KEY,
    kind        INTEGER NOT NULL,
    result      BLOB NOT NULL,
    content     BLOB NOT NULL,
    created     INTEGER NOT NULL,
    used        INTEGER NOT NULL,
    origin      TEXT,
    claimed     BLOB
) WITHOUT ROWID;";

const STEP: &str = "CREATE TABLE step (
    content     BLOB PRIMARY KEY,
    outline     BLOB NOT NULL,
    inputs      BLOB NOT NULL,
    explanation BLOB NOT NULL,
    created     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX step_outline ON step (outline, created);
CREATE INDEX step_inputs ON step (inputs, created);";

const SELECTION: &str = "CREATE TABLE selection (
    key     BLOB PRIMARY KEY,
    content BLOB NOT NULL,
    used    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;";

/// `proven` is 1 where somebody has looked into the blob, and 0 where an image says so.
const LAYER_BLOB: &str = "CREATE TABLE layer_blob (
    diff_id     BLOB NOT NULL,
    compression TEXT NOT NULL,
    digest      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    media_type  TEXT NOT NULL,
    proven      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (diff_id, compression)
) WITHOUT ROWID;";

const IMAGE: &str = "CREATE TABLE image (
    name     TEXT PRIMARY KEY,
    manifest BLOB NOT NULL,
    created  INTEGER NOT NULL
) WITHOUT ROWID;";

const MEASURED: &str = "CREATE TABLE measured (
    path  TEXT PRIMARY KEY,
    stamp INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;";

/// All tables of a new index.
const TABLES: [&str; 6] = [RECORD, STEP, SELECTION, LAYER_BLOB, IMAGE, MEASURED];

/// From version 1, of which there are two: the first kept explanations with the records. Neither knew
/// which content key belongs to a definition key, when a selection was used nor what was measured.
/// Explanations are made anew.
const FROM_VERSION_1: [&str; 7] = [
    "ALTER TABLE record RENAME TO record_1;",
    RECORD,
    "INSERT INTO record SELECT key, kind, result, key, created, used, NULL, NULL FROM record_1;
     DROP TABLE record_1;
     DROP TABLE IF EXISTS step;
     ALTER TABLE selection ADD COLUMN used INTEGER NOT NULL DEFAULT 0;",
    STEP,
    MEASURED,
    PROVEN,
    "PRAGMA user_version = 3;",
];

/// From version 2, which knew of no record where it came from, nor of which blobs were looked into: those are
/// that Kiln compressed itself.
const FROM_VERSION_2: [&str; 3] = [
    "ALTER TABLE record ADD COLUMN origin TEXT;
     ALTER TABLE record ADD COLUMN claimed BLOB;",
    PROVEN,
    "PRAGMA user_version = 3;",
];

const PROVEN: &str = "ALTER TABLE layer_blob ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
     UPDATE layer_blob SET proven = 1 WHERE compression NOT LIKE 'original%';";

/// Makes an index at `draft`, a new path of the same file system, and moves it to `path`. Several
/// processes may do so at once: the first wins. None ever sees an index in the making, for SQLite
/// lets nobody wait while another switches the journal's mode.
pub(super) fn create(path: &Path, draft: &Path) -> Result<(), Reason> {
    write(draft)?;
    match rustix::fs::renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Ok(std::fs::remove_file(draft)?),
        Err(errno) => Err(Reason::Io(errno.into())),
    }
}

fn write(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // The file remembers it.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    configure(&connection)?;
    let tables = TABLES.concat();
    connection.execute_batch(&format!(
        "BEGIN; {tables} PRAGMA user_version = {VERSION}; COMMIT;"
    ))?;
    // Closing moves the journal into the file.
    connection.close().map_err(|(_, error)| error)
}

/// Brings the tables up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Reason> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    // One migrates, the others wait and find it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        VERSION => {}
        1 => transaction.execute_batch(&FROM_VERSION_1.concat())?,
        2 => transaction.execute_batch(&FROM_VERSION_2.concat())?,
        0 => return Err(Reason::Empty),
        other => return Err(Reason::Version(other)),
    }
    Ok(transaction.commit()?)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Store;
    use super::*;

    /// The tables as the first version made them.
    const SCHEMA_1: &str = include_str!("../../../testdata/frozen/index-v1.sql");

    /// The tables as the second version made them.
    const SCHEMA_2: &str = include_str!("../../../testdata/frozen/index-v2.sql");

    /// A store whose index has older tables, and where that is.
    fn store_with(tables: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        drop(Store::open(directory.path()).expect("writable"));
        let path = directory.path().join("index.db");
        std::fs::remove_file(&path).expect("it is there");
        let old = Connection::open(&path).expect("writable");
        old.pragma_update(None, "journal_mode", "WAL")
            .expect("it may");
        old.execute_batch(tables).expect("it is SQL");
        (directory, path)
    }

    #[test]
    fn an_index_of_the_second_version_is_brought_up_to_date() {
        let (directory, _) = store_with(SCHEMA_2);
        let store = Store::open(directory.path()).expect("it is migrated");
        let key = kiln_solver::Key::new([7; 32]);
        let recorded = store.index().recorded(&key).expect("readable");
        assert_eq!(recorded.expect("it is there").origin, None);
        let blobs = store.index().all_layer_blobs().expect("readable");
        let proven = |label: &str| {
            let mut blobs = blobs.iter();
            let blob = blobs.find(|(_, blob)| blob.compression == label);
            blob.expect("it is there").1.is_proven
        };
        assert!(proven("gzip-6-x") && !proven("original-y"));
    }

    #[test]
    fn an_index_of_the_first_version_is_brought_up_to_date() {
        let (directory, path) = store_with(SCHEMA_1);
        for _ in 0..2 {
            let store = Store::open(directory.path()).expect("it is migrated");
            let images = store.index().images().expect("readable");
            assert_eq!(images.len(), 1);
            let key = kiln_solver::Key::new([7; 32]);
            assert!(store.index().selection(&key).expect("readable").is_some());
        }
        let newer = Connection::open(&path).expect("readable");
        newer
            .pragma_update(None, "user_version", 4)
            .expect("writable");
        let refused = Store::open(directory.path()).err().expect("it is newer");
        assert!(refused.to_string().contains("version 4"), "{refused}");
    }
}
