//! What was measured, and its summary.

mod json;
mod table;

use serde::Serialize;

use crate::measure::Sample;
use crate::statistics::Spread;
use crate::tools::{Tool, ToolName};

pub(crate) use json::write_json;
pub(crate) use table::table;

/// All runs, and under which circumstances.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) tools: Vec<ToolFacts>,
    pub(crate) rounds: u32,
    pub(crate) runs: Vec<Run>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) interrupted: bool,
}

/// The machine that it was measured on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

/// A builder that took part.
#[derive(Debug, Serialize)]
pub(crate) struct ToolFacts {
    pub(crate) name: ToolName,
    pub(crate) version: String,
    /// What it does with a result for which no output was asked.
    pub(crate) equal_work: &'static str,
}

/// One measured run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) workload: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) tool: ToolName,
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) sample: Sample,
}

/// A workload that a builder did not do.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) workload: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) tool: ToolName,
    pub(crate) message: String,
}

/// The runs of one builder in one phase, summarised.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) workload: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) tool: ToolName,
    pub(crate) runs: usize,
    pub(crate) wall_seconds: Spread,
    pub(crate) cpu_seconds: Spread,
    pub(crate) client_peak_bytes: Spread,
    pub(crate) daemon_peak_bytes: Spread,
    pub(crate) largest_process_bytes: Spread,
    pub(crate) sum_of_peaks_bytes: Spread,
    pub(crate) other_cpu_seconds: Spread,
    pub(crate) output_bytes: Option<Spread>,
    /// Against the first builder of the report; absent for that one.
    pub(crate) ratio: Option<Ratio>,
}

/// This builder's figures divided by the first one's, round by round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) wall: Spread,
    pub(crate) cpu: Spread,
    /// Of the sums of client's and daemon's peaks.
    pub(crate) memory: Spread,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(tools: &[Box<dyn Tool>], rounds: u32) -> Self {
        let facts = |tool: &dyn Tool| ToolFacts {
            name: tool.name(),
            version: tool.version(),
            equal_work: tool.equal_work(),
        };
        Self {
            machine: Machine::this(),
            tools: tools.iter().map(|tool| facts(tool.as_ref())).collect(),
            rounds,
            runs: Vec::new(),
            failures: Vec::new(),
            interrupted: false,
        }
    }

    /// Whether every builder did every workload.
    pub(crate) fn is_complete(&self) -> bool {
        self.failures.is_empty() && !self.interrupted
    }

    /// A summary for each phase and builder, in the order measured.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for (workload, phase) in self.phases() {
            for tool in &self.tools {
                summaries.extend(self.summary(workload, phase, tool.name));
            }
        }
        summaries
    }

    fn phases(&self) -> Vec<(&'static str, &'static str)> {
        let mut phases = Vec::new();
        for run in &self.runs {
            if !phases.contains(&(run.workload, run.phase)) {
                phases.push((run.workload, run.phase));
            }
        }
        phases
    }

    fn summary(
        &self,
        workload: &'static str,
        phase: &'static str,
        tool: ToolName,
    ) -> Option<Summary> {
        let runs = self.runs_of(workload, phase, tool);
        let spread =
            |figure: fn(&Sample) -> f64| Spread::of(runs.iter().map(|run| figure(&run.sample)));
        Some(Summary {
            workload,
            phase,
            tool,
            runs: runs.len(),
            wall_seconds: spread(|sample| sample.wall_seconds)?,
            cpu_seconds: spread(Sample::cpu_seconds)?,
            client_peak_bytes: spread(|sample| sample.client_peak_bytes as f64)?,
            daemon_peak_bytes: spread(|sample| sample.daemon_peak_bytes as f64)?,
            largest_process_bytes: spread(|sample| sample.largest_process_bytes as f64)?,
            sum_of_peaks_bytes: spread(|sample| sample.peak_bytes() as f64)?,
            other_cpu_seconds: spread(|sample| sample.other_cpu_seconds)?,
            output_bytes: Spread::of(
                runs.iter()
                    .filter_map(|run| run.sample.output_bytes)
                    .map(|bytes| bytes as f64),
            ),
            ratio: self.ratio(workload, phase, tool),
        })
    }

    fn runs_of(&self, workload: &str, phase: &str, tool: ToolName) -> Vec<&Run> {
        let wanted =
            |run: &&Run| run.workload == workload && run.phase == phase && run.tool == tool;
        self.runs.iter().filter(wanted).collect()
    }

    /// The ratios of a builder to the first one, each round's run to that round's.
    fn ratio(&self, workload: &str, phase: &str, tool: ToolName) -> Option<Ratio> {
        let first = self.tools.first().filter(|first| first.name != tool)?;
        let bases = self.runs_of(workload, phase, first.name);
        let runs = self.runs_of(workload, phase, tool);
        let pairs: Vec<(&Sample, &Sample)> = runs
            .iter()
            .filter_map(|run| {
                let base = bases.iter().find(|base| base.round == run.round)?;
                Some((&run.sample, &base.sample))
            })
            .collect();
        let ratio = |figure: fn(&Sample) -> f64| {
            Spread::of(pairs.iter().map(|(run, base)| figure(run) / figure(base)))
        };
        Some(Ratio {
            wall: ratio(|sample| sample.wall_seconds)?,
            cpu: ratio(Sample::cpu_seconds)?,
            memory: ratio(|sample| sample.peak_bytes() as f64)?,
        })
    }
}

impl Machine {
    fn this() -> Self {
        let info = rustix::system::sysinfo();
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: info.totalram as u64 * u64::from(info.mem_unit),
            kernel,
        }
    }
}
