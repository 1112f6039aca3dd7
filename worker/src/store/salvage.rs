//! A new index from what can still be read of a damaged one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::disk::RealDisk;
use super::index::{Index, IndexError, Reason};
use super::lease::Gate;
use super::scratch::Scratch;
use super::{StoreError, prepare};
use crate::io_error::AtPath;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the damaged index is now.
    pub moved_to: PathBuf,
    /// How many images kept their names.
    pub images: usize,
    /// How many cache records were kept.
    pub records: usize,
}

/// The tables to read, the most precious first, with what their rows must be like.
const TABLES: [(&str, &str); 5] = [
    (
        "image",
        "typeof(name) = 'text' AND typeof(manifest) = 'blob' AND length(manifest) = 32 AND typeof(created) = 'integer'",
    ),
    (
        "layer_blob",
        "typeof(diff_id) = 'blob' AND length(diff_id) = 32 AND typeof(compression) = 'text' AND typeof(digest) = 'blob' AND length(digest) = 32 AND typeof(size) = 'integer' AND size >= 0 AND typeof(media_type) = 'text'",
    ),
    (
        "record",
        "typeof(key) = 'blob' AND length(key) = 32 AND typeof(result) = 'blob' AND typeof(content) = 'blob' AND length(content) = 32 AND typeof(created) = 'integer' AND typeof(used) = 'integer'",
    ),
    (
        "step",
        "typeof(content) = 'blob' AND length(content) = 32 AND typeof(outline) = 'blob' AND typeof(inputs) = 'blob' AND typeof(explanation) = 'blob' AND typeof(created) = 'integer'",
    ),
    (
        "selection",
        "typeof(key) = 'blob' AND length(key) = 32 AND typeof(content) = 'blob' AND length(content) = 32 AND typeof(used) = 'integer'",
    ),
];

/// Moves the index of the store at `root` aside and starts a new one with every row that can still be
/// read. What the rows name is not looked at.
pub fn salvage(root: &Path) -> Result<Salvaged, StoreError> {
    let root = prepare(root)?;
    let scratch = Scratch::create(&root.join("tmp"), Arc::new(RealDisk))?;
    let gate = Gate::close(&root)?;
    let path = root.join("index.db");
    let moved_to = free_name(&root);
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(&path, suffix), with_suffix(&moved_to, suffix));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.at("move aside", &from)?,
        }
    }
    drop(Index::open(&path, &scratch.new_path(), Arc::new(RealDisk))?);
    let mut counts = [0; TABLES.len()];
    let fail = |source| IndexError {
        path: path.clone(),
        source: Reason::Sqlite(source),
    };
    if let Ok(damaged) = Connection::open(&moved_to) {
        let mut fresh = Connection::open(&path).map_err(fail)?;
        for ((table, condition), count) in TABLES.iter().zip(&mut counts) {
            *count = copy(&damaged, &mut fresh, table, condition).map_err(fail)?;
        }
    }
    drop(gate);
    let [images, _, records, ..] = counts;
    Ok(Salvaged {
        moved_to,
        images,
        records,
    })
}

fn free_name(root: &Path) -> PathBuf {
    let mut names = (1..).map(|number| root.join(format!("index.db.damaged-{number}")));
    names
        .find(|name| !name.exists())
        .expect("numbers do not end")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Copies the rows of a table from both of its ends up to where it is damaged; only what goes wrong
/// with the new one is an error.
fn copy(
    damaged: &Connection,
    fresh: &mut Connection,
    table: &str,
    condition: &str,
) -> rusqlite::Result<usize> {
    let transaction = fresh.transaction()?;
    for order in ["ASC", "DESC"] {
        let query = format!("SELECT * FROM {table} ORDER BY 1 {order}");
        let Ok(mut statement) = damaged.prepare(&query) else {
            break;
        };
        let columns = statement.column_names().collect::<Vec<_>>().join(", ");
        let places = vec!["?"; statement.column_count()].join(", ");
        let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
        let width = statement.column_count();
        let Ok(mut rows) = statement.query([]) else {
            break;
        };
        while let Ok(Some(row)) = rows.next() {
            let values = (0..width).map(|column| row.get(column));
            let Ok(values) = values.collect::<rusqlite::Result<Vec<Value>>>() else {
                continue;
            };
            // A row that the new table does not take is damaged.
            let _ = transaction
                .prepare_cached(&insert)?
                .execute(params_from_iter(values));
        }
    }
    transaction.execute(&format!("DELETE FROM {table} WHERE NOT ({condition})"), [])?;
    let count = transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get(0)
    })?;
    transaction.commit()?;
    Ok(count)
}
