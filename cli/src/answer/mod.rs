//! Answers to `--call` and `kiln check` in the forms that programs read: BuildKit's JSON, which buildx
//! prints as it is, and SARIF.

mod findings;
mod location;
mod outline;
mod sarif;
mod targets;

use std::io::{self, Write};

use serde::Serialize;

pub use findings::write_findings;
pub use outline::{write_outline, write_outline_json};
pub use sarif::write_sarif;
pub use targets::{write_targets, write_targets_json};

/// Two blanks of indentation, and a line feed at the end.
fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Columns that are as wide as their widest cell and `gap` blanks; the last one has no end.
fn write_columns(out: &mut dyn Write, gap: usize, rows: &[Vec<&str>]) -> io::Result<()> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0) + gap
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let (last, front) = row.split_last().unwrap_or((&"", &[]));
        for (cell, width) in front.iter().zip(&widths) {
            write!(out, "{cell:width$}")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(())
}
