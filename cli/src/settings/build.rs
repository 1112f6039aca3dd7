//! `kiln build`, resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_solver::Platform;
use kiln_worker::image::Reference;

use super::cache::{self, CacheFrom, CacheTo};
use super::call::{self, Call};
use super::output::{self, Output};
use super::{
    AgentSetting, Allowed, Annotation, ContextSource, Environment, ExtraHost, Limits,
    SecretSetting, UsageError, annotation, attestation, buildx, context, entitlement, hosts,
    limits, pairs, secret, ssh,
};
use crate::args::{BuildArgs, NetworkArg, ProgressArg};

/// What to build, from what, and what to do with the result.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// The directory that COPY and ADD read.
    pub context: ContextSource,
    /// Where the Dockerfile comes from.
    pub dockerfile: DockerfileSource,
    /// The stage to build; `None` is the last one.
    pub target: Option<String>,
    /// The values of ARGs.
    pub build_args: BTreeMap<String, String>,
    /// Other places to copy from, by name.
    pub build_contexts: BTreeMap<String, ContextSource>,
    /// What to build for; `None` is this machine's platform.
    pub platform: Option<Platform>,
    /// The image's names, in the order they were typed, those of outputs last.
    pub tags: Vec<String>,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// Where the result goes; at least one.
    pub outputs: Vec<Output>,
    /// The file that the image's ID is written to.
    pub iidfile: Option<PathBuf>,
    /// The file that a description of the result is written to.
    pub metadata_file: Option<PathBuf>,
    /// Whether the same files and arguments must give the same image, bit for bit.
    pub reproducible: bool,
    /// Annotations of the image in all outputs.
    pub annotations: Vec<Annotation>,
    /// Caches of other builds to look into, in this order.
    pub cache_from: Vec<CacheFrom>,
    /// Where the cache of this build is saved.
    pub cache_to: Vec<CacheTo>,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// Whether each step says why it runs.
    pub explain: bool,
    /// The stages whose steps run again.
    pub no_cache_stages: Vec<String>,
    /// Whether newer base images are looked for.
    pub pull: bool,
    /// The network of RUN steps.
    pub network: Network,
    /// Names for /etc/hosts of RUN steps.
    pub extra_hosts: Vec<ExtraHost>,
    /// What steps may ask for.
    pub allowed: Allowed,
    /// What steps may use.
    pub limits: Limits,
    /// What steps may be shown; of two with one name the last one counts.
    pub secrets: Vec<SecretSetting>,
    /// The agents that steps may use.
    pub agents: Vec<AgentSetting>,
    /// How to show what happens.
    pub progress: ProgressMode,
    /// What is asked instead of building.
    pub call: Call,
    /// What the user should know about options that have no effect, one sentence each.
    pub remarks: Vec<String>,
}

/// Where a Dockerfile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// The file of that name in the context: `Dockerfile`, or else `dockerfile`.
    InContext,
    /// This file; in a context that is no directory, this file of the context if the path is
    /// relative.
    File(PathBuf),
    /// The file behind this address.
    Remote(String),
    /// Standard input.
    Stdin,
}

/// What a RUN step may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// The host's, as with BuildKit without a network provider.
    #[default]
    Default,
    /// Nothing but itself.
    None,
    /// The host's, and steps may ask for it by name.
    Host,
}

/// How to show what happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// `Tty` if standard error is a terminal, else `Plain`.
    #[default]
    Auto,
    /// Steps that change in place.
    Tty,
    /// Lines that stay.
    Plain,
    /// Nothing until the end.
    Quiet,
    /// One JSON object an event.
    RawJson,
}

