//! `kiln builds inspect`: what is known of a build and its steps.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{printable, took};
use crate::args::{BuildsInspectArgs, Format};
use crate::human;
use crate::record::{Build, Ending, Record, Step, critical_path};
use crate::table;

/// How much of a step's name is printed, in columns.
const LONGEST_NAME: usize = 60;

/// Prints it.
pub(super) fn run(
    args: &BuildsInspectArgs,
    record: &Record,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let mut build = Build::read(record, now)?;
    build.measure_logs(record)?;
    let critical: BTreeSet<u32> = critical_path(&build).into_iter().collect();
    if args.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &as_json(&build, record, &critical))?;
        return Ok(out.write_all(b"\n")?);
    }
    for (name, value) in facts(&build, record, now) {
        writeln!(out, "{:<14}{value}", format!("{name}:"))?;
    }
    writeln!(out)?;
    let headers = [
        "#", "STEP", "RESULT", "BEGAN", "TOOK", "CPU", "MEMORY", "LOG", "WHY",
    ];
    let mut rows = vec![headers.map(str::to_owned).to_vec()];
    let mut shown: Vec<_> = build
        .steps
        .iter()
        .filter(|(_, step)| step.number.is_some())
        .collect();
    shown.sort_by_key(|(_, step)| step.number);
    rows.extend(
        shown
            .iter()
            .map(|(id, step)| row(&build, step, critical.contains(id))),
    );
    table::columns(out, &rows)?;
    Ok(writeln!(
        out,
        "\n* is on the critical path: the steps that the build waited for"
    )?)
}

fn facts(build: &Build, record: &Record, now: Timestamp) -> Vec<(&'static str, String)> {
    let head = &build.head;
    let began = format!(
        "{} ({})",
        human::time(head.started),
        human::age(head.started, now)
    );
    let command = head.arguments.iter().map(|word| quoted(word));
    let mut facts = vec![
        ("ID", head.id.clone()),
        ("Name", printable(&build.name())),
        ("Status", build.status.to_string()),
    ];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let end = build.end.as_ref();
    add(
        "Error",
        end.and_then(|end| end.error.as_deref()).map(printable),
    );
    add("Created", Some(began));
    add("Duration", Some(took(build.duration)));
    add(
        "Command",
        Some(format!("kiln {}", command.collect::<Vec<_>>().join(" "))),
    );
    add("Directory", Some(printable(&head.directory)));
    add("Context", Some(printable(&head.context)));
    let read = build.dockerfile.as_ref().map(|(name, _)| printable(name));
    add(
        "Dockerfile",
        read.or_else(|| head.dockerfile.as_deref().map(printable)),
    );
    add("Target", head.target.as_deref().map(printable));
    add(
        "Tags",
        (!head.tags.is_empty()).then(|| printable(&head.tags.join(", "))),
    );
    add("Image", end.and_then(|end| end.image.clone()));
    add("Size", end.and_then(|end| end.size).map(human::size));
    add(
        "Steps",
        Some(format!(
            "{} from the cache, {} ran",
            build.hits(),
            build.misses()
        )),
    );
    add("Kiln", Some(head.kiln.clone()));
    let kept = format!(
        "{} ({})",
        record.directory().display(),
        human::size(record.size())
    );
    add("Record", Some(kept));
    add(
        "Damaged",
        (build.damaged > 0).then(|| format!("{} lines", build.damaged)),
    );
    facts
}

/// A word as a shell would have to be given it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", printable(word).replace('\'', r"'\''")),
    }
}

fn row(build: &Build, step: &Step, is_critical: bool) -> Vec<String> {
    let none = String::new;
    let name = printable(&step.name);
    let began = |at: std::time::Duration| format!("{:.3}s", at.as_secs_f64());
    vec![
        step.number.map_or_else(none, |number| number.to_string()),
        console::truncate_str(&name, LONGEST_NAME, "…").into_owned(),
        format!(
            "{}{}",
            step.ending.word(),
            if is_critical { " *" } else { "" }
        ),
        step.started.map_or_else(none, began),
        step.started
            .map_or_else(none, |_| took(step.took(build.end_of(step)))),
        step.processor_time.map_or_else(none, took),
        step.peak_memory.map_or_else(none, human::size),
        match step.log.bytes {
            0 => none(),
            bytes => human::size(bytes),
        },
        why(step),
    ]
}

fn why(step: &Step) -> String {
    match &step.ending {
        Ending::Failed(message) => printable(message),
        _ => step
            .reason()
            .map_or_else(String::new, |reason| printable(&reason)),
    }
}

fn as_json(build: &Build, record: &Record, critical: &BTreeSet<u32>) -> Value {
    let (head, end) = (&build.head, build.end.as_ref());
    let steps = build.steps.iter();
    let steps = steps.map(|(id, step)| step_as_json(*id, step, critical.contains(id)));
    json!({
        "ID": head.id,
        "Name": build.name(),
        "Status": build.status,
        "Error": end.and_then(|end| end.error.as_ref()),
        "CreatedAt": head.started,
        "Duration": build.duration.as_secs_f64(),
        "Arguments": head.arguments,
        "Directory": head.directory,
        "Context": head.context,
        "Dockerfile": build.dockerfile.as_ref().map(|(name, text)| json!({ "Name": name, "Text": text })),
        "Target": head.target,
        "Tags": head.tags,
        "Image": end.and_then(|end| end.image.as_ref()),
        "Size": end.and_then(|end| end.size),
        "Hits": build.hits(),
        "Misses": build.misses(),
        "Kiln": head.kiln,
        "Record": record.directory(),
        "DamagedLines": build.damaged,
        "Steps": steps.collect::<Vec<_>>(),
    })
}

/// Times are seconds from the build's start.
fn step_as_json(id: u32, step: &Step, is_critical: bool) -> Value {
    let error = match &step.ending {
        Ending::Failed(message) => Some(message),
        _ => None,
    };
    json!({
        "ID": id,
        "Number": step.number,
        "Name": step.name,
        "Stage": step.stage(),
        "Result": step.ending.word(),
        "Error": error,
        "Exit": step.exit,
        "Hit": step.hit,
        "Origin": step.origin,
        "Miss": step.miss,
        "Why": step.reason(),
        "Started": step.started.map(|at| at.as_secs_f64()),
        "Ended": step.ended.map(|at| at.as_secs_f64()),
        "Inputs": step.inputs,
        "DefinitionKey": step.definition,
        "ContentKey": step.content,
        "ProcessorTime": step.processor_time.map(|time| time.as_secs_f64()),
        "PeakMemory": step.peak_memory,
        "Moved": step.moved,
        "LogBytes": step.log.bytes,
        "Span": step.span,
        "Critical": is_critical,
    })
}
