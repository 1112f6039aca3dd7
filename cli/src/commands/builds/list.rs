//! `kiln builds ls`, in the form of `docker buildx history ls`.

use std::io::Write;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{printable, took};
use crate::args::BuildsListArgs;
use crate::human;
use crate::record::{Build, Shelf, Status};
use crate::settings::{NamePattern, UsageError, duration};
use crate::table::{self, Listed};

/// How much of a name is printed, in columns.
const LONGEST_NAME: usize = 40;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    status: String,
    created_at: String,
    created_since: String,
    duration: String,
    seconds: f64,
    hits: usize,
    misses: usize,
    size: String,
}

/// Prints the list.
pub(super) fn run(
    args: &BuildsListArgs,
    shelf: &Shelf,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let filters: Vec<Filter> = args
        .filters
        .iter()
        .map(|typed| Filter::parse(typed, now))
        .collect::<Result<_, _>>()?;
    let records = shelf.records();
    let records =
        records.with_context(|| format!("cannot list {}", shelf.directory().display()))?;
    let mut rows = Vec::new();
    for record in records {
        // One that was begun this instant has no head yet, and another version's is not for us.
        let Ok(build) = Build::read(&record, now) else {
            continue;
        };
        if filters.iter().all(|filter| filter.lets_pass(&build)) {
            rows.push(row(&build, args.no_trunc, now));
        }
    }
    if args.quiet {
        return Ok(rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", row.id))?);
    }
    Ok(table::print(out, &rows, args.format)?)
}

fn row(build: &Build, in_full: bool, now: Timestamp) -> Row {
    let name = printable(&build.name());
    let size = build.end.as_ref().and_then(|end| end.size);
    Row {
        id: build.head.id.clone(),
        name: match in_full {
            true => name,
            false => console::truncate_str(&name, LONGEST_NAME, "…").into_owned(),
        },
        status: build.status.to_string(),
        created_at: human::time(build.head.started),
        created_since: human::age(build.head.started, now),
        duration: took(build.duration),
        seconds: build.duration.as_secs_f64(),
        hits: build.hits(),
        misses: build.misses(),
        size: size.map_or_else(String::new, human::size),
    }
}

/// What a build must be to be listed.
enum Filter {
    Status(Status),
    Name(NamePattern),
    Since(Timestamp),
    Until(Timestamp),
}

impl Filter {
    fn parse(typed: &str, now: Timestamp) -> Result<Self, UsageError> {
        let wrong = |problem: &str| UsageError::new("--filter", typed, problem);
        let Some((name, value)) = typed.split_once('=') else {
            return Err(wrong("there is no =").hint("write it as in --filter status=failed"));
        };
        let moment = || {
            let age = duration(value).ok_or_else(|| {
                wrong("it is not a duration").hint(format!("write it as in --filter {name}=24h"))
            })?;
            let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
            Ok(now.saturating_sub(age).unwrap_or(Timestamp::MIN))
        };
        match name {
            "status" => status(value)
                .map(Filter::Status)
                .ok_or_else(|| wrong("no build ends so").known_words(value, &STATUSES)),
            "name" => NamePattern::parse("--filter", typed, value).map(Filter::Name),
            "since" => moment().map(Filter::Since),
            "until" => moment().map(Filter::Until),
            _ => Err(wrong("there is no such filter")
                .known_words(name, &["status", "name", "since", "until"])),
        }
    }

    fn lets_pass(&self, build: &Build) -> bool {
        match self {
            Filter::Status(status) => build.status == *status,
            Filter::Name(pattern) => {
                pattern.matches(&build.name())
                    || build.head.tags.iter().any(|tag| pattern.matches(tag))
            }
            Filter::Since(moment) => build.head.started >= *moment,
            Filter::Until(moment) => build.head.started < *moment,
        }
    }
}

const STATUSES: [&str; 5] = ["running", "succeeded", "failed", "canceled", "killed"];

fn status(typed: &str) -> Option<Status> {
    let all = [
        Status::Running,
        Status::Succeeded,
        Status::Failed,
        Status::Canceled,
        Status::Killed,
    ];
    let position = STATUSES.iter().position(|word| *word == typed)?;
    Some(all[position])
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec![
            "BUILD ID",
            "NAME",
            "STATUS",
            "CREATED AT",
            "DURATION",
            "HITS",
            "MISSES",
            "SIZE",
        ]
    }

    fn cells(&self) -> Vec<String> {
        let (hits, misses) = (self.hits.to_string(), self.misses.to_string());
        let Row {
            id,
            name,
            status,
            created_since,
            duration,
            size,
            ..
        } = self;
        [
            id,
            name,
            status,
            created_since,
            duration,
            &hits,
            &misses,
            size,
        ]
        .map(String::clone)
        .into()
    }
}
