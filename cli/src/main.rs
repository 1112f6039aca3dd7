//! Reads the command line and hands over to the command.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use jiff::Timestamp;
use kiln_cli::args::{Cli, Command, StoreArgs, StoreCommand, explain_slip};
use kiln_cli::commands::prune::Terminal;
use kiln_cli::exit::Exit;
use kiln_cli::report::Report;
use kiln_cli::settings::{Environment, UsageError};
use kiln_cli::{commands, progress, wire};

fn main() -> ExitCode {
    // A step's helper is this program, too; nothing may come before.
    kiln_worker::sandbox::run_if_helper();
    limit_arenas();
    let typed: Vec<OsString> = std::env::args_os().collect();
    let parsed = Cli::try_parse_from(&typed);
    let cli = parsed.unwrap_or_else(|error| refuse(&explain_slip(error, &typed)));
    let environment = Environment::of_this_process();
    let exit = dispatch(&cli, &environment);
    exit.unwrap_or_else(|error| tell(&error, &environment))
        .into()
}

/// Prints what clap has to say and ends. Clap quotes what was typed: where a terminal would take that for more
/// than text, only the text is left of it.
fn refuse(error: &clap::Error) -> ! {
    let has_controls = |word: &str| word.chars().any(char::is_control);
    let is_plain = |word: std::ffi::OsString| !has_controls(&word.to_string_lossy());
    if !error.use_stderr() || std::env::args_os().all(is_plain) {
        error.exit();
    }
    eprint!("{}", progress::printable_lines(&error.render().to_string()));
    std::process::exit(error.exit_code())
}

/// Memory that one thread frees should serve the others: a build must stay small on many processors.
fn limit_arenas() {
    // SAFETY: this only sets a parameter of the allocator (mallopt(3)), while there is one thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

fn dispatch(cli: &Cli, environment: &Environment) -> Result<Exit> {
    let store = || {
        wire::become_root()?;
        wire::store(&cli.global, environment)
    };
    let (out, now) = (&mut io::stdout(), Timestamp::now());
    match &cli.command {
        Command::Build(args) => {
            if !args.only_asks() {
                wire::become_root()?;
            }
            return commands::build::run((**args).clone(), &cli.global, environment);
        }
        Command::Check(args) => {
            return commands::check::run(args, &cli.global, environment, out);
        }
        Command::Builds(args) => commands::builds::run(args, &store()?, environment, now, out)?,
        Command::Explain(args) => commands::explain::run(args, &store()?, now, out)?,
        Command::Fmt(args) => {
            let mut report = Report {
                out: &mut io::stderr(),
                colors: progress::colors(environment),
            };
            let input = &mut io::stdin().lock();
            return Ok(commands::fmt::run(args, input, out, &mut report)?);
        }
        Command::Images(args) => commands::images::run(args, &store()?, now, out)?,
        Command::Inspect(args) => commands::inspect::run(args, &store()?, out)?,
        Command::History(args) => commands::history::run(args, &store()?, now, out)?,
        Command::Du(args) => commands::du::run(args, &store()?, now, out)?,
        Command::Prune(args) => {
            let mut terminal = Terminal {
                input: &mut io::stdin().lock(),
                out,
            };
            commands::prune::run(args, &store, now, &mut terminal)?;
        }
        Command::Cache(args) => commands::cache::run(args, &store()?, now, out)?,
        Command::Store(StoreArgs {
            command: StoreCommand::Verify(args),
        }) => {
            wire::become_root()?;
            let root = wire::root(&cli.global, environment)?;
            return commands::store::verify(args, &root, out);
        }
        Command::Doctor(args) => {
            let entered = wire::become_root();
            return commands::doctor::run(args, entered, &cli.global, environment, out);
        }
        Command::Completions(args) => commands::completions::run(args, out)?,
        Command::Man(args) => commands::man::run(args, out)?,
    }
    Ok(Exit::Done)
}

/// Tells what went wrong. If nobody can be told, the exit code remains.
fn tell(error: &anyhow::Error, environment: &Environment) -> Exit {
    let stderr = &mut io::stderr();
    let mut report = Report {
        out: stderr,
        colors: progress::colors(environment),
    };
    if let Some(error) = error.downcast_ref::<UsageError>() {
        let _ = report.usage(error);
        return Exit::Usage;
    }
    let io_errors = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    // Whoever reads standard output has seen enough, as in `kiln images | head -1`.
    if io_errors
        .map(io::Error::kind)
        .any(|kind| kind == ErrorKind::BrokenPipe)
    {
        return Exit::Failed;
    }
    let _ = report.error(error.as_ref());
    Exit::Failed
}
