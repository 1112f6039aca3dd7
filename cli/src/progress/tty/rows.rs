//! Single rows of a picture: a step, a transfer, a line of a log.

use std::time::Duration;

use console::{Color, Style, measure_text_width, truncate_str};

use super::steps::{Ending, Step};
use crate::progress::figures::{bytes, seconds};
use crate::progress::transfers::Transfer;

/// How wide the column of times is at least.
const TIME_WIDTH: usize = 6;
/// How wide a transfer's bar is, and from which width on there is one.
const BAR: usize = 20;
const WIDTH_FOR_BAR: usize = 72;

/// What is drawn on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    /// Columns.
    pub(super) width: usize,
    /// Rows.
    pub(super) height: usize,
    /// Whether colours are wanted.
    pub(super) colors: bool,
}

impl Canvas {
    /// A row of text, cut off where the canvas ends.
    pub(super) fn text(self, text: &str, style: &Style) -> String {
        self.paint(style, &cut(text, self.width))
    }

    /// The row of a step: its name, what came of it, how long it took.
    pub(super) fn step(self, step: &Step, now: Duration) -> String {
        let (mark, style) = match step.ending() {
            None => ("", Style::new()),
            Some(Ending::Done) => ("", Style::new().fg(Color::Cyan)),
            Some(Ending::Cached) => ("CACHED ", Style::new().fg(Color::Cyan)),
            Some(Ending::Failed) => ("ERROR ", Style::new().fg(Color::Red)),
            Some(Ending::Canceled) => ("CANCELED ", Style::new().fg(Color::Yellow)),
        };
        self.timed(&format!(" => {mark}{}", step.name), step.took(now), &style)
    }

    /// The row of one transfer: what moves, how far it is, for how long.
    pub(super) fn transfer(self, transfer: &Transfer, now: Duration) -> String {
        let amount = transfer.amount();
        let gauge = match transfer.total {
            Some(total) if !transfer.done && self.width >= WIDTH_FOR_BAR => {
                format!("{} ", bar(transfer.current, total))
            }
            _ => String::new(),
        };
        // What moves may be cut short, how far it is may not.
        let rest = measure_text_width(&amount) + gauge.len() + TIME_WIDTH + " => =>   ".len();
        let label = cut(&transfer.label(), self.width.saturating_sub(rest));
        let label = if gauge.is_empty() {
            label
        } else {
            format!("{label:<21}")
        };
        let until = if transfer.done { transfer.updated } else { now };
        let took = until.saturating_sub(transfer.started);
        self.timed(
            &format!(" => => {label} {gauge}{amount}"),
            took,
            &Style::new().dim(),
        )
    }

    /// The row of several transfers that have none of their own.
    pub(super) fn transfers(self, transfers: &[&Transfer], more: &str, now: Duration) -> String {
        let amount = bytes(transfers.iter().map(|transfer| transfer.current).sum());
        let text = format!(" => => {}{more} transfers: {amount}", transfers.len());
        let first = transfers
            .iter()
            .map(|transfer| transfer.started)
            .min()
            .unwrap_or(now);
        let are_done = transfers.iter().all(|transfer| transfer.done);
        let last = transfers
            .iter()
            .map(|transfer| transfer.updated)
            .max()
            .filter(|_| are_done);
        self.timed(
            &text,
            last.unwrap_or(now).saturating_sub(first),
            &Style::new().dim(),
        )
    }

    /// The row of one line of a log.
    pub(super) fn log(self, line: &str) -> String {
        self.text(&format!(" => => # {line}"), &Style::new().dim())
    }

    /// A row with a text at its left end and a time at its right end.
    fn timed(self, text: &str, time: Duration, style: &Style) -> String {
        let time = seconds(time);
        let time_width = time.len().max(TIME_WIDTH);
        if self.width <= time_width + 1 {
            return self.text(text, style);
        }
        let text_width = self.width - time_width - 1;
        let text = cut(text, text_width);
        let gap = " ".repeat(text_width.saturating_sub(measure_text_width(&text)));
        format!("{}{gap} {time:>time_width$}", self.paint(style, &text))
    }

    fn paint(self, style: &Style, text: &str) -> String {
        style
            .clone()
            .for_stderr()
            .force_styling(self.colors)
            .apply_to(text)
            .to_string()
    }
}

fn cut(text: &str, width: usize) -> String {
    let mark = if width > 3 { "…" } else { "" };
    truncate_str(text, width, mark).into_owned()
}

fn bar(current: u64, total: u64) -> String {
    let part = current.min(total) as f64 / total.max(1) as f64;
    let full = (part * BAR as f64) as usize;
    let tip = if full < BAR { ">" } else { "" };
    format!("[{:<BAR$}]", format!("{}{tip}", "=".repeat(full)))
}
