//! Columns under headers, as Docker's tables have them, or one JSON object a line.

use std::io::{self, Write};

use console::measure_text_width;
use serde::Serialize;

use crate::args::Format;
use crate::progress::{Colors, sanitize};

/// A list that can be printed.
pub trait Listed: Serialize {
    /// The columns' headers.
    fn headers() -> Vec<&'static str>;
    /// What stands below them.
    fn cells(&self) -> Vec<String>;
}

/// Prints rows.
pub fn print<L: Listed>(out: &mut dyn Write, rows: &[L], format: Format) -> io::Result<()> {
    match format {
        Format::Table => {
            let headers = L::headers().into_iter().map(str::to_owned).collect();
            let readable = |cell: String| sanitize(cell.as_bytes(), Colors::Strip);
            let cells = rows.iter().map(L::cells);
            let cells = cells.map(|row| row.into_iter().map(readable).collect());
            columns(
                out,
                &std::iter::once(headers).chain(cells).collect::<Vec<_>>(),
            )
        }
        Format::Json => rows.iter().try_for_each(|row| {
            serde_json::to_writer(&mut *out, row)?;
            out.write_all(b"\n")
        }),
    }
}

/// Every column is at least 10 wide and ends with three spaces, as Go's `tabwriter` does it for
/// Docker.
pub fn columns(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| measure_text_width(cell) + 3)
            .max()
            .unwrap_or(0)
            .max(10)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(measure_text_width(cell))));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
