//! What goes from the store and when: the `[gc]` table of kiln.toml, and the options of
//! `kiln prune`. Names and meanings are those of buildkitd.toml.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_worker::gc::{Filter, Policy, Space};
use serde::Deserialize;

use super::{Environment, UsageError};
use crate::args::{GlobalArgs, PruneArgs};

/// A day, in seconds.
const DAY: u64 = 24 * 3600;

/// What kiln.toml may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    gc: GcTable,
}

/// The table `[gc]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GcTable {
    enabled: Option<bool>,
    reserved_space: Option<SpaceValue>,
    max_used_space: Option<SpaceValue>,
    min_free_space: Option<SpaceValue>,
    policy: Option<Vec<PolicyTable>>,
}

/// A table `[[gc.policy]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyTable {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    filters: Vec<FilterValue>,
    keep_duration: Option<DurationValue>,
    reserved_space: Option<SpaceValue>,
    max_used_space: Option<SpaceValue>,
    min_free_space: Option<SpaceValue>,
}

/// A number of bytes, or text such as `20GB` and `10%`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
struct SpaceValue(Space);

/// A number of seconds, or text such as `48h`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
struct DurationValue(u64);

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct FilterValue(Filter);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl TryFrom<NumberOrText> for SpaceValue {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let space = match value {
            NumberOrText::Number(bytes) => Ok(Space::Bytes(bytes)),
            NumberOrText::Text(text) => text.parse(),
        };
        space.map(Self).map_err(|error| error.to_string())
    }
}

impl TryFrom<NumberOrText> for DurationValue {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(seconds) => Ok(Self(seconds)),
            NumberOrText::Text(text) => {
                let age = duration(&text).map(|age| Self(age.as_secs()));
                age.ok_or_else(|| format!("{text:?} is no duration; write it as in 48h or 7d"))
            }
        }
    }
}

impl TryFrom<String> for FilterValue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error: kiln_worker::gc::FilterError| error.to_string())
    }
}

/// The file with settings, and whether it must exist.
pub fn config_file(
    global: &GlobalArgs,
    environment: &Environment,
    is_root: bool,
) -> Option<(PathBuf, bool)> {
    if let Some(path) = &global.config {
        return Some((path.clone(), true));
    }
    if is_root {
        return Some((PathBuf::from("/etc/kiln/kiln.toml"), false));
    }
    let config = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let in_home = || Some(Path::new(environment.get("HOME")?).join(".config"));
    let directory = config.filter(|path| path.is_absolute()).or_else(in_home)?;
    Some((directory.join("kiln/kiln.toml"), false))
}

/// What is removed after a build by what the file with settings says; nothing if that is turned off.
/// Where it says nothing, the amounts are BuildKit's.
pub fn automatic_gc(text: &str) -> Result<Option<Vec<Policy>>, toml::de::Error> {
    let ConfigFile { gc } = toml::from_str(text)?;
    if gc.enabled == Some(false) {
        return Ok(None);
    }
    let policies = gc
        .policy
        .as_ref()
        .map(|tables| tables.iter().map(policy).collect());
    Ok(Some(policies.unwrap_or_else(|| default_policies(&gc))))
}

fn policy(table: &PolicyTable) -> Policy {
    Policy {
        all: table.all,
        filters: table
            .filters
            .iter()
            .map(|filter| filter.0.clone())
            .collect(),
        keep_duration: table.keep_duration.map(|age| age.0),
        reserved_space: table.reserved_space.map(|space| space.0),
        max_used_space: table.max_used_space.map(|space| space.0),
        min_free_space: table.min_free_space.map(|space| space.0),
    }
}

/// As BuildKit does by default: what is had again easily goes after two days, all cache after two
/// months, and any when there is too much of it.
fn default_policies(gc: &GcTable) -> Vec<Policy> {
    let (reserved, maximum) = (gc.reserved_space, gc.max_used_space);
    let is_unset = reserved.is_none() && maximum.is_none() && gc.min_free_space.is_none();
    let (reserved, maximum, free) = match is_unset {
        true => (
            Some(Space::Bytes(10_000_000_000)),
            Some(Space::Percent(80)),
            Some(Space::Percent(20)),
        ),
        false => (
            reserved.map(|space| space.0),
            maximum.map(|space| space.0),
            gc.min_free_space.map(|space| space.0),
        ),
    };
    let capped = Policy {
        reserved_space: reserved,
        max_used_space: maximum,
        min_free_space: free,
        ..Policy::default()
    };
    let easily_had = "type==source.local type==exec.cachemount type==source.git.checkout";
    let filters = easily_had
        .split(' ')
        .map(|text| text.parse().expect("these are filters"));
    vec![
        Policy {
            filters: filters.collect(),
            keep_duration: Some(2 * DAY),
            max_used_space: Some(Space::Bytes(512_000_000)),
            ..Policy::default()
        },
        Policy {
            keep_duration: Some(60 * DAY),
            ..capped.clone()
        },
        capped.clone(),
        Policy {
            all: true,
            ..capped
        },
    ]
}

