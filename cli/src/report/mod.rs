//! What a person sees when something fails: the place in the Dockerfile, the step's log, and one
//! last line that begins with `ERROR:`.

mod chain;
mod dockerfile;
mod room;
mod step;

use std::error::Error;
use std::io::{self, Write};

use kiln_frontend::{Diagnostic, Source};
use kiln_solver::SolveError;

use crate::build::BuildError;
use crate::progress::printable_lines;
use crate::record::FailedStep;
use crate::settings::{ProgressMode, UsageError};

pub use chain::chain;
pub use room::Room;
pub use step::LogExtent;

/// Tells people what went wrong.
pub struct Report<'w> {
    /// Where to.
    pub out: &'w mut dyn Write,
    /// Whether colours are wanted.
    pub colors: bool,
}

impl Report<'_> {
    /// A build that failed. `failed_steps` are those of the recorder, `mode` is how the build was
    /// shown: what stands in the log above is not printed again; `room` is where it wrote to.
    pub fn build_error(
        &mut self,
        error: &BuildError,
        failed_steps: &[FailedStep],
        mode: ProgressMode,
        room: Option<&Room>,
    ) -> io::Result<()> {
        match error {
            BuildError::Dockerfile {
                dockerfile: source,
                diagnostics,
            } => {
                self.diagnostics(source, diagnostics)?;
                self.last_line(&dockerfile::summary(source, diagnostics))
            }
            BuildError::Step {
                dockerfile: source,
                error,
                name,
                span,
            } => {
                let log = failed_steps.iter().rev().find(|step| step.name == *name);
                let log = log.and_then(|step| step.log.as_ref());
                step::write_log(self.out, name, log, LogExtent::after(mode))?;
                if let Some(span) = span {
                    step::write_lines(self.out, source, span)?;
                }
                let advice = room.and_then(|room| match error {
                    SolveError::Exited { .. } => room.advice_after(log),
                    SolveError::Step { .. } => room.advice(error),
                });
                self.failed_to_build(&step::reason(error), advice)
            }
            BuildError::Other(error) => {
                let advice = room.and_then(|room| room.advice(error.as_ref()));
                self.failed_to_build(&chain(error.as_ref()), advice)
            }
        }
    }

    fn failed_to_build(&mut self, reason: &str, advice: Option<String>) -> io::Result<()> {
        let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
        self.last_line(&format!("failed to build: {reason}{advice}"))
    }

    /// What the frontend found, errors and warnings.
    pub fn diagnostics(&mut self, source: &Source, found: &[Diagnostic]) -> io::Result<()> {
        self.out
            .write_all(dockerfile::render(source, found, self.colors).as_bytes())
    }

    /// The warnings at the end of a build, under a line that counts them.
    pub fn warnings(&mut self, source: &Source, found: &[Diagnostic]) -> io::Result<()> {
        let count = dockerfile::counted(found.len(), "warning");
        writeln!(self.out, "\n{count} found (kiln check tells more):\n")?;
        self.diagnostics(source, found)
    }

    /// All findings of a check, with what the rules are about, and how many there are.
    pub fn findings(&mut self, source: &Source, found: &[Diagnostic]) -> io::Result<()> {
        let text = dockerfile::render_explained(source, found, self.colors);
        self.out.write_all(text.as_bytes())?;
        writeln!(self.out, "{}", dockerfile::tally(source, found))
    }

    /// A value that makes no sense, in the form that clap has for those.
    pub fn usage(&mut self, error: &UsageError) -> io::Result<()> {
        let (error_word, tip) = (self.red("error:"), &error.hint);
        writeln!(
            self.out,
            "{error_word} {}",
            printable_lines(&error.to_string())
        )?;
        if let Some(tip) = tip {
            writeln!(self.out, "\n  tip: {}", printable_lines(tip))?;
        }
        writeln!(self.out, "\nFor more information, try '--help'.")
    }

    /// Any other error.
    pub fn error(&mut self, error: &(dyn Error + 'static)) -> io::Result<()> {
        self.last_line(&chain(error))
    }

    fn last_line(&mut self, text: &str) -> io::Result<()> {
        let word = self.red("ERROR:");
        writeln!(self.out, "{word} {}", printable_lines(text))
    }

    fn red(&self, text: &str) -> String {
        let style = console::Style::new()
            .red()
            .bold()
            .force_styling(self.colors);
        style.apply_to(text).to_string()
    }
}
