//! What the processes of steps may use: `--shm-size`, `--ulimit`, `--memory`, `--cpu-…` and the like, with
//! Docker's way to write them.

use std::collections::BTreeMap;

use kiln_frontend::byte_size;
use kiln_solver::op::{Limit, Resource};
use kiln_worker::executor::StepBounds;
use kiln_worker::sandbox::Resources;

use super::UsageError;
use crate::args::LimitArgs;

/// Limits of each step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes that `/dev/shm` may hold; `None` is the sandbox's default.
    pub shm_size: Option<u64>,
    /// Limits of each process, each resource once, in order.
    pub ulimits: Vec<Limit>,
    /// Limits of all processes of a step together.
    pub resources: Resources,
    /// What each step may write.
    pub bounds: StepBounds,
    /// The control group that those of steps are made in.
    pub cgroup_parent: Option<String>,
}

/// Bytes that a step may log unless something else is asked for.
const USUAL_LOG: u64 = 1 << 30;

/// The least memory that a step can live in.
const LEAST_MEMORY: u64 = 6 << 20;

/// Makes sense of all options about limits.
pub(super) fn parse(args: &LimitArgs) -> Result<Limits, UsageError> {
    let memory = size("--memory", args.memory.as_deref())?;
    Ok(Limits {
        shm_size: shm_size(args.shm_size.as_deref())?,
        ulimits: ulimits(&args.ulimits)?,
        resources: Resources {
            memory: memory.map(at_least_alive).transpose()?,
            memory_and_swap: memory_and_swap(args.memory_swap.as_deref(), memory)?,
            cpu_shares: args.cpu_shares,
            cpu_quota: args.cpu_quota,
            cpu_period: args.cpu_period,
            cpus: list("--cpuset-cpus", args.cpuset_cpus.as_deref())?,
            memory_nodes: list("--cpuset-mems", args.cpuset_mems.as_deref())?,
            processes: args.pids_limit,
        },
        bounds: StepBounds {
            disk: size("--max-step-disk", args.max_step_disk.as_deref())?,
            log: size("--max-step-log", args.max_step_log.as_deref())?.or(Some(USUAL_LOG)),
        },
        cgroup_parent: args.cgroup_parent.clone().filter(|path| !path.is_empty()),
    })
}

/// As in Docker, 0 asks for the usual size.
fn shm_size(typed: Option<&str>) -> Result<Option<u64>, UsageError> {
    match typed.and_then(byte_size::parse) {
        Some(0) => Ok(None),
        _ => size("--shm-size", typed),
    }
}

fn size(option: &'static str, typed: Option<&str>) -> Result<Option<u64>, UsageError> {
    let Some(typed) = typed else { return Ok(None) };
    match byte_size::parse(typed) {
        None => Err(UsageError::new(option, typed, "it is not a size")
            .hint(format!("write it as in {option} 512m"))),
        Some(0) => Err(UsageError::new(
            option,
            typed,
            "it must be more than nothing",
        )),
        size => Ok(size),
    }
}

fn at_least_alive(memory: u64) -> Result<u64, UsageError> {
    match memory < LEAST_MEMORY {
        true => Err(UsageError::new(
            "--memory",
            &memory.to_string(),
            "a step needs at least 6m",
        )),
        false => Ok(memory),
    }
}

fn memory_and_swap(
    typed: Option<&str>,
    memory: Option<u64>,
) -> Result<Option<Option<u64>>, UsageError> {
    const OPTION: &str = "--memory-swap";
    match (typed, memory) {
        (None, _) => Ok(None),
        (Some("-1"), _) => Ok(Some(None)),
        (Some(typed), None) => Err(
            UsageError::new(OPTION, typed, "it needs --memory beside it")
                .hint("it is the sum of memory and swap space"),
        ),
        (Some(typed), Some(memory)) => match size(OPTION, Some(typed))? {
            Some(both) if both < memory => Err(UsageError::new(
                OPTION,
                typed,
                "it is less than --memory, which is a part of it",
            )),
            both => Ok(Some(both)),
        },
    }
}

/// Numbers and ranges of them, as in `0-2,4`.
fn list(option: &'static str, typed: Option<&str>) -> Result<Option<String>, UsageError> {
    let Some(typed) = typed else { return Ok(None) };
    let number = |text: &str| text.parse::<u16>().ok();
    let is_valid = |part: &str| match part.split_once('-') {
        None => number(part).is_some(),
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        }
    };
    match typed.split(',').all(is_valid) {
        true => Ok(Some(typed.to_owned())),
        false => Err(
            UsageError::new(option, typed, "it is not a list of numbers")
                .hint(format!("write it as in {option} 0-2,4")),
        ),
    }
}

