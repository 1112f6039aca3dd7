//! In which order things are built: phase by phase, and in each phase builder by builder, round after round.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::args::Arguments;
use crate::base::{self, BaseImage};
use crate::context;
use crate::disk;
use crate::instance::{Instance, Rules};
use crate::interrupt::{self, Interrupted};
use crate::measure::Sample;
use crate::registry::Registry;
use crate::report::{Failure, Report, Run};
use crate::tools::{self, Build, Output, Tool, ToolName};
use crate::workloads::{self, Before, Phase, Workload, WorkloadName};

/// What the workloads are made with.
struct Bench<'a> {
    work: &'a Path,
    base: &'a BaseImage,
    warm_up: Workload,
    rounds: u32,
}

/// Does all rounds of all workloads. Failures of a builder are reported, not returned.
pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let tools = tools::find(&arguments.tools, &arguments.programs)?;
    let work = work_directory(&arguments.work)?;
    let _lock = disk::lock(&work)?;
    let base = base::provide(arguments, &work)?;
    let names = workload_names(&arguments.workloads);
    let registry = names
        .contains(&WorkloadName::Pull)
        .then(|| Registry::start(&work.join("registry"), &base))
        .transpose()?;
    let rules = Rules {
        settle: Duration::from_secs(arguments.settle),
        timeout: Duration::from_secs(arguments.timeout),
        plain_registry: registry.as_ref().map(|registry| registry.address.clone()),
    };
    let warm_up = workloads::warm_up(&work)?;
    let bench = Bench {
        work: &work,
        base: &base,
        warm_up,
        rounds: arguments.rounds,
    };
    let mut instances = instances(&tools, &rules, &work)?;
    let mut report = Report::new(&tools, arguments.rounds);
    let measured = names.iter().try_for_each(|&name| {
        let workload = workloads::prepare(name, &work, registry.as_ref())?;
        bench.run_workload(&workload, &mut instances, &mut report)
    });
    match measured {
        Err(error) if error.is::<Interrupted>() => report.interrupted = true,
        other => other?,
    }
    Ok(report)
}

fn work_directory(given: &Path) -> Result<PathBuf> {
    fs::create_dir_all(given.join("logs")).with_context(|| given.display().to_string())?;
    fs::canonicalize(given).with_context(|| given.display().to_string())
}

fn workload_names(asked: &[WorkloadName]) -> Vec<WorkloadName> {
    if asked.is_empty() {
        WorkloadName::value_variants().to_vec()
    } else {
        asked.to_vec()
    }
}

fn instances<'a>(
    tools: &'a [Box<dyn Tool>],
    rules: &'a Rules,
    work: &Path,
) -> Result<Vec<Instance<'a>>> {
    let make = |tool: &'a dyn Tool| {
        let directory = work.join("state").join(tool.name().to_string());
        Instance::new(tool, rules, directory)
    };
    tools.iter().map(|tool| make(tool.as_ref())).collect()
}

impl Bench<'_> {
    fn run_workload(
        &self,
        workload: &Workload,
        instances: &mut [Instance<'_>],
        report: &mut Report,
    ) -> Result<()> {
        context::read_into_page_cache(&workload.context)?;
        let mut failed: Vec<ToolName> = Vec::new();
        for round in 1..=self.rounds {
            for phase in &workload.phases {
                phase.before.change_context()?;
                for instance in instances.iter_mut() {
                    let tool = instance.tool.name();
                    if failed.contains(&tool) {
                        continue;
                    }
                    let outcome = self.run_phase(workload, phase, instance, round);
                    let outcome = note(outcome, workload, phase, tool, round, report)?;
                    failed.extend((outcome == Outcome::Failed).then_some(tool));
                }
            }
        }
        instances.iter_mut().for_each(Instance::stop);
        Ok(())
    }

    fn run_phase(
        &self,
        workload: &Workload,
        phase: &Phase,
        instance: &mut Instance<'_>,
        round: u32,
    ) -> Result<Option<Sample>> {
        interrupt::check()?;
        if !instance.tool.can_write(phase.output) {
            return Ok(None);
        }
        let tool = instance.tool.name();
        if phase.before.wants_fresh_state() {
            instance.start_fresh()?;
        }
        if phase.before == Before::FreshStateWithBase {
            let log = self.log("warm-up", "base", tool);
            instance.build(&self.build(&self.warm_up, Output::Default), &log)?;
        }
        let ignore_cache = phase.before.wants_fresh_state() && !instance.tool.keeps_state_on_site();
        let build = Build {
            ignore_cache,
            ..self.build(workload, phase.output)
        };
        let log = self.log(workload.name, phase.name, tool);
        if !phase.measured {
            instance.build(&build, &log)?;
            return Ok(None);
        }
        eprint!("{} {}, round {round}, {tool}: ", workload.name, phase.name);
        instance.measure(&build, &log).map(Some)
    }

    fn build<'b>(&'b self, workload: &'b Workload, output: Output) -> Build<'b> {
        Build {
            name: "kiln-bench",
            context: &workload.context,
            dockerfile: &workload.dockerfile,
            base: self.base,
            output,
            ignore_cache: false,
        }
    }

    fn log(&self, workload: &str, phase: &str, tool: ToolName) -> PathBuf {
        let name = format!("{workload}-{phase}-{tool}.log").replace(' ', "-");
        self.work.join("logs").join(name)
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

/// Puts a phase's outcome into the report; only an interruption is passed on.
fn note(
    outcome: Result<Option<Sample>>,
    workload: &Workload,
    phase: &Phase,
    tool: ToolName,
    round: u32,
    report: &mut Report,
) -> Result<Outcome> {
    match outcome {
        Ok(None) => {}
        Ok(Some(sample)) => {
            eprintln!("{:.3} s", sample.wall_seconds);
            let (workload, phase) = (workload.name, phase.name);
            report.runs.push(Run {
                workload,
                phase,
                tool,
                round,
                sample,
            });
        }
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            eprintln!("{} {}: {tool} failed: {error:#}", workload.name, phase.name);
            let (workload, phase) = (workload.name, phase.name);
            let message = format!("{error:#}");
            report.failures.push(Failure {
                workload,
                phase,
                tool,
                message,
            });
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Done)
}
