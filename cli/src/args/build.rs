//! `kiln build`, as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{AttestationArgs, LimitArgs};

/// What `kiln build` was asked for.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildArgs {
    /// What COPY and ADD may read: a directory, a git repository, an archive's address, or -
    ///
    /// A repository is written as URL#REFERENCE:DIRECTORY or URL?ref=REFERENCE&subdir=DIRECTORY. With
    /// -, an archive or a Dockerfile alone is read from standard input.
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub context: String,

    /// Dockerfile to build, its address, or - for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "What to build")]
    pub file: Option<PathBuf>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE", help_heading = "What to build")]
    pub target: Option<String>,
    /// Value of an ARG; a name alone takes the value from the environment
    #[arg(
        long = "build-arg",
        value_name = "NAME[=VALUE]",
        help_heading = "What to build"
    )]
    pub build_args: Vec<String>,
    /// Another place to COPY from, or a replacement for a FROM
    ///
    /// VALUE is a directory, oci-layout://PATH[:TAG][@DIGEST], docker-image://REFERENCE, a git
    /// repository or an address.
    #[arg(
        long = "build-context",
        value_name = "NAME=VALUE",
        help_heading = "What to build"
    )]
    pub build_contexts: Vec<String>,
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
    /// name=NAME, compression=gzip|zstd|uncompressed, compression-level=N, annotation[-LEVEL].NAME=VALUE;
    /// rewrite-timestamp=true makes no file of the new layers younger than SOURCE_DATE_EPOCH.
    #[arg(short, long = "output", value_name = "DEST", help_heading = "Result")]
    pub outputs: Vec<String>,
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
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Result")]
    pub metadata_file: Option<PathBuf>,

    /// Run every step again
    #[arg(long, help_heading = "Cache")]
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
    #[arg(long, help_heading = "Cache")]
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
    /// Secret that RUN --mount=type=secret may show to a step
    ///
    /// src=FILE takes it from a file, env=NAME from a variable; without either, it is the variable or
    /// file of the same name as the secret. Secrets are kept in memory; they are in no layer and no
    /// key of the cache.
    #[arg(
        long = "secret",
        value_name = "id=ID[,src=FILE|,env=NAME]",
        help_heading = "Steps"
    )]
    pub secrets: Vec<String>,
    /// SSH agent that RUN --mount=type=ssh may use
    ///
    /// SOCKET is an agent's socket [default: $SSH_AUTH_SOCK]. KEY is a private key's file; several
    /// keys make an agent of their own. A step may have things signed, and nothing else.
    #[arg(
        long = "ssh",
        value_name = "ID[=SOCKET|=KEY,...]",
        help_heading = "Steps"
    )]
    pub ssh: Vec<String>,

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
    /// A network of the step's own, with a way out where there is one
    Default,
    /// No network but the loopback device
    None,
    /// The host's network
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
