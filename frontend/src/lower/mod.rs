//! The tree of a Dockerfile → the solver's graph and the image's config.
//!
//! Pure, and therefore in rounds: what is not known about images and other machines comes back as
//! [`LowerError::NeedsImages`] and [`LowerError::NeedsRemotes`]; the caller resolves it and lowers
//! again.

mod add;
mod arguments;
mod base;
mod chain;
mod config;
mod declared;
mod display;
mod environment;
mod epoch;
mod history;
mod image_variables;
mod mounts;
mod outline;
mod plan;
pub mod remote;
mod root;
mod run;
mod stage;
mod survey;
mod transfer;

pub use outline::{Outline, OutlineArgument, OutlineMount, outline};
pub use survey::{Extent, Survey, survey};

use std::borrow::Cow;
use std::collections::BTreeMap;

use kiln_solver::op::{Limit, Network, Source};
use kiln_solver::pattern::Patterns;
use kiln_solver::{Graph, Platform, Reference, Sha256Digest, VertexId};

use crate::check::{self, Findings};
use crate::diagnostic::Diagnostic;
use crate::image_config::ImageConfig;
use crate::source::{Span, Spanned};
use crate::syntax::Dockerfile;
use remote::{Pinned, RemoteRequest};

/// What a build is asked to be, apart from the Dockerfile.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stage to build; the last one if not given.
    pub target: Option<String>,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// The platform that steps run on.
    pub build_platform: Platform,
    /// The platform to build for. If not given, it is the build platform, and a base image of
    /// another platform decides what the result is called.
    pub target_platform: Option<Platform>,
    /// Whether this is one of several platforms, so that names of steps must tell them apart.
    pub multi_platform: bool,
    /// What COPY and ADD take files from.
    pub context: MainContext,
    /// `--build-context`, by name; a name may end in `::platform`.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// The time to use where `SOURCE_DATE_EPOCH` names none, in seconds since 1970.
    pub default_epoch: Option<i64>,
    /// `--network`
    pub network: Network,
    /// `--add-host`: names and addresses.
    pub extra_hosts: Vec<(String, String)>,
    /// The host name of steps.
    pub hostname: Option<String>,
    /// `--shm-size`, in bytes
    pub shm_size: Option<u64>,
    /// `--ulimit`, each resource once, in order.
    pub limits: Vec<Limit>,
    /// `--no-cache` and `--no-cache-filter`
    pub no_cache: NoCache,
    /// `--allow`
    pub allowed: Allowed,
    /// What the build context leaves out; only a rule asks.
    pub ignored: Patterns,
    /// Which rules are asked beside those that the Dockerfile chooses.
    pub check: CheckOptions,
}

/// What the command line says about rules.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Whether all of Kiln's own rules are asked, and not only those of every build.
    pub own_rules: bool,
    /// Names of rules that are left out.
    pub skip: Vec<String>,
    /// Names of rules that are asked though they are off by default.
    pub enable: Vec<String>,
}

impl Options {
    /// A build of the last stage for the platform it runs on, with nothing special.
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            build_platform,
            target_platform: None,
            multi_platform: false,
            context: MainContext::Directory,
            contexts: BTreeMap::new(),
            labels: BTreeMap::new(),
            default_epoch: None,
            network: Network::Default,
            extra_hosts: Vec::new(),
            hostname: None,
            shm_size: None,
            limits: Vec::new(),
            no_cache: NoCache::default(),
            allowed: Allowed::default(),
            ignored: Patterns::default(),
            check: CheckOptions::default(),
        }
    }

    /// The platform to build for.
    pub fn target_platform(&self) -> &Platform {
        self.target_platform
            .as_ref()
            .unwrap_or(&self.build_platform)
    }
}

/// What the context of a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainContext {
    /// A directory of the client's.
    Directory,
    /// Something of another machine or from standard input, which was pinned because the Dockerfile
    /// is in it.
    Remote {
        /// What it is.
        source: Source,
        /// What to call it before people.
        description: String,
        /// Whether it is a file that is unpacked.
        is_archive: bool,
        /// Its time in seconds since 1970, if it has one and that was asked for.
        time: Option<i64>,
    },
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// `docker-image://`: an image of a registry.
    Image(String),
    /// `oci-layout://`: an image in a directory, with what follows the scheme.
    Layout(String),
    /// A directory of the client's, which the executor knows by this name.
    Local(String),
    /// A git repository, or a file behind an address.
    Remote(String),
}

/// What steps may only ask for if whoever builds agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// `RUN --network=host`
    pub host_network: bool,
    /// `RUN --security=insecure`
    pub insecure: bool,
}

impl Allowed {
    /// All that there is.
    pub const EVERYTHING: Self = Self {
        host_network: true,
        insecure: true,
    };
}

/// Which steps may not come from the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoCache {
    /// All may.
    #[default]
    Never,
    /// None may.
    All,
    /// None of these stages may.
    Stages(Vec<String>),
}

/// An image that lowering must know about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRequest {
    /// Where it is.
    pub location: ImageLocation,
    /// The platform to choose if it has several.
    pub platform: Platform,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageLocation {
    /// In a registry, under a normalised name such as `docker.io/library/alpine:latest`.
    Registry(String),
    /// In an OCI layout, named as in `oci-layout://`.
    Layout(String),
}

/// What is known about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedImage {
    /// What the name stands for at the moment: the digest of an index or a manifest.
    pub digest: Sha256Digest,
    /// The manifest for the requested platform.
    pub manifest: Sha256Digest,
    /// Its config.
    pub config: ImageConfig,
}