/// Of limits of the same resource, the last one counts. Their order says nothing.
fn ulimits(typed: &[String]) -> Result<Vec<Limit>, UsageError> {
    let mut limits = BTreeMap::new();
    for typed in typed {
        let limit = ulimit(typed)?;
        limits.insert(limit.resource, limit);
    }
    Ok(limits.into_values().collect())
}

/// `NAME=SOFT[:HARD]`; -1 is no limit.
fn ulimit(typed: &str) -> Result<Limit, UsageError> {
    let wrong = |problem: String| UsageError::new("--ulimit", typed, problem);
    let example = "write it as in --ulimit nofile=1024:2048";
    let pair = typed.split_once('=');
    let (name, limits) = pair.ok_or_else(|| wrong("there is no =".to_owned()).hint(example))?;
    let mut known = Resource::ALL.into_iter();
    let Some(resource) = known.find(|resource| resource.name() == name) else {
        let names = Resource::ALL.map(Resource::name);
        return Err(wrong(format!("there is no limit {name:?}")).known_words(name, &names));
    };
    let limit = |text: &str| match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit @ 0..) => Ok(Some(limit as u64)),
        _ => Err(wrong(format!("{text:?} is not a number")).hint(example)),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    let exceeds = match (soft, hard) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(soft), Some(hard)) => soft > hard,
    };
    if exceeds {
        return Err(wrong("the soft limit is above the hard one".to_owned()));
    }
    Ok(Limit {
        resource,
        soft,
        hard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_are_written_as_in_docker() {
        let cases = [
            ("nofile=1024", Resource::OpenFiles, Some(1024), Some(1024)),
            (
                "nofile=1024:2048",
                Resource::OpenFiles,
                Some(1024),
                Some(2048),
            ),
            ("core=0", Resource::Core, Some(0), Some(0)),
            ("memlock=-1", Resource::LockedMemory, None, None),
            ("stack=8:-1", Resource::Stack, Some(8), None),
        ];
        for (typed, resource, soft, hard) in cases {
            assert_eq!(
                ulimit(typed),
                Ok(Limit {
                    resource,
                    soft,
                    hard
                }),
                "{typed}"
            );
        }
        for typed in [
            "nofile",
            "nofile=",
            "nofile=x",
            "nofile=1:2:3",
            "nofiles=1",
            "nofile=2:1",
            "nofile=-1:1",
            "nofile=-2",
        ] {
            assert!(ulimit(typed).is_err(), "{typed}");
        }
        assert_eq!(
            ulimit("nofiles=1").map_err(|error| error.hint),
            Err(Some("did you mean nofile?".to_owned()))
        );
    }

    #[test]
    fn sizes_and_lists_are_checked() {
        let with = |change: fn(&mut LimitArgs)| {
            let mut args = LimitArgs::default();
            change(&mut args);
            parse(&args).map(|limits| limits.resources)
        };
        let memory = with(|args| {
            args.memory = Some("512m".into());
            args.memory_swap = Some("1g".into());
        });
        let memory = memory.expect("all is well formed");
        assert_eq!(memory.memory, Some(512 << 20));
        assert_eq!(memory.memory_and_swap, Some(Some(1 << 30)));
        let unlimited = with(|args| args.memory_swap = Some("-1".into()));
        assert_eq!(unlimited.map(|r| r.memory_and_swap), Ok(Some(None)));
        let cpus = with(|args| args.cpuset_cpus = Some("0-2,4".into()));
        assert_eq!(cpus.map(|r| r.cpus), Ok(Some("0-2,4".to_owned())));
        assert!(with(|args| args.memory = Some("512x".into())).is_err());
        assert!(with(|args| args.memory = Some("1k".into())).is_err());
        assert!(with(|args| args.memory = Some("0".into())).is_err());
        assert!(with(|args| args.memory_swap = Some("1g".into())).is_err());
        assert!(
            with(|args| {
                args.memory = Some("1g".into());
                args.memory_swap = Some("1m".into());
            })
            .is_err()
        );
        let shared = |size: &str| shm_size(Some(size));
        assert_eq!(shared("0"), Ok(None));
        assert_eq!(shared("0m"), Ok(None));
        assert_eq!(shared("1m"), Ok(Some(1 << 20)));
        assert!(shared("m").is_err());
        for list in ["", "a", "2-1", "1,", "-1"] {
            let typed = LimitArgs {
                cpuset_cpus: Some(list.into()),
                ..LimitArgs::default()
            };
            assert!(parse(&typed).is_err(), "{list:?}");
        }
    }
}
