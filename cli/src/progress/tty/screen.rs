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

/// Clears from the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\u{1b}[J";
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

    /// How many rows a frame of `rows` rows takes up by now.
    fn rows_now(&self, rows: usize) -> usize {
        let drawn = *self
            .drawn_width
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = usize::from(self.term.width().max(1));
        drawn.map_or(rows, |drawn| (rows * usize::from(drawn)).div_ceil(now))
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
        match self
            .rows_now(n + 1)
            .saturating_sub(1)
            .min(usize::from(self.height()))
        {
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
        self.term.write_str(END)?;
        self.term.flush()
    }
}
