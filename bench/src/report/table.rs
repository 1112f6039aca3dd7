//! The report as a table for people.

use std::fmt::Write;

use super::{Ratio, Report, Summary};
use crate::statistics::Spread;

const HEADINGS: [&str; 10] = [
    "workload",
    "tool",
    "wall s",
    "(min-max)",
    "CPU s",
    "client MB",
    "daemon MB",
    "largest MB",
    "output MB",
    "ratio wall/CPU/memory",
];

/// The table, what it was measured on, and what must be known to read it.
pub(crate) fn table(report: &Report) -> String {
    let summaries = report.summaries();
    let mut text = heading(report);
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(summaries.iter().map(|summary| row(summary, report)));
    append_rows(&mut text, &rows);
    append_notes(&mut text, report);
    text
}

fn heading(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{} CPUs, {:.0} GB, Linux {}; medians of {} rounds\n",
        machine.cpus,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        report.rounds
    );
    for tool in &report.tools {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}: {} ({})",
            tool.name, tool.version, tool.equal_work
        );
    }
    text.push('\n');
    text
}

fn row(summary: &Summary, report: &Report) -> [String; 10] {
    let is_first = report
        .tools
        .first()
        .is_some_and(|first| first.name == summary.tool);
    let no_ratio = if is_first { "1" } else { "-" };
    [
        format!("{} {}", summary.workload, summary.phase),
        summary.tool.to_string(),
        format!("{:.3}", summary.wall_seconds.median),
        format!(
            "({:.3}-{:.3})",
            summary.wall_seconds.min, summary.wall_seconds.max
        ),
        format!("{:.2}", summary.cpu_seconds.median),
        megabytes(summary.client_peak_bytes),
        megabytes(summary.daemon_peak_bytes),
        megabytes(summary.largest_process_bytes),
        summary
            .output_bytes
            .map_or_else(|| "-".to_owned(), megabytes),
        summary.ratio.map_or_else(|| no_ratio.to_owned(), ratio),
    ]
}

fn ratio(ratio: Ratio) -> String {
    format!(
        "{:.2} / {:.2} / {:.2}",
        ratio.wall.median, ratio.cpu.median, ratio.memory.median
    )
}

fn megabytes(bytes: Spread) -> String {
    format!("{:.0}", bytes.median / 1e6)
}

/// Columns of even width: the first two to the left, figures to the right.
fn append_rows(text: &mut String, rows: &[[String; 10]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 | 1 => write!(text, "{cell:<width$}  "),
                _ => write!(text, "{cell:>width$}  "),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

fn append_notes(text: &mut String, report: &Report) {
    if let (Some(first), true) = (report.tools.first(), report.tools.len() > 1) {
        let _ = writeln!(
            text,
            "\nratios: the tool's figure / {}'s, round by round",
            first.name
        );
    }
    let busy = report.runs.iter().filter(|run| !run.sample.settled).count();
    if busy > 0 {
        let _ = writeln!(
            text,
            "{busy} of {} runs began on busy CPUs",
            report.runs.len()
        );
    }
    for failure in &report.failures {
        let (workload, phase, tool) = (failure.workload, failure.phase, failure.tool);
        let _ = writeln!(
            text,
            "{workload} {phase}: {tool} failed: {}",
            failure.message
        );
    }
    if report.interrupted {
        text.push_str("interrupted; what is above was measured before\n");
    }
}