/// The policy of `kiln prune`.
pub fn prune_policy(args: &PruneArgs) -> Result<Policy, UsageError> {
    let (keep_duration, filters) = filters(&args.filters)?;
    let space = |option: &'static str, text: &Option<String>| {
        let parse = |text: &String| {
            let space = text.parse::<Space>();
            space.map_err(|error| UsageError::new(option, text, error.to_string()))
        };
        text.as_ref().map(parse).transpose()
    };
    Ok(Policy {
        all: args.all,
        filters,
        keep_duration,
        reserved_space: space("--reserved-space", &args.reserved_space)?,
        max_used_space: space("--max-used-space", &args.max_used_space)?,
        min_free_space: space("--min-free-space", &args.min_free_space)?,
    })
}

/// What `--filter` options say together: an age in seconds, and a filter if there is one.
pub fn filters(typed: &[String]) -> Result<(Option<u64>, Vec<Filter>), UsageError> {
    let mut age = None;
    let mut conditions: Vec<&str> = Vec::new();
    for text in typed {
        let wrong = |problem: &str| {
            UsageError::new("--filter", text, problem)
                .hint("write it as in --filter until=24h or --filter type=exec.cachemount")
        };
        if let Some(("until" | "unused-for", duration_text)) = text.split_once('=') {
            let unused = duration(duration_text).ok_or_else(|| wrong("it is not a duration"))?;
            age = Some(unused.as_secs());
        } else {
            let parsed = text.parse::<Filter>();
            parsed.map_err(|error| wrong(&error.to_string()))?;
            conditions.push(text);
        }
    }
    let joined = conditions
        .join(",")
        .parse()
        .expect("each of them is a filter");
    let filters = if conditions.is_empty() {
        Vec::new()
    } else {
        vec![joined]
    };
    Ok((age, filters))
}

/// Numbers with units one after the other, such as `1h30m`, as Go writes durations; and days, which
/// Go does not know.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => DAY,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        total = total.checked_add(Duration::from_secs(part))?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("24h", Some(86_400)),
            ("1h30m", Some(5400)),
            ("7d", Some(604_800)),
            ("90s", Some(90)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1w", None),
            ("99999999999999999999h", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn settings_are_read_as_buildkit_writes_them() {
        let cases = [
            ("", "4 policies, the last of all, up to Percent(80)"),
            (
                "[gc]\nmaxUsedSpace = 1000",
                "4 policies, the last of all, up to Bytes(1000)",
            ),
            (
                "[[gc.policy]]\nkeepDuration = \"48h\"\nmaxUsedSpace = \"512MB\"\nfilters = [\"type==source.local\"]",
                "1 policies, the last of some, up to Bytes(512000000)",
            ),
            ("[gc]\nenabled = false", "none"),
            ("[gc]\nmaxUsedSpace = \"10XB\"", "\"10XB\" is no size"),
            (
                "[gc]\nreservedSpace = \"99999999999999999999\"",
                "\"99999999999999999999\" is more than any disk has",
            ),
            ("[gc]\nmaxusedspace = 1", "unknown field"),
            (
                "[[gc.policy]]\nfilters = [\"size==1\"]",
                "there is no filter \"size\"",
            ),
            (
                "[[gc.policy]]\nkeepDuration = \"soon\"",
                "\"soon\" is no duration",
            ),
            ("[gx]", "unknown field `gx`"),
        ];
        for (text, expected) in cases {
            let said = match automatic_gc(text) {
                Err(error) => error.to_string(),
                Ok(None) => "none".to_owned(),
                Ok(Some(policies)) => {
                    let last = policies.last().expect("there are some");
                    let whose = if last.all { "all" } else { "some" };
                    let cap = last.max_used_space.expect("they say so");
                    format!(
                        "{} policies, the last of {whose}, up to {cap:?}",
                        policies.len()
                    )
                }
            };
            assert!(said.contains(expected), "{text}\n{said}");
        }
    }
}
