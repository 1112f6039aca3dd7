//! What was probably meant by an option or a value that does not exist: clap would suggest `--target`
//! for `--tga`, and `none` for anything that holds its letters.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Error};
use kiln_frontend::diagnostic::closest;

use super::Cli;

/// The error with better suggestions than clap's, where there are any. `typed` is the command line.
pub fn explain(mut error: Error, typed: &[OsString]) -> Error {
    match error.kind() {
        ErrorKind::UnknownArgument => suggest_option(&mut error, typed),
        ErrorKind::InvalidValue => suggest_value(&mut error),
        _ => {}
    }
    error
}

fn suggest_option(error: &mut Error, typed: &[OsString]) {
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let Some(written) = written.strip_prefix("--").map(str::to_owned) else {
        return;
    };
    let mut root = Cli::command();
    root.build();
    let command = meant_by(&mut root, typed);
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(|a| a.get_long())
        .collect();
    let Some(option) = closest(&written, known) else {
        return;
    };
    let option = format!("--{option}");
    let usage = command.render_usage();
    error.insert(ContextKind::SuggestedArg, ContextValue::String(option));
    // Clap's shows the option that it suggests.
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
}

/// The command whose names stand on the command line, from the first on.
fn meant_by<'c>(command: &'c mut Command, typed: &[OsString]) -> &'c mut Command {
    let names = typed.iter().filter_map(|word| word.to_str());
    let mut command = command;
    for name in names {
        if command.find_subcommand(name).is_some() {
            command = command
                .find_subcommand_mut(name)
                .expect("it was found right before");
        }
    }
    command
}

fn suggest_value(error: &mut Error) {
    let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue) else {
        return;
    };
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidValue) else {
        return;
    };
    let near = closest(written, valid.iter().map(String::as_str)).map(str::to_owned);
    match near {
        Some(near) => error.insert(ContextKind::SuggestedValue, ContextValue::String(near)),
        // All values stand beside it.
        None => error.remove(ContextKind::SuggestedValue),
    };
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn what_was_meant_is_suggested() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("build --tga x .", &["exists: '--tag'"], &["--target"]),
            ("build --taget x .", &["exists: '--target'"], &[]),
            ("images --fromat json", &["exists: '--format'"], &[]),
            (
                "build --network=container:x .",
                &["default, none, host"],
                &["similar"],
            ),
            ("build --network=hots .", &["exists: 'host'"], &[]),
        ];
        for (line, with, without) in cases {
            let typed: Vec<OsString> = std::iter::once("kiln")
                .chain(line.split(' '))
                .map(OsString::from)
                .collect();
            let error = Cli::try_parse_from(&typed).expect_err(line);
            let told = explain(error, &typed).to_string();
            for part in with {
                assert!(told.contains(part), "{line}: {told}");
            }
            for part in without {
                assert!(!told.contains(part), "{line}: {told}");
            }
        }
    }
}
