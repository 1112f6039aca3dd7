//! Where the time of a build went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::build::{Build, Ending, Step};

/// The steps that the build waited for, one after the other, the first one first: a build that is to
/// be faster must make one of these faster. Found from the end, which is what failed or else what
/// ended last: it waited for that one of its inputs that ended last; a step without inputs, for what
/// ended last before it began.
pub fn critical_path(build: &Build) -> Vec<u32> {
    let mut path = Vec::new();
    let mut on_path = BTreeSet::new();
    let failed = |id| matches!(build.steps[&id].ending, Ending::Failed(_));
    let mut next = last_to_end(build, failed).or_else(|| last_to_end(build, |_| true));
    while let Some(id) = next {
        path.push(id);
        on_path.insert(id);
        let step = &build.steps[&id];
        let inputs = inputs_at_work(build, step).into_iter();
        let of_inputs = inputs
            .filter(|id| !on_path.contains(id) && was_at_work(&build.steps[id]))
            .max_by_key(|id| (build.end_of(&build.steps[id]), *id));
        let begin = step.started.unwrap_or_default();
        next = of_inputs.or_else(|| {
            last_to_end(build, |id| {
                !on_path.contains(&id) && build.end_of(&build.steps[&id]) <= begin
            })
        });
    }
    path.reverse();
    path
}

fn last_to_end(build: &Build, is_wanted: impl Fn(u32) -> bool) -> Option<u32> {
    let steps = build.steps.iter();
    let wanted = steps.filter(|(id, step)| was_at_work(step) && is_wanted(**id));
    let latest = wanted.max_by_key(|(id, step)| (build.end_of(step), **id));
    latest.map(|(id, _)| *id)
}

fn was_at_work(step: &Step) -> bool {
    step.started.is_some() && step.ending != Ending::Cached
}

/// The inputs of a step, those from the cache replaced by theirs.
fn inputs_at_work(build: &Build, step: &Step) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = step.inputs.clone();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        match build.steps.get(&id) {
            Some(input) if input.ending == Ending::Cached => waiting.extend(&input.inputs),
            Some(_) => found.push(id),
            None => {}
        }
    }
    found
}

/// Lanes for the steps of a stage, so that no two that overlap share one: each step's lane, from 0.
pub fn lanes(build: &Build, steps: &[u32]) -> BTreeMap<u32, usize> {
    let mut spans: Vec<(Duration, Duration, u32)> = steps
        .iter()
        .filter_map(|id| {
            let step = build.steps.get(id)?;
            let begin = step.started.or(step.ended)?;
            Some((begin, build.end_of(step).max(begin), *id))
        })
        .collect();
    spans.sort_unstable();
    let mut free_from: Vec<Duration> = Vec::new();
    let mut lanes = BTreeMap::new();
    for (begin, end, id) in spans {
        let free = free_from.iter().position(|free| *free <= begin);
        let lane = free.unwrap_or_else(|| {
            free_from.push(end);
            free_from.len() - 1
        });
        free_from[lane] = end;
        lanes.insert(id, lane);
    }
    lanes
}
