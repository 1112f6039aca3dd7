//! Steps in the index: what each was, so that a later one can be compared with it.

use kiln_solver::{Earlier, Key, StepKeys};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::index::{Index, IndexError, RecordKind, digest_bytes};
use crate::tree::Timestamp;

/// How many steps are compared with one that was not found.
const SIMILAR: i64 = 8;

impl Index {
    /// Records what a step yielded under both of its keys, and what it was, all or nothing and in
    /// place of earlier records.
    pub fn put_step(&self, keys: &StepKeys, result: &[u8]) -> Result<(), IndexError> {
        self.put_step_of(keys, result, None)
    }

    /// The same of a step whose result came from somebody else's cache, if `origin` tells from which.
    pub fn put_step_of(
        &self,
        keys: &StepKeys,
        result: &[u8],
        origin: Option<&str>,
    ) -> Result<(), IndexError> {
        let step = KnownStep {
            keys: keys.clone(),
            result: result.to_owned(),
            origin: origin.map(str::to_owned),
            asked_for_by: AskedForBy::BothKeys,
        };
        self.change(|connection| {
            let transaction = connection.transaction()?;
            insert(&transaction, Existing::GoesAway, &step)?;
            transaction.commit()
        })
    }

    /// What was recorded under a definition key, with all that is known of the step. Of one that another
    /// version of Kiln recorded, nothing is told.
    pub fn known_step(&self, definition: &Key) -> Result<Option<KnownStep>, IndexError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT record.result, ifnull(record.claimed, step.content), step.outline, \
                 step.inputs, step.explanation, record.origin, record.claimed IS NULL \
                 FROM record JOIN step ON step.content = record.content WHERE record.key = ?1",
            )?;
            let known = |row: &Row<'_>| {
                let explanation: Vec<u8> = row.get(4)?;
                Ok(KnownStep {
                    result: row.get(0)?,
                    keys: StepKeys {
                        definition: *definition,
                        content: Key::new(digest_bytes(row, 1)?),
                        outline: Key::new(digest_bytes(row, 2)?),
                        inputs: Key::new(digest_bytes(row, 3)?),
                        explanation: postcard::from_bytes(&explanation).unwrap_or_default(),
                    },
                    origin: row.get(5)?,
                    asked_for_by: match row.get(6)? {
                        true => AskedForBy::BothKeys,
                        false => AskedForBy::Definition,
                    },
                })
            };
            statement
                .query_row([&definition.as_bytes()[..]], known)
                .optional()
        })
    }

    /// Records steps of another store, all or nothing; what is recorded already stays as it is.
    pub fn add_steps(&self, steps: &[KnownStep]) -> Result<(), IndexError> {
        self.change(|connection| {
            let transaction = connection.transaction()?;
            for step in steps {
                insert(&transaction, Existing::Stays, step)?;
            }
            transaction.commit()
        })
    }

    /// Records what came of something that is no step of a build: nothing is compared with it.
    pub fn put_record(&self, key: &Key, result: &[u8]) -> Result<(), IndexError> {
        let now = Timestamp::now().seconds;
        self.change(|connection| {
            let mut statement = connection.prepare_cached(
                "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?1, ?4, ?4, NULL, NULL)",
            )?;
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

/// A step with what it yielded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStep {
    /// Its keys.
    pub keys: StepKeys,
    /// What it yielded, encoded.
    pub result: Vec<u8>,
    /// The cache of somebody else's that this came from, if it did.
    pub origin: Option<String>,
    /// Which of the keys a build of this store has computed.
    pub asked_for_by: AskedForBy,
}

/// Which keys of a step a build has computed itself. A result stands under no other: that it is another's,
/// too, is only what somebody else says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedForBy {
    /// The definition key.
    Definition,
    /// The definition key and the content key.
    BothKeys,
}

/// What happens to what is recorded under the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    GoesAway,
    Stays,
}

fn insert(
    transaction: &Transaction<'_>,
    existing: Existing,
    step: &KnownStep,
) -> rusqlite::Result<()> {
    let keys = &step.keys;
    let now = Timestamp::now();
    let explanation = postcard::to_stdvec(&keys.explanation)
        .expect("an explanation holds nothing that postcard refuses");
    let definition = (RecordKind::Definition, &keys.definition);
    let both = [definition, (RecordKind::Content, &keys.content)];
    let (records, content, claimed) = match step.asked_for_by {
        AskedForBy::BothKeys => (&both[..], &keys.content, None),
        AskedForBy::Definition => (&both[..1], &keys.definition, Some(&keys.content)),
    };
    let verb = match existing {
        Existing::GoesAway => "REPLACE",
        Existing::Stays => "IGNORE",
    };
    let content = &content.as_bytes()[..];
    for (kind, key) in records {
        let sql = format!("INSERT OR {verb} INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)");
        let mut statement = transaction.prepare_cached(&sql)?;
        statement.execute(params![
            &key.as_bytes()[..],
            *kind as i64,
            step.result,
            content,
            now.seconds,
            step.origin,
            claimed.map(|key| &key.as_bytes()[..]),
        ])?;
    }
    let nanoseconds = now
        .seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(now.nanoseconds));
    let sql = format!("INSERT OR {verb} INTO step VALUES (?1, ?2, ?3, ?4, ?5)");
    transaction.prepare_cached(&sql)?.execute(params![
        content,
        &keys.outline.as_bytes()[..],
        &keys.inputs.as_bytes()[..],
        explanation,
        nanoseconds
    ])?;
    Ok(())
}

/// An explanation of another version of Kiln explains nothing.
fn step_record(row: &Row<'_>) -> rusqlite::Result<Earlier> {
    let explanation: Vec<u8> = row.get(1)?;
    Ok(Earlier {
        content: Key::new(digest_bytes(row, 0)?),
        explanation: postcard::from_bytes(&explanation).unwrap_or_default(),
    })
}
