//! `kiln man`: the manual pages, made from the definitions of the options.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};

/// Why a manual page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManError {
    /// To a file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// To standard output.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
}

/// Prints the overview, or writes one page for each command into a directory.
pub fn run(args: &ManArgs, out: &mut dyn Write) -> Result<(), ManError> {
    let mut command = Cli::command().disable_help_flag(true);
    command.build();
    match &args.out {
        None => out
            .write_all(&page(command).map_err(ManError::Print)?)
            .map_err(ManError::Print),
        Some(directory) => write_pages(command, directory),
    }
}

fn write_pages(command: clap::Command, directory: &Path) -> Result<(), ManError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ManError::Write { path, source }
    };
    std::fs::create_dir_all(directory).map_err(failed(directory))?;
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    for command in std::iter::once(command).chain(subcommands) {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name())
            .to_owned();
        let path = directory.join(format!("{name}.1"));
        let text = page(command.name(name)).map_err(failed(&path))?;
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).manual("Kiln manual").render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let args = ManArgs {
            out: Some(directory.path().join("man1")),
        };
        run(&args, &mut io::sink()).expect("the directory is writable");
        for name in ["kiln.1", "kiln-build.1", "kiln-prune.1"] {
            let page = std::fs::read_to_string(directory.path().join("man1").join(name));
            assert!(page.expect(name).contains(".SH OPTIONS"), "{name}");
        }
    }
}