impl BuildSettings {
    /// Makes sense of what was typed.
    pub fn resolve(args: BuildArgs, environment: &Environment) -> Result<Self, UsageError> {
        let remarks = buildx::remarks(&args.buildx)?;
        let outputs = buildx::with_loaded(&args.buildx, outputs(&args.outputs)?);
        if args.reproducible {
            refuse_own_times(&args.outputs, &outputs)?;
        }
        let from_outputs = outputs
            .iter()
            .flat_map(|output| output.names.iter().cloned());
        let mut tags = args.tags;
        tags.extend(from_outputs);
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        attestation::refuse(&args.attestations)?;
        let annotations = args.annotations.iter().map(|a| annotation::parse(a));
        let annotations: Vec<Vec<Annotation>> = annotations.collect::<Result<_, _>>()?;
        let annotations: Vec<Annotation> = annotations.into_iter().flatten().collect();
        let of_outputs = outputs.iter().flat_map(|output| &output.annotations);
        annotation::check_levels(annotations.iter().chain(of_outputs))?;
        let network = network(args.network);
        let mut allowed = entitlement::parse(&args.allow)?;
        allowed.host_network |= network == Network::Host;
        Ok(Self {
            dockerfile: dockerfile(args.dockerfile.file, &args.context)?,
            context: main_context(args.context)?,
            target: args.target.filter(|target| !target.is_empty()),
            build_args: pairs::build_args(&args.dockerfile.build_args, environment)?,
            build_contexts: args
                .dockerfile
                .build_contexts
                .iter()
                .map(|c| context::parse(c))
                .collect::<Result<_, _>>()?,
            platform: single_platform(&args.platforms)?,
            tags,
            labels: pairs::labels(&args.labels)?,
            outputs,
            iidfile: args.iidfile,
            metadata_file: args.metadata_file,
            reproducible: args.reproducible,
            annotations,
            cache_from: args
                .cache_from
                .iter()
                .map(|c| cache::parse_from(c))
                .collect::<Result<_, _>>()?,
            cache_to: args
                .cache_to
                .iter()
                .map(|c| cache::parse_to(c))
                .collect::<Result<_, _>>()?,
            no_cache: args.no_cache,
            explain: args.explain,
            no_cache_stages: args.no_cache_filter,
            pull: args.pull,
            network,
            allowed,
            limits: limits::parse(&args.limits)?,
            extra_hosts: args
                .add_hosts
                .iter()
                .map(|h| hosts::parse(h))
                .collect::<Result<_, _>>()?,
            secrets: args
                .secrets
                .secrets
                .iter()
                .map(|s| secret::parse(s, environment))
                .collect::<Result<_, _>>()?,
            agents: ssh::parse(&args.secrets.ssh, environment)?,
            progress: progress(args.progress, args.quiet, environment)?,
            call: call::parse(args.call.as_deref(), args.check)?,
            remarks,
        })
    }
}

/// A name that no image can have is refused before anything is built.
fn check_tag(typed: &str) -> Result<(), UsageError> {
    let parsed = typed.parse::<Reference>();
    let wrong = |problem: String| UsageError::new("--tag", typed, problem);
    match parsed {
        Err(error) => Err(wrong(error.problem.to_string())),
        Ok(reference) if reference.digest.is_some() => Err(wrong(
            "a digest comes out of a build, and cannot be chosen".to_owned(),
        )),
        Ok(_) => Ok(()),
    }
}

fn main_context(typed: String) -> Result<ContextSource, UsageError> {
    if typed == "-" {
        return Ok(ContextSource::Stdin);
    }
    if typed.is_empty() {
        return Err(UsageError::new("PATH", "", "the directory's name is empty")
            .hint("use . for the current directory"));
    }
    Ok(match context::remote(&typed) {
        true => ContextSource::Remote(typed),
        false => ContextSource::Directory(PathBuf::from(typed)),
    })
}

fn dockerfile(file: Option<PathBuf>, context: &str) -> Result<DockerfileSource, UsageError> {
    match file {
        None => Ok(DockerfileSource::InContext),
        Some(file) if is_address(&file) => Ok(DockerfileSource::Remote(file.display().to_string())),
        Some(file) if file.as_os_str() != "-" => Ok(DockerfileSource::File(file)),
        Some(_) if context == "-" => Err(UsageError::new(
            "--file",
            "-",
            "the context is read from standard input already",
        )),
        Some(_) => Ok(DockerfileSource::Stdin),
    }
}

fn is_address(file: &Path) -> bool {
    let text = file.as_os_str().as_encoded_bytes();
    text.starts_with(b"https://") || text.starts_with(b"http://")
}

