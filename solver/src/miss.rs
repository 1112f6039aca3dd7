//! Why a step was not in the cache: how it differs from the most similar one that is.

use serde::{Deserialize, Serialize};

use crate::digest::Key;
use crate::execute::{Earlier, StepKeys};
use crate::key::{Difference, differences};

/// A step that was not in the cache, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// The names of its inputs, in the order of the operation's.
    pub inputs: Vec<String>,
    /// Why it was not found.
    pub reason: Reason,
}

/// Why a step was not in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was not to be looked for (`--no-cache`).
    Forbidden,
    /// Nothing like it was recorded.
    New,
    /// It was recorded, but what it yielded is no longer there.
    Gone,
    /// It differs from an earlier step.
    Changed {
        /// The content key of that step.
        earlier: Key,
        /// In what.
        differences: Vec<Difference>,
    },
}

/// Explains by the candidate that fewest parts tell from this step, the first of several; its content
/// key is returned, too.
pub(crate) fn explain(keys: &StepKeys, candidates: Vec<Earlier>) -> (Reason, Option<Key>) {
    let compared = candidates.into_iter().map(|candidate| {
        let found = differences(&candidate.explanation, &keys.explanation);
        (found, candidate.content)
    });
    match compared.min_by_key(|(found, _)| found.len()) {
        None => (Reason::New, None),
        Some((found, _)) if found.is_empty() => (Reason::Gone, None),
        Some((differences, earlier)) => {
            let reason = Reason::Changed {
                earlier,
                differences,
            };
            (reason, Some(earlier))
        }
    }
}
