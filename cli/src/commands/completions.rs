//! `kiln completions`: a script that teaches a shell the options.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};

/// Prints the script.
pub fn run(args: &CompletionsArgs, out: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kiln", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_learns_the_flags() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            run(&CompletionsArgs { shell: *shell }, &mut script).expect("a Vec takes everything");
            let script = String::from_utf8(script).expect("scripts are text");
            assert!(script.contains("build-context"), "{shell}");
        }
    }
}
