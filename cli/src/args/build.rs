//! `kiln build`, as typed.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use super::{AttestationArgs, BuildxArgs, DockerfileArgs, LimitArgs, SecretArgs};

/// What `kiln build` was asked for.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildArgs {
    /// What COPY and ADD may read: a directory, a git repository, an archive's address, or -
    ///
    /// A repository is written as URL#REFERENCE:DIRECTORY or URL?ref=REFERENCE&subdir=DIRECTORY. With
    /// -, an archive or a Dockerfile alone is read from standard input.
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub context: String,

    /// Which Dockerfile.
    #[command(flatten)]
    pub dockerfile: DockerfileArgs,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE", help_heading = "What to build")]
    pub target: Option<String>,
    /// Platform to build for, such as linux/arm64 [default: this machine's]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    #[arg(help_heading = "What to build")]
    pub platforms: Vec<String>,

    /// Name for the image, with or without a tag
    #[arg(
        short,
        long = "tag",
        value_name = "NAME[:TAG]",
        help_heading = "Result"
    )]
    pub tags: Vec<String>,
    /// Label for the image
    #[arg(long = "label", value_name = "NAME=VALUE", help_heading = "Result")]
    pub labels: Vec<String>,
    /// Where the result goes [default: type=image]
    ///
    /// type=image keeps it in the store; type=oci,dest=FILE writes an OCI archive (dest=- is
    /// standard output, tar=false writes a directory); type=tar,dest=FILE writes the files alone,
    /// type=local,dest=DIR puts them into a directory, for which DIR by itself is short. Also:
    /// name=NAME, compression=gzip|zstd|uncompressed, compression-level=N, annotation[-LEVEL].NAME=VALUE.
    /// With SOURCE_DATE_EPOCH, all files of new layers have that time; rewrite-timestamp=true only makes
    /// none younger, and rewrite-timestamp=false lets them keep their own.
    #[arg(short, long = "output", value_name = "DEST", help_heading = "Result")]
    pub outputs: Vec<String>,
    /// Make the same image, bit for bit, on any day and any machine
    ///
    /// The image and all files of its new layers have the time SOURCE_DATE_EPOCH or, if it is not set,
    /// 2 January 1980. What a command writes by itself must not depend on time or chance.
    #[arg(long, help_heading = "Result")]
    pub reproducible: bool,
    /// Annotation of the image
    ///
    /// LEVEL is manifest (the default) or manifest-descriptor, with a platform in brackets behind it if
    /// need be; index and index-descriptor are for images of several platforms.
    #[arg(
        long = "annotation",
        value_name = "[LEVEL:]NAME=VALUE",
        help_heading = "Result"
    )]
    pub annotations: Vec<String>,
    /// Statements about the build.
    #[command(flatten)]
    pub attestations: AttestationArgs,
    /// What scripts pass to docker.
    #[command(flatten)]
    pub buildx: BuildxArgs,
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub metadata_file: Option<PathBuf>,

    /// Run every step again
    #[arg(long, help_heading = "Cache", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, hide_default_value = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub no_cache: bool,
    /// Cache of another build to look into, as --cache-to wrote it
    ///
    /// A directory that is not there yet is no error, for a first build has none. Layers come when a step
    /// must see them. With mounts=true, or mounts=ID;ID, what the cache has of RUN --mount=type=cache is
    /// restored where the store has nothing. Also: tag=TAG, ignore-error=true.
    #[arg(
        long = "cache-from",
        value_name = "type=local,src=DIR",
        help_heading = "Cache"
    )]
    pub cache_from: Vec<String>,
    /// Where to save the cache of this build, for --cache-from
    ///
    /// mode=min (the default) takes the steps whose layers are the result's, mode=max all of them;
    /// mounts=true, or mounts=ID;ID, what RUN --mount=type=cache keeps. Also: tag=TAG,
    /// compression=zstd|gzip|uncompressed, compression-level=N, ignore-error=true.
    #[arg(
        long = "cache-to",
        value_name = "type=local,dest=DIR",
        help_heading = "Cache"
    )]
    pub cache_to: Vec<String>,
    /// Say in each step's log why it runs
    #[arg(long, help_heading = "Cache")]
    pub explain: bool,
    /// Run the steps of these stages again
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    #[arg(help_heading = "Cache", conflicts_with = "no_cache")]
    pub no_cache_filter: Vec<String>,
    /// Ask the registry for newer base images
    #[arg(long, help_heading = "Cache", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, hide_default_value = true)]
    #[arg(default_value = "false", default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub pull: bool,

    /// Network of the RUN steps [default: default]
    #[arg(long, value_name = "MODE", help_heading = "Steps")]
    pub network: Option<NetworkArg>,
    /// Line for /etc/hosts of the RUN steps
    #[arg(long = "add-host", value_name = "NAME:IP", help_heading = "Steps")]
    pub add_hosts: Vec<String>,

    /// Something that the Dockerfile's steps may only do if you agree
    ///
    /// network.host lets RUN --network=host use the host's network (--network=host allows it, too).
    /// security.insecure lets RUN --security=insecure have all privileges of this process: as root, those
    /// of the machine's root, with devices and a writable /proc and /sys, and nothing between the step
    /// and the machine; for others, those of root in their own user namespace.
    #[arg(long = "allow", value_name = "ENTITLEMENT", help_heading = "Steps")]
    pub allow: Vec<String>,
    /// What may be asked for.
    #[command(flatten)]
    pub secrets: SecretArgs,

    /// What the steps' processes may use.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Ask something about the Dockerfile instead of building it
    ///
    /// METHOD is check (what BuildKit's rules find), outline (what the target takes from outside),
    /// targets, or build. Of checks, the exit code is 1 if anything is found; ignorestatus makes it 0.
    #[arg(long, value_name = "METHOD[,format=json]", help_heading = "Questions")]
    pub call: Option<String>,
    /// Short for --call=check
    #[arg(long, help_heading = "Questions")]
    pub check: bool,

    /// How to show what happens [default: auto]
    #[arg(long, value_name = "STYLE", help_heading = "Progress")]
    pub progress: Option<ProgressArg>,
    /// Show nothing and print the image's ID at the end
    #[arg(short, long, help_heading = "Progress")]
    pub quiet: bool,
}

impl BuildArgs {
    /// Whether nothing is to be built.
    pub fn only_asks(&self) -> bool {
        let call = self.call.as_deref().unwrap_or("build");
        self.check || call.split(',').all(|field| field != "build")
    }
}

/// The values of `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkArg {
    /// A network of the step's own, from which it reaches what the host reaches
    Default,
    /// A network of the step's own, with the loopback device alone
    None,
    /// The host's network, for which RUN --network=host asks, too
    Host,
}

/// The values of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// tty on a terminal, plain elsewhere
    Auto,
    /// Steps that change in place
    Tty,
    /// Lines that stay, for logs
    Plain,
    /// Nothing; the image's ID is printed at the end
    Quiet,
    /// One JSON object an event, as buildx prints them
    Rawjson,
}
