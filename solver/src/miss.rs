//! Why a step was not in the cache: how it differs from the most similar one that is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Key;
use crate::execute::{Earlier, StepKeys};
use crate::graph::{Graph, VertexId};
use crate::key::{Difference, KeyPart, differences};
use crate::op::{Op, Source};

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

/// Begins the path of what stands in an explanation beside the parts of the key.
const ABOUT: &str = "about.";

impl KeyPart {
    /// Whether it is a part of the key. The others only tell people more of a part that is: which image
    /// an input is, and what is left out of a context.
    pub fn identifies(&self) -> bool {
        !self.path.starts_with(ABOUT)
    }
}

impl Difference {
    /// The input that this tells more of, and what: `image` or `ignored`.
    pub fn about(&self) -> Option<(usize, &str)> {
        let (what, input) = self.path.strip_prefix(ABOUT)?.split_once('.')?;
        Some((input.parse().ok()?, what))
    }

    /// The input whose content this is about.
    pub fn input(&self) -> Option<usize> {
        let rest = self.path.strip_prefix("inputs.content")?;
        match rest.strip_prefix('[') {
            None => Some(0),
            Some(rest) => rest.split_once(']')?.0.parse().ok(),
        }
    }
}

/// What people want to know of the inputs of a step when their content changed.
pub(crate) fn about(graph: &Graph, inputs: &[VertexId]) -> Vec<KeyPart> {
    let mut parts = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut add = |what: &str, value: String| {
            let path = format!("{ABOUT}{what}.{index}");
            parts.push(KeyPart { path, value });
        };
        match &*graph.vertex(*input).op {
            Op::Source(Source::Image(image)) if image.reference.contains('@') => {
                add("image", image.reference.clone());
            }
            Op::Source(Source::Image(image)) => {
                add("image", format!("{}@{}", image.reference, image.manifest));
            }
            _ => {
                let rules = graph.ignored(*input).iter();
                rules.for_each(|rule| add("ignored", rule.clone()));
            }
        }
    }
    parts
}

/// The differences between two explanations, where what is only about an input counts if the input's
/// content differs.
pub fn compare(before: &[KeyPart], after: &[KeyPart]) -> Vec<Difference> {
    let mut found = differences(before, after);
    let changed: BTreeSet<usize> = found.iter().filter_map(Difference::input).collect();
    found.retain(|difference| {
        let about = difference.about();
        about.is_none_or(|(input, _)| changed.contains(&input))
    });
    found
}

/// Explains by the candidate that fewest parts tell from this step, the first of several; its content
/// key is returned, too.
pub(crate) fn explain(keys: &StepKeys, candidates: Vec<Earlier>) -> (Reason, Option<Key>) {
    let compared = candidates.into_iter().map(|candidate| {
        let found = compare(&candidate.explanation, &keys.explanation);
        (found, candidate.content)
    });
    let of_the_key =
        |found: &[Difference]| found.iter().filter(|one| one.about().is_none()).count();
    match compared.min_by_key(|(found, _)| of_the_key(found)) {
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
