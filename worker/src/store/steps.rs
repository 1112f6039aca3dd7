//! Steps in the index: what each was, so that a later one can be compared with it.

use kiln_solver::{Earlier, Key, StepKeys};
use rusqlite::{OptionalExtension, Row, params};

use super::index::{Index, IndexError, RecordKind, digest_bytes};
use crate::tree::Timestamp;

/// How many steps are compared with one that was not found.
const SIMILAR: i64 = 8;

impl Index {
    /// Records what a step yielded under both of its keys, and what it was, all or nothing and in
    /// place of earlier records.
    pub fn put_step(&self, keys: &StepKeys, result: &[u8]) -> Result<(), IndexError> {
        let now = Timestamp::now();
        let explanation = postcard::to_stdvec(&keys.explanation)
            .expect("an explanation holds nothing that postcard refuses");
        let records = [
            (RecordKind::Definition, &keys.definition),
            (RecordKind::Content, &keys.content),
        ];
        self.change(|connection| {
            let transaction = connection.transaction()?;
            for (kind, key) in records {
                let mut statement = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                )?;
                let kind = kind as i64;
                let content = &keys.content.as_bytes()[..];
                statement.execute(params![
                    &key.as_bytes()[..],
                    kind,
                    result,
                    content,
                    now.seconds
                ])?;
            }
            let nanoseconds = now
                .seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(i64::from(now.nanoseconds));
            transaction
                .prepare_cached("INSERT OR REPLACE INTO step VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    &keys.content.as_bytes()[..],
                    &keys.outline.as_bytes()[..],
                    &keys.inputs.as_bytes()[..],
                    explanation,
                    nanoseconds
                ])?;
            transaction.commit()
        })
    }

    /// Records what came of something that is no step of a build: nothing is compared with it.
    pub fn put_record(&self, key: &Key, result: &[u8]) -> Result<(), IndexError> {
        let now = Timestamp::now().seconds;
        self.change(|connection| {
            let mut statement = connection
                .prepare_cached("INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?1, ?4, ?4)")?;
            let (key, kind) = (&key.as_bytes()[..], RecordKind::Content as i64);
            statement.execute(params![key, kind, result, now])?;
            Ok(())
        })
    }

    /// The content key of the step whose result stands under a definition key.
    pub fn content_key(&self, definition: &Key) -> Result<Option<Key>, IndexError> {
        self.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT content FROM record WHERE key = ?1")?;
            let content = |row: &Row<'_>| Ok(Key::new(digest_bytes(row, 0)?));
            statement
                .query_row([&definition.as_bytes()[..]], content)
                .optional()
        })
    }

    /// The step that was recorded under a content key.
    pub fn step(&self, content: &Key) -> Result<Option<Earlier>, IndexError> {
        self.with(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT content, explanation FROM step WHERE content = ?1")?;
            statement
                .query_row([&content.as_bytes()[..]], step_record)
                .optional()
        })
    }

    /// The latest steps that did the same, and the latest that read the same.
    pub fn similar_steps(&self, keys: &StepKeys) -> Result<Vec<Earlier>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT content, explanation, created FROM (
                     SELECT * FROM step WHERE outline = ?1 ORDER BY created DESC LIMIT ?3)
                 UNION
                 SELECT content, explanation, created FROM (
                     SELECT * FROM step WHERE inputs = ?2 ORDER BY created DESC LIMIT ?3)
                 ORDER BY created DESC",
            )?;
            let (outline, inputs) = (keys.outline.as_bytes(), keys.inputs.as_bytes());
            let rows = statement.query_map(params![outline, inputs, SIMILAR], step_record)?;
            rows.collect()
        })
    }
}

/// An explanation of another version of Kiln explains nothing.
fn step_record(row: &Row<'_>) -> rusqlite::Result<Earlier> {
    let explanation: Vec<u8> = row.get(1)?;
    Ok(Earlier {
        content: Key::new(digest_bytes(row, 0)?),
        explanation: postcard::from_bytes(&explanation).unwrap_or_default(),
    })
}
