//! `kiln check`, as typed.

use clap::{Args, ValueEnum, ValueHint};

use super::{BuildArgs, DockerfileArgs, SecretArgs};

/// What `kiln check` was asked for.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArgs {
    /// Where the Dockerfile is: a directory, a git repository, an archive's address, or -
    ///
    /// A repository is written as URL#REFERENCE:DIRECTORY or URL?ref=REFERENCE&subdir=DIRECTORY. With
    /// -, an archive or a Dockerfile alone is read from standard input. What is elsewhere is brought
    /// into the store, as for kiln build.
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath, default_value = ".")]
    pub context: String,
    /// Which Dockerfile.
    #[command(flatten)]
    pub dockerfile: DockerfileArgs,
    /// Only the stages that this one needs [default: all stages]
    #[arg(long, value_name = "STAGE", help_heading = "What to check")]
    pub target: Option<String>,
    /// Platform that the build would be for [default: this machine's]
    #[arg(
        long = "platform",
        value_name = "PLATFORM",
        help_heading = "What to check"
    )]
    pub platform: Option<String>,
    /// What a repository may ask for.
    #[command(flatten)]
    pub secrets: SecretArgs,
    /// Look at no base images
    ///
    /// Otherwise they are looked up in the store and in registries, and an image that cannot be had is
    /// told about. Rules that depend on an image that is not known say nothing.
    #[arg(long, help_heading = "What to check")]
    pub offline: bool,

    /// Leave rules out
    #[arg(
        long,
        value_name = "RULE",
        value_delimiter = ',',
        help_heading = "Rules"
    )]
    pub skip: Vec<String>,
    /// Ask rules that are off by default, or all
    #[arg(
        long,
        value_name = "RULE",
        value_delimiter = ',',
        help_heading = "Rules"
    )]
    pub enable: Vec<String>,
    /// List the rules
    #[arg(long, help_heading = "Rules")]
    pub list_rules: bool,
    /// Tell what a rule is about, with an example
    #[arg(long, value_name = "RULE", help_heading = "Rules")]
    pub explain: Option<String>,

    /// How to print what is found
    ///
    /// Of more than 1000 findings, errors are printed first, and how many were left out.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Result"
    )]
    pub format: CheckFormat,
    /// What makes the exit code 1
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SEVERITY",
        help_heading = "Result"
    )]
    pub fail_on: FailOn,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing was found, or nothing as bad as --fail-on
  1  something was found, or the Dockerfile could not be read
  2  the command line makes no sense

Every rule can be skipped with a comment: \"# check=skip=RULE\" at the head of the file, or right
above an instruction. docs/rules.md lists the rules; --explain RULE prints one.";

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Beside the lines of the Dockerfile
    #[default]
    Text,
    /// In the form of `docker buildx build --call=check,format=json`
    Json,
    /// SARIF 2.1.0, which code hosts and editors read
    Sarif,
}

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings and errors
    #[default]
    Warning,
    /// Errors: the Dockerfile cannot be built
    Error,
    /// Nothing that is found
    Never,
}

impl CheckArgs {
    /// The build whose Dockerfile is checked.
    pub fn as_build(&self) -> BuildArgs {
        BuildArgs {
            context: self.context.clone(),
            dockerfile: self.dockerfile.clone(),
            secrets: self.secrets.clone(),
            target: self.target.clone(),
            platforms: self.platform.iter().cloned().collect(),
            ..BuildArgs::default()
        }
    }
}
