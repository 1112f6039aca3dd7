//! The course of a build in the trace event format of Chrome, which Perfetto opens.
//!
//! The format: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
//! One process is the build; its threads are lanes, as many for each stage as steps of it ran side by
//! side. Times are microseconds from the start of the build.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::record::{Build, Ending, Step, critical_path, lanes};

/// The whole trace.
pub(super) fn trace(build: &Build) -> Value {
    let mut events = vec![metadata(
        "process_name",
        0,
        &json!({ "name": format!("kiln build {}", build.name()) }),
    )];
    let critical = BTreeSet::from_iter(critical_path(build));
    let mut threads = BTreeMap::new();
    let mut thread = 0;
    for (stage, steps) in stages(build) {
        let lanes = lanes(build, &steps);
        let count = lanes.values().max().map_or(0, |lane| lane + 1);
        for lane in 0..count {
            let name = match (stage, lane) {
                ("", _) => format!("other {}", lane + 1),
                (stage, 0) => stage.to_owned(),
                (stage, lane) => format!("{stage} ({})", lane + 1),
            };
            let number = thread + lane;
            events.push(metadata("thread_name", number, &json!({ "name": name })));
            events.push(metadata(
                "thread_sort_index",
                number,
                &json!({ "sort_index": number }),
            ));
        }
        for (id, lane) in &lanes {
            let (step, number) = (&build.steps[id], thread + lane);
            events.push(slice(build, *id, step, number, critical.contains(id)));
            threads.insert(*id, number);
        }
        thread += count;
    }
    for (id, step) in &build.steps {
        events.extend(flows(build, *id, step, &threads));
    }
    events.extend(parallelism(build));
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "id": build.head.id,
            "kiln": build.head.kiln,
            "started": build.head.started,
            "status": build.status,
            "command": build.head.arguments.join(" "),
        },
    })
}

/// The steps of each stage, the stage that was announced first before the others.
fn stages(build: &Build) -> Vec<(&str, Vec<u32>)> {
    let mut stages: Vec<(&str, Vec<u32>)> = Vec::new();
    for (id, step) in &build.steps {
        match stages.iter_mut().find(|(stage, _)| *stage == step.stage()) {
            Some((_, steps)) => steps.push(*id),
            None => stages.push((step.stage(), vec![*id])),
        }
    }
    stages
}

fn metadata(name: &str, thread: usize, args: &Value) -> Value {
    json!({ "ph": "M", "pid": 1, "tid": thread, "name": name, "args": args })
}

fn slice(build: &Build, id: u32, step: &Step, thread: usize, is_critical: bool) -> Value {
    let begin = step.started.or(step.ended).unwrap_or_default();
    let end = build.end_of(step);
    let mut args = BTreeMap::from([
        ("step", json!(step.number)),
        ("result", json!(step.ending.word())),
        ("critical", json!(is_critical)),
    ]);
    let mut add = |name, value: Option<Value>| args.extend(value.map(|value| (name, value)));
    add("why", step.reason().map(Value::from));
    add("definition key", step.definition.map(|key| json!(key)));
    add("content key", step.content.map(|key| json!(key)));
    add("exit", step.exit.map(|exit| json!(exit.to_string())));
    add("peak memory (bytes)", step.peak_memory.map(Value::from));
    add(
        "processor time (ms)",
        step.processor_time
            .map(|time| json!(time.as_secs_f64() * 1e3)),
    );
    if let Ending::Failed(message) = &step.ending {
        add("error", Some(json!(message)));
    }
    let moved: u64 = step.moved.iter().map(|moved| moved.bytes).sum();
    add("bytes moved", (moved > 0).then(|| json!(moved)));
    json!({
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "id": id,
        "cat": match (&step.hit, &step.miss) {
            (_, Some(_)) => "miss",
            (Some(_), None) => "hit",
            (None, None) => "work",
        },
        "name": step.name,
        "ts": begin.as_micros() as u64,
        "dur": end.saturating_sub(begin).as_micros() as u64,
        "args": args,
    })
}

/// Arrows from the ends of a step's inputs to its beginning, if all of them were at work. An arrow belongs to
/// the slice in which its time lies, and another slice may begin where this one ends.
fn flows(build: &Build, id: u32, step: &Step, threads: &BTreeMap<u32, usize>) -> Vec<Value> {
    let Some(begin) = step.started else {
        return Vec::new();
    };
    let inputs = step.inputs.iter().filter_map(|input| {
        let known = build.steps.get(input)?;
        let (begin, end) = (known.started?, known.ended?);
        Some((
            *input,
            begin.max(end.saturating_sub(Duration::from_micros(1))),
        ))
    });
    let arrows = inputs.flat_map(|(input, end)| {
        let name = format!("{input}-{id}");
        let at = |ph: &str, step: &u32, at: Duration| {
            let mut event = json!({
                "ph": ph, "pid": 1, "tid": threads[step], "cat": "needs", "name": "needs",
                "id": name, "ts": at.as_micros() as u64,
            });
            if ph == "f" {
                event["bp"] = json!("e");
            }
            event
        };
        [at("s", &input, end), at("f", &id, begin)]
    });
    arrows.collect()
}

/// How many steps were at work, whenever that changed.
fn parallelism(build: &Build) -> Vec<Value> {
    let mut changes = BTreeMap::<u64, i64>::new();
    for step in build.steps.values() {
        if let Some(begin) = step.started {
            *changes.entry(begin.as_micros() as u64).or_default() += 1;
            *changes
                .entry(build.end_of(step).as_micros() as u64)
                .or_default() -= 1;
        }
    }
    let mut count = 0;
    let counters = changes.into_iter().map(|(at, change)| {
        count += change;
        json!({ "ph": "C", "pid": 1, "name": "steps at work", "ts": at, "args": { "steps": count } })
    });
    counters.collect()
}
