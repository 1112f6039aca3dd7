//! The report as JSON, with every run in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::Report;

/// Writes `file`: the machine, the builders, the summaries, the runs and the failures.
pub(crate) fn write_json(report: &Report, file: &Path) -> Result<()> {
    let value = json!({
        "version": 1,
        "machine": report.machine,
        "tools": report.tools,
        "rounds": report.rounds,
        "interrupted": report.interrupted,
        "summaries": report.summaries(),
        "runs": report.runs,
        "failures": report.failures,
    });
    let text = serde_json::to_string_pretty(&value).context("writing the report")?;
    fs::write(file, text + "\n").with_context(|| file.display().to_string())
}
