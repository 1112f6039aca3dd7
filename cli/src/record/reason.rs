//! Why a step ran, or why it did not have to, in words.

use kiln_solver::Miss;
use kiln_solver::progress::Hit;

use super::build::Step;
use crate::explain;

/// How much of a name or a value is said, in columns.
const LONGEST: usize = 48;
/// How many differences are said.
const MOST: usize = 3;

impl Step {
    /// One line; `None` if the cache was not asked for the step.
    pub fn reason(&self) -> Option<String> {
        if let Some(miss) = &self.miss {
            let kept = self.is_reproduced.then_some(explain::REPRODUCED);
            let said = std::iter::once(reason_to_run(miss)).chain(kept.map(str::to_owned));
            return Some(said.collect::<Vec<_>>().join("; "));
        }
        let reason = match self.hit? {
            Hit::SameDefinition => "the same was done before on the same inputs",
            Hit::SameContent => "what it reads is what it was, though it came about in another way",
            Hit::NotNeeded => "what needs it was in the cache",
        };
        Some(match &self.origin {
            Some(cache) => format!("{reason}, by the cache in {cache}"),
            None => reason.to_owned(),
        })
    }
}

fn reason_to_run(miss: &Miss) -> String {
    let mut causes = explain::causes(miss, LONGEST);
    let more = causes.len().saturating_sub(MOST);
    causes.truncate(MOST);
    if more > 0 {
        causes.push(format!("and {more} more"));
    }
    causes.join("; ")
}
