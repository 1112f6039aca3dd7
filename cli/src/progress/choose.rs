//! The one place that picks a renderer.

use std::io;

use console::Term;
use jiff::Timestamp;

use super::{Display, Plain, Quiet, RawJson, Renderer, Tty};
use crate::settings::{Environment, ProgressMode};

/// The mode that `mode` means here: a picture needs a terminal that can move its cursor.
pub fn settle(mode: ProgressMode, environment: &Environment) -> ProgressMode {
    settle_on(mode, Term::stderr().is_term(), environment)
}

/// Starts to show a build on standard error in a settled mode.
pub fn start(mode: ProgressMode, environment: &Environment) -> Display {
    match mode {
        ProgressMode::Tty => Display::start(Tty::new(Term::buffered_stderr(), colors(environment))),
        ProgressMode::Auto | ProgressMode::Plain => Display::start(Plain::new(io::stderr())),
        ProgressMode::Quiet => Display::start(Quiet),
        ProgressMode::RawJson => Display::start(RawJson::new(io::stderr(), Timestamp::now())),
    }
}

/// What shows, on standard output, a build that began at a time of the past. Lines are the default.
pub fn on_stdout(
    mode: ProgressMode,
    started: Timestamp,
    environment: &Environment,
) -> Box<dyn Renderer> {
    let term = Term::buffered_stdout();
    match mode {
        ProgressMode::Tty if term.is_term() && !is_dumb(environment) => {
            Box::new(Tty::new(term, !is_color_refused(environment)))
        }
        ProgressMode::Auto | ProgressMode::Plain | ProgressMode::Tty => {
            Box::new(Plain::new(io::stdout()))
        }
        ProgressMode::Quiet => Box::new(Quiet),
        ProgressMode::RawJson => Box::new(RawJson::new(io::stdout(), started)),
    }
}

/// Whether standard error takes colours (<https://no-color.org>).
pub fn colors(environment: &Environment) -> bool {
    Term::stderr().is_term() && !is_color_refused(environment) && !is_dumb(environment)
}

fn is_color_refused(environment: &Environment) -> bool {
    let refused = environment.get("NO_COLOR");
    refused.is_some_and(|value| !value.is_empty())
}

/// Whether standard output takes colours.
pub fn stdout_colors(environment: &Environment) -> bool {
    Term::stdout().is_term() && !is_color_refused(environment) && !is_dumb(environment)
}

fn settle_on(mode: ProgressMode, is_terminal: bool, environment: &Environment) -> ProgressMode {
    match mode {
        ProgressMode::Auto | ProgressMode::Tty if is_terminal && !is_dumb(environment) => {
            ProgressMode::Tty
        }
        ProgressMode::Auto | ProgressMode::Tty => ProgressMode::Plain,
        mode => mode,
    }
}

fn is_dumb(environment: &Environment) -> bool {
    environment.get("TERM") == Some("dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_only_where_it_can_be() {
        let smart = Environment::from([("TERM", "xterm")]);
        let dumb = Environment::from([("TERM", "dumb")]);
        let cases = [
            (ProgressMode::Auto, true, &smart, ProgressMode::Tty),
            (ProgressMode::Auto, false, &smart, ProgressMode::Plain),
            (ProgressMode::Auto, true, &dumb, ProgressMode::Plain),
            (ProgressMode::Tty, false, &smart, ProgressMode::Plain),
            (ProgressMode::Plain, true, &smart, ProgressMode::Plain),
            (ProgressMode::Quiet, true, &smart, ProgressMode::Quiet),
        ];
        for (mode, is_terminal, environment, expected) in cases {
            assert_eq!(
                settle_on(mode, is_terminal, environment),
                expected,
                "{mode:?}"
            );
        }
    }
}
