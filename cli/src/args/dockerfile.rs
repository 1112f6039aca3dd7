//! The Dockerfile and what it may read, as typed: the same for whoever builds it and whoever only checks it.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which Dockerfile, and what of it is given from outside.
#[derive(Debug, Clone, Default, Args)]
pub struct DockerfileArgs {
    /// Dockerfile to read, its address, or - for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "Dockerfile")]
    pub file: Option<PathBuf>,
    /// Value of an ARG; a name alone takes the value from the environment
    #[arg(
        long = "build-arg",
        value_name = "NAME[=VALUE]",
        help_heading = "Dockerfile"
    )]
    pub build_args: Vec<String>,
    /// Another place to COPY from, or a replacement for a FROM
    ///
    /// VALUE is a directory, oci-layout://PATH[:TAG][@DIGEST], docker-image://REFERENCE, a git
    /// repository or an address.
    #[arg(
        long = "build-context",
        value_name = "NAME=VALUE",
        help_heading = "Dockerfile"
    )]
    pub build_contexts: Vec<String>,
}

/// What may be asked for and is in no image. A repository that is a context may ask for it, too.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretArgs {
    /// Secret that RUN --mount=type=secret may show to a step
    ///
    /// src=FILE takes it from a file, env=NAME from a variable; without either, it is the variable or
    /// file of the same name as the secret. Secrets are kept in memory; they are in no layer and no
    /// key of the cache.
    #[arg(
        long = "secret",
        value_name = "id=ID[,src=FILE|,env=NAME]",
        help_heading = "Secrets"
    )]
    pub secrets: Vec<String>,
    /// SSH agent that RUN --mount=type=ssh may use
    ///
    /// SOCKET is an agent's socket [default: $SSH_AUTH_SOCK]. KEY is a private key's file; several
    /// keys make an agent of their own. A step may have things signed, and nothing else.
    #[arg(
        long = "ssh",
        value_name = "ID[=SOCKET|=KEY,...]",
        help_heading = "Secrets"
    )]
    pub ssh: Vec<String>,
}
