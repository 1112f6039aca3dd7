//! One build from its settings to its results: the phases in order.
//!
//! [`context`] opens what the client has and [`dockerfile`] reads it, [`images`] and [`remotes`]
//! answer what the frontend asks about base images and other machines, the solver runs the graph,
//! [`finish`] completes the image's config, [`outputs`] writes what was asked for. [`caches`] are those of
//! other builds, and this one's for others.

mod caches;
mod check;
mod context;
mod destination;
mod dockerfile;
mod finish;
mod images;
mod outputs;
mod remotes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kiln_frontend::lower::{self, Allowed, Extent, NamedContext, NoCache};
use kiln_frontend::stage::Stages;
use kiln_frontend::{Diagnostic, LowerError, Lowered, Options, Source};
use kiln_solver::op::Network as StepNetwork;
use kiln_solver::{Graph, Platform, Reporter, SolveError, Solver};
use kiln_worker::cache::StoreCache;
use kiln_worker::cache_transfer::StepImport;
use kiln_worker::executor::{
    Foresight, LayerSource, LayerSources, LocalDirectory, NetworkNotice, Output, StepBounds, Worker,
};
use kiln_worker::sandbox::{Groups, Sandbox, Shortfall};
use kiln_worker::secret::Secrets;
use kiln_worker::snapshot::Snapshot;
use kiln_worker::ssh::Agents;
use kiln_worker::store::Store;

use crate::settings::{BuildSettings, ContextSource, HostAddress, Network};
use context::ContextFiles;
use finish::Products;
use images::{BaseLayers, ImageBook};
use remotes::{Outside, RemoteBook};

pub use check::{Begun, Checked, Question, UnknownImage, outline, targets};
pub use destination::check_destinations;
pub use outputs::{Built, Digests};

/// The name of the context that PATH names.
const MAIN_CONTEXT: &str = "context";

/// What the context is called that comes with a Dockerfile on standard input.
const NO_FILES: &str = "-, which is a Dockerfile alone";

/// The time of a reproducible image that nothing else gives one, in seconds since 1970: 2 January 1980,
/// the first day that zip archives can hold in every time zone. It is the same for every commit, so that
/// a layer of which nothing changed has the same digest in all of them.
const REPRODUCIBLE_EPOCH: i64 = 315_619_200;

/// Why a build did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile cannot be built.
    #[error("the Dockerfile cannot be built")]
    Dockerfile {
        /// The Dockerfile.
        dockerfile: Box<Source>,
        /// What is wrong with it, errors and warnings.
        diagnostics: Vec<Diagnostic>,
    },
    /// A step failed.
    #[error("{error}")]
    Step {
        /// The Dockerfile.
        dockerfile: Box<Source>,
        /// What failed.
        error: SolveError,
        /// The step's name, as the progress shows it.
        name: String,
        /// Where its instruction stands.
        span: Option<kiln_solver::graph::SourceSpan>,
    },
    /// Something else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// What a build needs beside its settings: the backends that were chosen for it.
pub struct Backends {
    /// Where results are kept.
    pub store: Store,
    /// Where images come from.
    pub images: Arc<kiln_worker::image::Images>,
    /// Where files and repositories of other machines come from.
    pub sources: Arc<kiln_worker::source::Sources>,
    /// What all processes of a step may use together.
    pub groups: Groups,
    /// What each step may write.
    pub bounds: StepBounds,
    /// What was asked for and has no effect on this machine, one sentence each.
    pub shortfalls: Vec<Shortfall>,
    /// Secrets that steps may ask for.
    pub secrets: Secrets,
    /// Agents that steps may ask for.
    pub agents: Agents,
    /// How many steps run at once.
    pub parallel_steps: usize,
    /// Whether this process is root of the whole machine.
    pub is_machine_root: bool,
}

/// Something that people should know of, and that is no error.
pub enum Warning<'w> {
    /// What the frontend found in a Dockerfile, which may be nothing.
    Dockerfile(&'w Source, &'w [Diagnostic]),
    /// What is wrong with a cache that was to be used or saved.
    Cache(String),
}

