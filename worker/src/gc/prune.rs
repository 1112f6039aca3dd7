//! Lets go of what policies say, beside builds that run.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;

use super::describe::describe;
use super::policy::{Choice, Policy, Shortfall};
use super::{GcError, Item, Survey};
use crate::io_error::AtPath;
use crate::store::Store;

/// What went.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What was removed from the disk, in that order.
    pub items: Vec<Item>,
    /// How many cache records were forgotten.
    pub records: usize,
    /// A cap that could not be kept.
    pub shortfall: Option<Shortfall>,
    /// What the store has now, in bytes.
    pub left: u64,
}

/// Removes what policies let go at a moment, in seconds since 1970; with `dry_run`, only tells.
///
/// Killed half way, it leaves a store whose cache knows less: records go before what they name, and
/// what was moved out of the way goes with this process's scratch directory.
pub fn prune(
    store: &Store,
    policies: &[Policy],
    now: i64,
    dry_run: bool,
) -> Result<Pruned, GcError> {
    if !dry_run {
        store.sweep_claims()?;
    }
    // Most of the time nothing is to be done, and nobody has to wait to learn that.
    let survey = Survey::without_records(store)?;
    if survey.is_left_alone(policies, now) {
        return Ok(Pruned::of(survey, &Choice::default()));
    }
    let survey = Survey::take(store)?;
    let choice = survey.choose(policies, now, &|item| describe(store, item));
    let is_nothing = choice.items.is_empty() && choice.records.is_empty();
    if dry_run || is_nothing && choice.layer_blobs.is_empty() {
        if let (Some(since), false) = (choice.selections_unused_since, dry_run) {
            store.index().remove_selections(since)?;
        }
        return Ok(Pruned::of(survey, &choice));
    }
    let gate = store.close_gate()?;
    let survey = Survey::take(store)?;
    let choice = survey.choose(policies, now, &|item| describe(store, item));
    store.index().forget(&choice.records, &choice.layer_blobs)?;
    let trash = store.scratch().new_directory()?;
    for index in &choice.items {
        for (number, path) in survey.items[*index].paths.iter().enumerate() {
            let out_of_the_way = trash.join(format!("{index}-{number}"));
            match store.scratch().disk().rename(path, &out_of_the_way) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed.at("remove", path)?,
            }
        }
    }
    drop(gate);
    if let Some(since) = choice.selections_unused_since {
        store.index().remove_selections(since)?;
    }
    empty(&trash)?;
    Ok(Pruned::of(survey, &choice))
}

impl Pruned {
    fn of(survey: Survey, choice: &Choice) -> Self {
        let bytes = survey.bytes();
        let mut items: Vec<Option<Item>> = survey.items.into_iter().map(Some).collect();
        let gone = choice.items.iter().filter_map(|index| items[*index].take());
        let items: Vec<Item> = gone.collect();
        Self {
            left: bytes - items.iter().map(|item| item.bytes).sum::<u64>(),
            items,
            records: choice.records.len(),
            shortfall: choice.shortfall,
        }
    }
}

/// Removes what is in a directory, and itself.
fn empty(trash: &Path) -> Result<(), GcError> {
    let entries = fs::read_dir(trash).at("list", trash)?;
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.into_par_iter().try_for_each(|path| {
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_directory {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.at("remove", &path)
    })?;
    Ok(fs::remove_dir(trash).at("remove", trash)?)
}
