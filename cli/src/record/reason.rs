//! Why a step ran, or why it did not have to, in words.

use kiln_solver::progress::Cause;

use super::build::{Build, Ending, Step};

/// How much of a name is said, in columns.
const LONGEST_NAME: usize = 48;

impl Build {
    /// One line; `None` if the cache was not asked for the step.
    pub fn reason(&self, step: &Step) -> Option<String> {
        Some(match step.cause? {
            Cause::SameDefinition => "the same was done before on the same inputs".to_owned(),
            Cause::SameContent => {
                "what it reads is what it was, though it came about in another way".to_owned()
            }
            Cause::NotNeeded => "what needs it was in the cache".to_owned(),
            Cause::CacheRefused => "the cache was not to be used".to_owned(),
            Cause::NotRecorded => self.reason_to_run(step),
        })
    }

    /// A step runs because its own text is new, or what it reads: that comes of a step that ran, or of
    /// a source.
    fn reason_to_run(&self, step: &Step) -> String {
        let inputs = step.inputs.iter().filter_map(|id| self.steps.get(id));
        let ran: Vec<String> = inputs
            .filter(|input| input.cause.is_some() && input.ending != Ending::Cached)
            .map(|input| console::truncate_str(&input.name, LONGEST_NAME, "…").into_owned())
            .collect();
        match ran.as_slice() {
            [] => "not done before: the instruction or the files that it reads are new".to_owned(),
            ran => format!("not done before on what this yielded: {}", ran.join(", ")),
        }
    }
}