/// A reproducible image has nothing to say about when its files were made.
fn refuse_own_times(typed: &[String], outputs: &[Output]) -> Result<(), UsageError> {
    let has_own_times = |output: &Output| output.rewrite_timestamps.is_some();
    match outputs.iter().position(has_own_times) {
        None => Ok(()),
        Some(index) => Err(UsageError::new(
            "--output",
            &typed[index],
            "rewrite-timestamp cannot be chosen with --reproducible",
        )
        .hint("with --reproducible all files of new layers have the same time")),
    }
}

fn outputs(typed: &[String]) -> Result<Vec<Output>, UsageError> {
    if typed.is_empty() {
        return Ok(vec![Output::image()]);
    }
    let outputs: Vec<Output> = typed
        .iter()
        .map(|o| output::parse(o))
        .collect::<Result<_, _>>()?;
    if outputs.iter().filter(|output| output.is_stdout()).count() > 1 {
        return Err(UsageError::new(
            "--output",
            &typed.join(" "),
            "two go to standard output",
        ));
    }
    Ok(outputs)
}

/// The one platform, which may be typed several times.
fn single_platform(typed: &[String]) -> Result<Option<Platform>, UsageError> {
    let platforms = typed.iter().map(|one| platform(one));
    let mut platforms = platforms.collect::<Result<Vec<_>, _>>()?;
    platforms.dedup();
    if platforms.len() > 1 {
        let problem = "building for several platforms at once is not supported yet";
        return Err(UsageError::new("--platform", &typed.join(","), problem)
            .hint("run kiln build once for each platform"));
    }
    Ok(platforms.pop())
}

fn platform(typed: &str) -> Result<Platform, UsageError> {
    let platform = typed.trim().parse();
    platform.map_err(|_| {
        UsageError::new("--platform", typed, "it is not a platform")
            .hint("write it as in --platform linux/arm64")
    })
}

fn network(typed: Option<NetworkArg>) -> Network {
    match typed {
        None | Some(NetworkArg::Default) => Network::Default,
        Some(NetworkArg::None) => Network::None,
        Some(NetworkArg::Host) => Network::Host,
    }
}

/// `--quiet` counts most, then `--progress`, then `BUILDKIT_PROGRESS`, which buildx reads.
fn progress(
    typed: Option<ProgressArg>,
    quiet: bool,
    environment: &Environment,
) -> Result<ProgressMode, UsageError> {
    use clap::ValueEnum;
    if quiet {
        return match typed {
            None | Some(ProgressArg::Auto | ProgressArg::Quiet) => Ok(ProgressMode::Quiet),
            Some(other) => {
                let value = other.to_possible_value();
                let value = value.as_ref().map_or("", |value| value.get_name());
                Err(UsageError::new(
                    "--progress",
                    value,
                    "it contradicts --quiet",
                ))
            }
        };
    }
    let from_environment = || {
        let value = environment
            .get("BUILDKIT_PROGRESS")
            .filter(|value| !value.is_empty())?;
        Some(ProgressArg::from_str(value, false).map_err(|_| {
            UsageError::new(
                "BUILDKIT_PROGRESS",
                value,
                "there is no such progress style",
            )
            .known_words(value, &["auto", "tty", "plain", "quiet", "rawjson"])
        }))
    };
    let chosen = match typed {
        None | Some(ProgressArg::Auto) => from_environment().transpose()?,
        typed => typed,
    };
    Ok(chosen.map_or(ProgressMode::Auto, ProgressMode::from))
}

