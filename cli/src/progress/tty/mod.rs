//! The live picture: all steps in place, those at work with the end of their log.

mod frame;
mod rows;
mod screen;
mod steps;

use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use kiln_solver::progress::Event;

use super::Renderer;
use frame::{last, live};
use rows::Canvas;
use screen::Screen;
use steps::Steps;

/// How often the picture changes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Draws on a terminal.
#[derive(Debug)]
pub struct Tty<T> {
    term: T,
    colors: bool,
    steps: Steps,
    /// A bar of many rows, drawn and wiped by indicatif; there is none before the first frame, so
    /// that a build that is over at once draws only its last one.
    picture: Option<ProgressBar>,
}

impl<T: TermLike + Clone + 'static> Tty<T> {
    /// Draws on `term`.
    pub fn new(term: T, colors: bool) -> Self {
        Self {
            term,
            colors,
            steps: Steps::default(),
            picture: None,
        }
    }

    fn canvas(&self) -> Canvas {
        let (width, height) = (self.term.width().into(), self.term.height().into());
        Canvas {
            width,
            height,
            colors: self.colors,
        }
    }

    fn begin(&self) -> ProgressBar {
        let target = ProgressDrawTarget::term_like(Box::new(Screen::new(self.term.clone())));
        let picture = MultiProgress::with_draw_target(target);
        // Otherwise rows are cleared one by one before they are written again, which flickers.
        picture.set_move_cursor(true);
        let style = ProgressStyle::with_template("{msg}").expect("the template is constant");
        picture.add(ProgressBar::no_length().with_style(style))
    }
}

impl<T: TermLike + Clone + 'static> Renderer for Tty<T> {
    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn event(&mut self, at: Duration, event: &Event) -> io::Result<()> {
        self.steps.take_note(at, event);
        Ok(())
    }

    fn tick(&mut self, now: Duration) -> io::Result<()> {
        if self.steps.shown().next().is_none() || now < INTERVAL {
            return Ok(());
        }
        let rows = live(&self.steps, now, self.canvas());
        let picture = match self.picture.take() {
            Some(picture) => picture,
            None => self.begin(),
        };
        picture.set_message(rows.join("\n"));
        self.picture = Some(picture);
        Ok(())
    }

    fn finish(&mut self, now: Duration) -> io::Result<()> {
        if let Some(picture) = self.picture.take() {
            picture.set_message("");
            picture.finish_and_clear();
        }
        self.steps.cancel_unfinished(now);
        for row in last(&self.steps, now, self.canvas()) {
            self.term.write_line(&row)?;
        }
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;
    use crate::progress::script;

    /// The screen at every `frame` of a script and at its end.
    fn screens(script: &str, width: u16, height: u16) -> String {
        let term = InMemoryTerm::new(height, width);
        term.write_line("$ kiln build .")
            .expect("memory takes everything");
        let mut renderer = Tty::new(term.clone(), false);
        let mut screens = Vec::new();
        let mut now = Duration::ZERO;
        for line in script::read(script) {
            now = line.at;
            match line.event {
                Some(event) => renderer
                    .event(now, &event)
                    .expect("memory takes everything"),
                None => {
                    renderer.tick(now).expect("memory takes everything");
                    screens.push(term.contents());
                }
            }
        }
        renderer.finish(now).expect("memory takes everything");
        screens.push(term.contents());
        let edge = "-".repeat(width.into());
        screens.join(&format!("\n{edge}\n"))
    }

    const FAILS: &str = include_str!("../../../../testdata/progress/fails.events");
    const CACHED: &str = include_str!("../../../../testdata/progress/cached.events");

    #[test]
    fn a_build_that_fails_on_80_columns() {
        insta::assert_snapshot!(screens(FAILS, 80, 24));
    }

    #[test]
    fn a_build_that_fails_on_40_columns() {
        insta::assert_snapshot!(screens(FAILS, 40, 24));
    }

    #[test]
    fn a_build_that_fails_on_8_rows() {
        insta::assert_snapshot!(screens(FAILS, 80, 8));
    }

    #[test]
    fn a_build_from_the_cache() {
        insta::assert_snapshot!(screens(CACHED, 80, 24));
    }
}