/// Builds what the settings ask for.
pub async fn build(
    settings: &BuildSettings,
    backends: &Backends,
    reporter: &Reporter,
    warn: &mut (dyn FnMut(Warning<'_>) + Send),
) -> Result<Built, BuildError> {
    let context = context::open(settings, backends, reporter).await?;
    let loading = reporter.start("[internal] load build definition from Dockerfile");
    let loaded = dockerfile::load(settings, &context)
        .inspect_err(|error| loading.failed(crate::report::chain(error.as_ref())))?;
    loading.finished();
    let parsed = kiln_frontend::parse(&loaded.source);
    let options = Options {
        ignored: loaded.excludes.clone(),
        context: context.main,
        ..options(settings)
    };
    if parsed.has_errors() {
        let survey = lower::survey(&parsed, &options, &BTreeMap::new(), Extent::Needed);
        let (dockerfile, diagnostics) = (Box::new(loaded.source), survey.diagnostics);
        return Err(BuildError::Dockerfile {
            dockerfile,
            diagnostics,
        });
    }
    let mut remotes = RemoteBook::new(Arc::clone(&backends.sources));
    let mut book = ImageBook::new(Arc::clone(&backends.images), settings.pull);
    let lowered = loop {
        let outside = Outside {
            images: &book,
            remotes: &remotes,
        };
        match kiln_frontend::lower(&parsed.dockerfile, &options, &outside) {
            Ok(lowered) => break lowered,
            Err(LowerError::NeedsImages(requests)) => {
                let stages = Stages::of(&parsed.dockerfile);
                let contexts = settings.build_contexts.keys().map(String::as_str);
                let names: Vec<&str> = stages.names().chain(contexts).collect();
                book.resolve(&loaded.source, &requests, &names, reporter)
                    .await?;
            }
            Err(LowerError::NeedsRemotes(requests)) => {
                remotes.resolve(&loaded.source, &requests, reporter).await?;
            }
            Err(LowerError::Invalid(diagnostics)) => {
                let dockerfile = Box::new(loaded.source);
                return Err(BuildError::Dockerfile {
                    dockerfile,
                    diagnostics,
                });
            }
        }
    };
    warn(Warning::Dockerfile(&loaded.source, &lowered.warnings));
    let base = Arc::new(book.into_layer_source());
    let imports = caches::open(&settings.cache_from, backends, reporter, warn).await?;
    let layer_source = Arc::new(layer_sources(&base, &imports));
    let directories = directories(settings, &context.files, loaded.excludes)?;
    let exported = outputs::exported_layers(settings, &backends.store, &lowered)?;
    let ahead = exported
        .as_ref()
        .map(|exported| Arc::clone(&exported.ahead));
    let whence = Whence {
        layer_source: Arc::clone(&layer_source) as _,
        imports: imports.clone(),
    };
    let foresight = lowered.target.map_or_else(Foresight::default, |target| {
        Foresight::of(&lowered.graph, target, exported)
    });
    let Solving { solver, cache } =
        Solving::new(backends, directories, whence, foresight, reporter);
    let mut definitions = Vec::new();
    let snapshot = match lowered.target {
        None => Arc::new(Snapshot::default()),
        Some(target) => {
            let solved = solver.solve(&lowered.graph, target).await;
            let doubts = imports.iter().flat_map(|import| import.doubts());
            doubts.for_each(|doubt| warn(Warning::Cache(doubt)));
            let solved =
                solved.map_err(|error| step_error(&loaded.source, &lowered.graph, error))?;
            remember_contexts(&solved.outputs);
            definitions = solved.definitions;
            match solved.output {
                Output::Snapshot(snapshot) => snapshot,
                Output::Context(_) => {
                    return Err(anyhow::anyhow!("a build context is no image").into());
                }
            }
        }
    };
    // The next build is slower without, but this one is done.
    let _ = cache.save_uses();
    let Lowered { config, epoch, .. } = lowered;
    let products = tokio::task::block_in_place(|| {
        Products::finish(
            settings,
            &backends.store,
            config,
            Arc::clone(&snapshot),
            epoch,
        )
    })?;
    let layers = outputs::Layers {
        base: &base,
        source: &*layer_source,
        ahead: ahead.as_ref(),
    };
    let built = outputs::write(settings, backends, layers, &products, reporter).await?;
    let course = caches::Course {
        graph: &lowered.graph,
        definitions: &definitions,
        result: &snapshot,
        cache: &cache,
        layer_source: &*layer_source,
        imports: &imports,
    };
    caches::save(&settings.cache_to, backends, &course, reporter, warn).await?;
    // The next build asks the others again, without.
    let _ = tokio::task::block_in_place(|| cache.keep_imports().ok());
    Ok(built)
}

/// Where layers come from that are not in the store.
fn layer_sources(base: &Arc<BaseLayers>, imports: &[Arc<StepImport>]) -> LayerSources {
    let imports = imports.iter().map(|import| Arc::clone(import) as _);
    let base: Arc<dyn LayerSource> = Arc::clone(base) as _;
    LayerSources(std::iter::once(base).chain(imports).collect())
}

/// What a build may use beside the store.
struct Whence {
    layer_source: Arc<dyn LayerSource>,
    imports: Vec<Arc<StepImport>>,
}

/// What performs a graph.
struct Solving {
    solver: Solver<Worker, StoreCache>,
    cache: Arc<StoreCache>,
}

impl Solving {
    fn new(
        backends: &Backends,
        directories: HashMap<String, LocalDirectory>,
        whence: Whence,
        foresight: Foresight,
        reporter: &Reporter,
    ) -> Self {
        let Whence {
            layer_source,
            imports,
        } = whence;
        let cache = StoreCache::new(backends.store.clone(), Arc::clone(&layer_source));
        let cache = Arc::new(cache.with_imports(imports));
        let worker = Worker {
            store: backends.store.clone(),
            directories,
            sources: Arc::clone(&backends.sources),
            layer_source,
            groups: backends.groups.clone(),
            bounds: backends.bounds,
            secrets: backends.secrets.clone(),
            agents: backends.agents.clone(),
            sandbox: Sandbox::default(),
            network_notice: NetworkNotice::default(),
            foresight,
        };
        let solver = Solver {
            executor: Arc::new(worker),
            cache: Arc::clone(&cache),
            reporter: reporter.clone(),
            parallel_steps: backends.parallel_steps,
        };
        Self { solver, cache }
    }

    /// For a graph that needs neither images nor directories.
    fn of_context(backends: &Backends, reporter: &Reporter) -> Self {
        let images = ImageBook::new(Arc::clone(&backends.images), false);
        let whence = Whence {
            layer_source: Arc::new(images.into_layer_source()),
            imports: Vec::new(),
        };
        Self::new(
            backends,
            HashMap::new(),
            whence,
            Foresight::default(),
            reporter,
        )
    }
}

/// Keeps what was learned of the contexts' files for the next build.
fn remember_contexts(outputs: &[Option<Output>]) {
    for output in outputs.iter().flatten() {
        if let Output::Context(context) = output {
            // Without it, the next build only reads more.
            let _ = context.remember();
        }
    }
}

fn step_error(source: &Source, graph: &Graph, error: SolveError) -> BuildError {
    let (SolveError::Exited { vertex, .. } | SolveError::Step { vertex, .. }) = &error;
    let vertex = graph.vertex(*vertex);
    BuildError::Step {
        dockerfile: Box::new(source.clone()),
        name: vertex.description.name.clone(),
        span: vertex.description.span.clone(),
        error,
    }
}

fn options(settings: &BuildSettings) -> Options {
    let contexts: BTreeMap<String, NamedContext> = settings
        .build_contexts
        .iter()
        .map(|(name, source)| (name.clone(), named_context(name, source)))
        .collect();
    Options {
        target: settings.target.clone(),
        build_args: settings.build_args.clone(),
        target_platform: settings.platform.clone(),
        contexts,
        labels: settings.labels.clone(),
        default_epoch: settings.reproducible.then_some(REPRODUCIBLE_EPOCH),
        network: match settings.network {
            Network::Default => StepNetwork::Default,
            Network::None => StepNetwork::None,
            Network::Host => StepNetwork::Host,
        },
        extra_hosts: settings
            .extra_hosts
            .iter()
            .map(|host| (host.name.clone(), address(&host.address)))
            .collect(),
        shm_size: settings.limits.shm_size,
        limits: settings.limits.ulimits.clone(),
        no_cache: no_cache(settings),
        allowed: Allowed {
            host_network: settings.allowed.host_network,
            insecure: settings.allowed.insecure,
        },
        ..Options::new(Platform::host())
    }
}

fn no_cache(settings: &BuildSettings) -> NoCache {
    match (settings.no_cache, settings.no_cache_stages.as_slice()) {
        (true, _) => NoCache::All,
        (false, []) => NoCache::Never,
        (false, stages) => NoCache::Stages(stages.to_vec()),
    }
}

/// Docker's `host-gateway` is this machine, which steps on its network reach as themselves.
fn address(address: &HostAddress) -> String {
    match address {
        HostAddress::Ip(ip) => ip.to_string(),
        HostAddress::Gateway => "127.0.0.1".to_owned(),
    }
}

fn named_context(name: &str, source: &ContextSource) -> NamedContext {
    match source {
        _ if context::local_directory(source).is_some() => NamedContext::Local(name.to_owned()),
        ContextSource::Image(reference) => NamedContext::Image(reference.clone()),
        ContextSource::Remote(address) => NamedContext::Remote(address.clone()),
        // Standard input is the main context, or nothing.
        ContextSource::Directory(_) | ContextSource::Stdin => NamedContext::Local(name.to_owned()),
        ContextSource::OciLayout { path, tag, digest } => {
            let mut layout = path.display().to_string();
            if let Some(tag) = tag {
                layout = format!("{layout}:{tag}");
            }
            if let Some(digest) = digest {
                layout = format!("{layout}@{digest}");
            }
            NamedContext::Layout(layout)
        }
    }
}

/// The client's directories by the names that the graph uses.
fn directories(
    settings: &BuildSettings,
    context: &ContextFiles,
    excludes: kiln_solver::pattern::Patterns,
) -> anyhow::Result<HashMap<String, LocalDirectory>> {
    let mut directories = HashMap::new();
    let main = match context {
        ContextFiles::Directory(path) => Some((path, None)),
        ContextFiles::Nothing(path) => path.as_ref().map(|path| (path, Some(NO_FILES.to_owned()))),
        ContextFiles::Snapshot(_) => None,
    };
    if let Some((path, name)) = main {
        let path = path.clone();
        let main = LocalDirectory {
            path,
            excludes,
            name,
        };
        directories.insert(MAIN_CONTEXT.to_owned(), main);
    }
    for (name, source) in &settings.build_contexts {
        if let Some(path) = context::local_directory(source) {
            context::must_be_directory(&format!("the build context {name}:"), &path)?;
            let excludes = dockerfile::ignore_patterns(&path.join(".dockerignore"))?;
            let excludes = excludes.unwrap_or_default();
            let directory = LocalDirectory {
                path,
                excludes,
                name: None,
            };
            directories.insert(name.clone(), directory);
        }
    }
    Ok(directories)
}