impl From<ProgressArg> for ProgressMode {
    fn from(typed: ProgressArg) -> Self {
        match typed {
            ProgressArg::Auto => ProgressMode::Auto,
            ProgressArg::Tty => ProgressMode::Tty,
            ProgressArg::Plain => ProgressMode::Plain,
            ProgressArg::Quiet => ProgressMode::Quiet,
            ProgressArg::Rawjson => ProgressMode::RawJson,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn resolve(line: &str) -> Result<BuildSettings, UsageError> {
        resolve_in(line, &Environment::default())
    }

    fn resolve_in(line: &str, environment: &Environment) -> Result<BuildSettings, UsageError> {
        let words = ["kiln", "build"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words)
            .expect("clap accepts the line")
            .command
        {
            Command::Build(args) => BuildSettings::resolve(*args, environment),
            _ => unreachable!("the command is build"),
        }
    }

    #[test]
    fn without_options_an_image_of_the_last_stage_is_built() {
        let settings = resolve(".").expect("this is the least that can be typed");
        assert_eq!(settings.context, ContextSource::Directory(".".into()));
        assert_eq!(settings.dockerfile, DockerfileSource::InContext);
        assert_eq!(settings.outputs, [Output::image()]);
        assert_eq!(settings.progress, ProgressMode::Auto);
    }

    #[test]
    fn short_and_long_forms_mean_the_same() {
        let short = resolve("-t a -t b:1 -f - -o out -q .").expect("short");
        let long = resolve("--tag a --tag=b:1 --file - --output=out --quiet .").expect("long");
        assert_eq!(format!("{short:?}"), format!("{long:?}"));
        assert_eq!(short.tags, ["a", "b:1"]);
        assert_eq!(short.dockerfile, DockerfileSource::Stdin);
        assert_eq!(short.progress, ProgressMode::Quiet);
    }

    #[test]
    fn names_of_outputs_are_tags_too() {
        let settings = resolve("-t a -o type=image,name=b .").expect("both are names");
        assert_eq!(settings.tags, ["a", "b"]);
    }

    #[test]
    fn of_several_platforms_none_is_built_silently() {
        for line in [
            "--platform linux/amd64,linux/arm64 .",
            "--platform linux/amd64 --platform linux/arm64 .",
            "--platform linux/arm64,linux/amd64,linux/arm64 .",
        ] {
            let error = resolve(line).expect_err(line);
            assert!(error.problem.contains("several platforms"), "{error}");
        }
        for line in [
            "--platform linux/aarch64 .",
            "--platform linux/arm64,linux/aarch64 .",
        ] {
            let platform = resolve(line).expect(line).platform.expect("one was typed");
            assert_eq!(platform.to_string(), "linux/arm64");
        }
    }

    #[test]
    fn flags_may_say_false() {
        let settings = resolve("--no-cache=false --pull=false --push=false --load=false .");
        let settings = settings.expect("nothing is asked for");
        assert!(!settings.no_cache && !settings.pull);
        let settings = resolve("--no-cache --pull=true .").expect("both are there");
        assert!(settings.no_cache && settings.pull);
    }

    #[test]
    fn what_docker_has_and_kiln_needs_not_is_accepted() {
        let settings = resolve("--rm=false --force-rm --compress -D --load .");
        let settings = settings.expect("all has no effect");
        assert_eq!(settings.outputs, [Output::image()]);
        assert!(settings.remarks.is_empty());
        let settings = resolve("--builder ci --load -o out .").expect("both are accepted");
        assert_eq!(settings.outputs.len(), 2);
        let [remark] = &settings.remarks[..] else {
            panic!("{:?}", settings.remarks)
        };
        assert!(remark.contains("--builder ci has no effect"), "{remark}");
    }

    #[test]
    fn pushing_is_refused_in_every_form() {
        for line in [
            "--push .",
            "--push=true .",
            "-o type=image,push=true .",
            "-o type=registry .",
            "-o type=registry,name=a .",
        ] {
            let error = resolve(line).expect_err(line);
            assert!(
                error.problem.contains("pushing to a registry is not"),
                "{error}"
            );
        }
        assert!(resolve("-o type=image,push=false .").is_ok());
    }

    #[test]
    fn the_environment_chooses_the_progress_style_only_where_nothing_is_typed() {
        let plain = Environment::from([("BUILDKIT_PROGRESS", "plain")]);
        let mode = |line: &str| resolve_in(line, &plain).map(|settings| settings.progress);
        assert_eq!(mode("."), Ok(ProgressMode::Plain));
        assert_eq!(mode("--progress tty ."), Ok(ProgressMode::Tty));
        assert_eq!(mode("-q ."), Ok(ProgressMode::Quiet));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        for line in [
            "-t Bad .",
            "-t a@sha256:0 .",
            "-f - -",
            "-q --progress plain .",
            "-o - -o type=oci .",
        ] {
            assert!(resolve(line).is_err(), "{line}");
        }
    }
}
