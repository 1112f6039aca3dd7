//! Times Kiln and other Dockerfile builders in turn (A B A B) on the same work, on the same disk.
//!
//! It measures; it does not judge, and it does not check what the builders made.

mod args;
mod base;
mod command;
mod context;
mod disk;
mod instance;
mod interrupt;
mod measure;
mod namespace;
mod process;
mod registry;
mod report;
mod schedule;
mod settle;
mod statistics;
mod tools;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::Arguments;
use crate::report::Report;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) if report.is_complete() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kiln-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what was asked for, prints it, and returns it; an interrupted run returns what it has.
fn run(arguments: &Arguments) -> Result<Report> {
    interrupt::install()?;
    namespace::enter_own_mount_namespace()?;
    let report = schedule::run(arguments)?;
    print!("{}", report::table(&report));
    if let Some(file) = &arguments.json {
        report::write_json(&report, file)?;
    }
    Ok(report)
}
