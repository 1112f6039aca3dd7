//! Reads the command line and hands over to the command.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use jiff::Timestamp;
use kiln_cli::args::{Cli, Command, GlobalArgs};
use kiln_cli::exit::Exit;
use kiln_cli::report::Report;
use kiln_cli::settings::Environment;
use kiln_cli::{commands, progress, wire};
use kiln_worker::store::Store;

fn main() -> ExitCode {
    // A step's helper is this program, too; nothing may come before.
    kiln_worker::sandbox::run_if_helper();
    let cli = Cli::parse();
    let environment = Environment::of_this_process();
    let exit = dispatch(cli, &environment).unwrap_or_else(|error| {
        let stderr = &mut io::stderr();
        let mut report = Report {
            out: stderr,
            colors: progress::colors(&environment),
        };
        // If nobody can be told, the exit code remains.
        let _ = report.error(error.as_ref());
        Exit::Failed
    });
    exit.into()
}

fn open_store(global: &GlobalArgs, environment: &Environment) -> Result<Store> {
    wire::become_root()?;
    wire::store(global, environment)
}

fn dispatch(cli: Cli, environment: &Environment) -> Result<Exit> {
    match cli.command {
        Command::Completions(args) => commands::completions::run(&args, &mut io::stdout())?,
        Command::Man(args) => commands::man::run(&args, &mut io::stdout())?,
        Command::Build(args) => {
            wire::become_root()?;
            return commands::build::run(*args, &cli.global, environment);
        }
        Command::Images(args) => {
            let store = open_store(&cli.global, environment)?;
            commands::images::run(&args, &store, Timestamp::now(), &mut io::stdout())?;
        }
        Command::Inspect(args) => {
            let store = open_store(&cli.global, environment)?;
            commands::inspect::run(&args, &store, &mut io::stdout())?;
        }
        Command::History(args) => {
            let store = open_store(&cli.global, environment)?;
            commands::history::run(&args, &store, Timestamp::now(), &mut io::stdout())?;
        }
        _ => anyhow::bail!("not wired yet"),
    }
    Ok(Exit::Done)
}
