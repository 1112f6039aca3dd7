//! The terminal as indicatif sees it, mended for terminals that change their size.
//!
//! indicatif fills every row up to the terminal's width, so that a frame is one long line that the
//! terminal wraps. A terminal that becomes narrower or wider wraps it anew: the frame then has
//! another height than when it was drawn, and moving up by the old one would leave rows behind or
//! write over what stood above.

use std::fmt::Debug;
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

/// Clears what is below the cursor's row. The row itself is written over; clearing from the very
/// corner of the screen would make tmux keep each frame in its history.
const CLEAR_BELOW: &str = "\u{1b}7\u{1b}[B\r\u{1b}[J\u{1b}8";
/// Begin and end what is shown at once, so that no half frame is ever seen (DEC private mode 2026;
/// terminals that do not know it pass over it).
const BEGIN: &str = "\u{1b}[?2026h";
const END: &str = "\u{1b}[?2026l";

/// A terminal that frames are drawn on.
#[derive(Debug)]
pub(super) struct Screen<T> {
    term: T,
    /// The width that the last frame was drawn for.
    drawn_width: Mutex<Option<u16>>,
}

impl<T: TermLike> Screen<T> {
    /// Draws on `term`.
    pub(super) fn new(term: T) -> Self {
        Self {
            term,
            drawn_width: Mutex::default(),
        }
    }

    /// How many rows lie above the last one of a frame, which had `rows` there when it was drawn.
    fn rows_above(&self, rows: usize) -> usize {
        let drawn = *self
            .drawn_width
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = usize::from(self.term.width().max(1));
        let rows = drawn.map_or(rows, |drawn| rows * usize::from(drawn) / now);
        rows.min(usize::from(self.height()))
    }
}

impl<T: TermLike> TermLike for Screen<T> {
    fn width(&self) -> u16 {
        self.term.width()
    }

    fn height(&self) -> u16 {
        self.term.height()
    }

    /// The first thing that a frame does is to go to where the last one began.
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.write_str(BEGIN)?;
        match self.rows_above(n) {
            0 => {}
            rows => self.term.move_cursor_up(rows)?,
        }
        self.term.write_str("\r")?;
        self.term.write_str(CLEAR_BELOW)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn_width = self
            .drawn_width
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *drawn_width = Some(self.term.width());
        // Else the ^C that a terminal shows would begin another row, and the next frame with it.
        self.term.write_str("\r")?;
        self.term.write_str(END)?;
        self.term.flush()
    }
}
