//! Reads the command line and hands over to the command.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use kiln_cli::args::{Cli, Command};
use kiln_cli::exit::Exit;
use kiln_cli::report::Report;
use kiln_cli::settings::Environment;
use kiln_cli::{commands, progress, wire};

fn main() -> ExitCode {
    // A step's helper is this program, too; nothing may come before.
    kiln_worker::sandbox::run_if_helper();
    let cli = Cli::parse();
    let environment = Environment::of_this_process();
    let exit = dispatch(cli, &environment).unwrap_or_else(|error| {
        let stderr = &mut io::stderr();
        let mut report = Report { out: stderr, colors: progress::colors(&environment) };
        // If nobody can be told, the exit code remains.
        let _ = report.error(error.as_ref());
        Exit::Failed
    });
    exit.into()
}

fn dispatch(cli: Cli, environment: &Environment) -> Result<Exit> {
    let (global, out) = (&cli.global, &mut io::stdout().lock());
    match &cli.command {
        Command::Completions(args) => commands::completions::run(args, out)?,
        Command::Man(args) => commands::man::run(args, out)?,
        command => {
            wire::become_root()?;
            return on_store(command, global, environment);
        }
    }
    Ok(Exit::Done)
}

/// The commands that need the store.
fn on_store(command: &Command, global: &GlobalArgs, environment: &Environment) -> Result<Exit> {
    let store = || wire::store(global, environment);
    let (out, now) = (&mut io::stdout(), Timestamp::now());
    match command {
        Command::Build(args) => {
            return commands::build::run((**args).clone(), global, environment);
        }
        Command::Images(args) => commands::images::run(args, &store()?, now, out)?,
        Command::Inspect(args) => commands::inspect::run(args, &store()?, out)?,
        Command::History(args) => commands::history::run(args, &store()?, now, out)?,
        Command::Du(args) => commands::du::run(args, &store()?, out)?,
        Command::Prune(args) => {
            let mut terminal = Terminal { input: &mut io::stdin().lock(), out };
            commands::prune::run(args, &wire::root(global, environment)?, now, &mut terminal)?;
        }
        Command::Completions(_) | Command::Man(_) => {}
    }
    Ok(Exit::Done)
}
