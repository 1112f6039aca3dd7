//! Shows nothing.

use std::io;
use std::time::Duration;

use kiln_solver::progress::Event;

use super::Renderer;

/// Draws nothing, whatever happens.
#[derive(Debug)]
pub struct Quiet;

impl Renderer for Quiet {
    fn interval(&self) -> Option<Duration> {
        None
    }

    fn event(&mut self, _: Duration, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}