/// The images, and what else lies outside, that are resolved already.
pub trait Images {
    /// What is known about an image; `None` if nothing is yet.
    fn image(&self, request: &ImageRequest) -> Option<&ResolvedImage>;

    /// What is known of other machines; `None` if nothing is yet.
    fn remote(&self, _request: &RemoteRequest) -> Option<&Pinned> {
        None
    }
}

impl Images for BTreeMap<ImageRequest, ResolvedImage> {
    fn image(&self, request: &ImageRequest) -> Option<&ResolvedImage> {
        self.get(request)
    }
}

/// A Dockerfile as operations.
#[derive(Debug)]
pub struct Lowered {
    /// The operations.
    pub graph: Graph,
    /// The vertex whose result is the image's file system; `None` if that is empty.
    pub target: Option<VertexId>,
    /// The image's config. Its layers and the first entries of its history are the base image's.
    pub config: ImageConfig,
    /// The layers that this build adds, in order.
    pub layers: Vec<Layer>,
    /// The base image, if there is one.
    pub base: Option<ResolvedImage>,
    /// `SOURCE_DATE_EPOCH`: the time to use instead of the clock, in seconds.
    pub epoch: Option<i64>,
    /// What may be wrong, but does not prevent the build.
    pub warnings: Vec<Diagnostic>,
}

/// A layer and the entry of the history that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The entry's position in [`ImageConfig::history`].
    pub history: usize,
    /// The vertex that makes the layer.
    pub vertex: VertexId,
}

/// Why there is no graph.
#[derive(Debug)]
pub enum LowerError {
    /// These images must be known first; the places say who wants them.
    NeedsImages(Vec<Spanned<ImageRequest>>),
    /// This must be known of other machines first, with the places that want it.
    NeedsRemotes(Vec<(RemoteRequest, Option<Span>)>),
    /// The Dockerfile cannot be built.
    Invalid(Vec<Diagnostic>),
}

impl From<Diagnostic> for LowerError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(vec![diagnostic])
    }
}

impl From<Box<Diagnostic>> for LowerError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Invalid(vec![*diagnostic])
    }
}

/// What most functions here return: one error suffices to stop a stage.
type Checked<T> = Result<T, Box<Diagnostic>>;

/// Lowers a Dockerfile that [`crate::parse()`] found no errors in. If it cannot be built, all that is
/// wrong is reported, and what the rules found as well.
pub fn lower(
    dockerfile: &Dockerfile,
    options: &Options,
    images: &dyn Images,
) -> Result<Lowered, LowerError> {
    lower_or_stop(dockerfile, options, images).map_err(|error| match error {
        LowerError::NeedsImages(_) | LowerError::NeedsRemotes(_) => error,
        LowerError::Invalid(first) => {
            let all = survey::survey_tree(dockerfile, options, images, Extent::Needed);
            match all.diagnostics.iter().any(Diagnostic::is_error) {
                true => LowerError::Invalid(all.diagnostics),
                false => LowerError::Invalid(first),
            }
        }
    })
}

fn lower_or_stop(
    dockerfile: &Dockerfile,
    options: &Options,
    images: &dyn Images,
) -> Result<Lowered, LowerError> {
    let settings = survey::settings(dockerfile, options)?;
    check_syntax(dockerfile)?;
    let stages = crate::stage::Stages::of(dockerfile);
    let target = stages.target(options.target.as_deref())?;
    let (global, errors) = arguments::global(dockerfile, &stages, options, target);
    fail_if_any(errors)?;
    let epoch = epoch::resolve(dockerfile, &stages, options, &global, images)?;
    let options = &*epoch::with_number(Cow::Borrowed(options), epoch);
    let (global, _) = arguments::global(dockerfile, &stages, options, target);
    let (mut plan, errors) = plan::Plan::new(dockerfile, &stages, options, &global);
    fail_if_any(errors)?;
    plan.resolve(target, images)?;
    let findings = Findings::new(settings, options.check.own_rules);
    check::file(&findings, dockerfile, &stages);
    survey::from_rules(&findings, dockerfile, &stages, options, target, &global);
    if let Some(unused) = arguments::unused(&plan, options) {
        check::unused_build_argument(&findings, unused);
    }
    let builder = stage::Builder::new(dockerfile, options, &global, &plan, images, epoch, findings);
    let mut lowered = builder.lower(target)?;
    if let NoCache::Stages(names) = &options.no_cache {
        let unknown = stages.unknown_without_cache(names);
        lowered.warnings.extend(unknown);
    }
    if lowered.warnings.iter().any(Diagnostic::is_error) {
        return Err(LowerError::Invalid(lowered.warnings));
    }
    Ok(lowered)
}

fn fail_if_any(errors: Vec<Diagnostic>) -> Result<(), LowerError> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(LowerError::Invalid(errors)),
    }
}

/// Another frontend would have to be run as a container; this one speaks only its own language.
fn check_syntax(dockerfile: &Dockerfile) -> Result<(), Diagnostic> {
    let Some(syntax) = &dockerfile.directives.syntax else {
        return Ok(());
    };
    let image = syntax.value.split(' ').next().unwrap_or_default();
    let known = image.parse().is_ok_and(|reference: Reference| {
        reference.registry == "docker.io"
            && matches!(
                reference.repository.as_str(),
                "docker/dockerfile" | "docker/dockerfile-upstream"
            )
    });
    if known {
        Ok(())
    } else {
        Err(Diagnostic::unsupported(
            syntax.span,
            &format!("the frontend {image}"),
        ))
    }
}
