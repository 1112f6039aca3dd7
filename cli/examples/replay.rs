//! Plays recorded events in real time: `replay FILE [auto|tty|plain|quiet|rawjson]`.
//!
//! To look at a renderer without a build; the recordings are in `testdata/progress`.

use std::error::Error;
use std::thread::sleep;
use std::time::Instant;

use clap::ValueEnum;
use kiln_cli::args::ProgressArg;
use kiln_cli::progress;
use kiln_cli::settings::Environment;

#[path = "../src/progress/script.rs"]
mod script;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: replay FILE [STYLE]")?;
    let mode = ProgressArg::from_str(&args.next().unwrap_or("auto".to_owned()), false)?;
    let environment = Environment::of_this_process();
    let display = progress::start(progress::settle(mode.into(), &environment), &environment);
    let started = Instant::now();
    for line in script::read(&std::fs::read_to_string(file)?) {
        sleep(line.at.saturating_sub(started.elapsed()));
        if let Some(event) = line.event {
            display.progress().report(event);
        }
    }
    display.finish();
    Ok(())
}
