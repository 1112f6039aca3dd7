//! Reads the command line and hands over to the command.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use kiln_cli::args::{Cli, Command};
use kiln_cli::commands;
use kiln_cli::exit::Exit;

fn main() -> ExitCode {
    kiln_worker::sandbox::run_if_helper();

    let cli = Cli::parse();
    let exit = match dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("ERROR: {error:#}");
            Exit::Failed
        }
    };
    exit.into()
}

fn dispatch(cli: Cli) -> Result<Exit> {
    match cli.command {
        Command::Completions(args) => commands::completions::run(&args, &mut io::stdout())?,
        Command::Man(args) => commands::man::run(&args, &mut io::stdout())?,
        Command::Build(args) => { let root = cli.global.root.clone().unwrap_or("/var/lib/kiln".into()); return commands::build::run(*args, root) }
        _ => anyhow::bail!("not wired yet"),
    }
    Ok(Exit::Done)
}
