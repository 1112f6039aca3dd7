//! Why a step ran, or why it did not have to, in words.

use kiln_solver::key::Difference;
use kiln_solver::progress::Hit;
use kiln_solver::{Miss, MissReason};

use super::build::{Build, Step};

/// How much of a name or a value is said, in columns.
const LONGEST: usize = 48;
/// How many differences are said.
const MOST: usize = 3;

impl Build {
    /// One line; `None` if the cache was not asked for the step.
    pub fn reason(&self, step: &Step) -> Option<String> {
        if let Some(miss) = &step.miss {
            return Some(self.reason_to_run(step, miss));
        }
        let reason = match step.hit? {
            Hit::SameDefinition => "the same was done before on the same inputs",
            Hit::SameContent => "what it reads is what it was, though it came about in another way",
            Hit::NotNeeded => "what needs it was in the cache",
        };
        Some(reason.to_owned())
    }

    fn reason_to_run(&self, step: &Step, miss: &Miss) -> String {
        match &miss.reason {
            MissReason::Forbidden => "the cache was not to be used".to_owned(),
            MissReason::New => "nothing like it was done before".to_owned(),
            MissReason::Gone => "what it yielded before is no longer in the store".to_owned(),
            MissReason::Changed { differences, .. } => {
                let mut said: Vec<String> = Vec::new();
                for difference in differences {
                    let what = self.in_words(step, difference);
                    if !said.contains(&what) {
                        said.push(what);
                    }
                }
                let more = said.len().saturating_sub(MOST);
                said.truncate(MOST);
                let more = if more > 0 {
                    format!("; and {more} more")
                } else {
                    String::new()
                };
                format!("{}{more}", said.join("; "))
            }
        }
    }

    fn in_words(&self, step: &Step, difference: &Difference) -> String {
        let path = difference.path.as_str();
        if path.starts_with("inputs.") {
            return self.changed_inputs(step);
        }
        let name = path.split('.').skip(2).filter(|word| *word != "-");
        let name = name.collect::<Vec<_>>().join(" ");
        let value = |values: &[String]| match values {
            [] => "nothing".to_owned(),
            values => short(&values.join(" ")),
        };
        let (before, after) = (value(&difference.before), value(&difference.after));
        format!("{name} was {before}, is {after}")
    }

    /// What a step reads changes because a step before it ran, or because a source did.
    fn changed_inputs(&self, step: &Step) -> String {
        let inputs = step.inputs.iter().filter_map(|id| self.steps.get(id));
        let ran = inputs.filter(|input| input.miss.is_some());
        let ran: Vec<String> = ran.map(|input| short(&input.name)).collect();
        match ran.as_slice() {
            [] => "the files that it reads changed".to_owned(),
            ran => format!("what it reads changed, as this ran: {}", ran.join(", ")),
        }
    }
}

fn short(text: &str) -> String {
    console::truncate_str(text, LONGEST, "…").into_owned()
}
