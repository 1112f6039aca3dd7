//! One build of a case, as far as it can be told without running anything: keys and config.
//!
//! Images, commits and files behind addresses are made up from their names: what stands after a `-`
//! or a tag is another name of the same content.

use std::collections::{BTreeMap, BTreeSet};

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::remote::{Pinned, PinnedGit, PinnedHttp, RemoteRequest};
use kiln_frontend::lower::{Allowed, ImageLocation, Images, NamedContext, NoCache};
use kiln_frontend::{ImageRequest, LowerError, Lowered, Options, ResolvedImage, Source};
use kiln_solver::key::{InputPart, definition_key};
use kiln_solver::op::{InputIndex, Limit, Network, Op, Resource, Source as From};
use kiln_solver::{ContentDigest, Key, Sha256Digest, Vertex};

use crate::case::Side;

/// What came of a build.
pub(crate) struct Build {
    /// The keys of the steps that begin on each line, and all lines of the instruction.
    pub(crate) steps: BTreeMap<usize, Step>,
    pub(crate) config: ImageConfig,
}

/// The steps of an instruction.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) keys: BTreeSet<Key>,
    pub(crate) last_line: usize,
}

impl Build {
    pub(crate) fn of(side: &Side) -> Self {
        let source = Source::new("Dockerfile", &side.dockerfile);
        let parsed = kiln_frontend::parse(&source);
        assert!(!parsed.has_errors(), "{side:?}: {:?}", parsed.diagnostics);
        let options = options(&side.arguments);
        let mut known = Known::default();
        let lowered = loop {
            match kiln_frontend::lower(&parsed.dockerfile, &options, &known) {
                Ok(lowered) => break lowered,
                Err(LowerError::Invalid(findings)) => panic!("{side:?}: {findings:?}"),
                Err(LowerError::NeedsImages(requests)) => {
                    for request in requests {
                        let image = image(&request.value, &side.image);
                        known.images.insert(request.value, image);
                    }
                }
                Err(LowerError::NeedsRemotes(requests)) => {
                    let answers = requests.into_iter();
                    let answers = answers.map(|(request, _)| (request.clone(), pinned(&request)));
                    known.remotes.extend(answers);
                }
            }
        };
        Self {
            steps: steps(&source, &lowered),
            config: lowered.config,
        }
    }

    /// The instruction that a line is part of.
    pub(crate) fn step_of(&self, line: usize) -> Option<&Step> {
        let (_, step) = self.steps.range(..=line).next_back()?;
        (line <= step.last_line).then_some(step)
    }

    /// Whether some step has one of these keys.
    pub(crate) fn has(&self, keys: &BTreeSet<Key>) -> bool {
        self.steps.values().any(|step| step.keys == *keys)
    }
}

/// What was answered so far.
#[derive(Default)]
struct Known {
    images: BTreeMap<ImageRequest, ResolvedImage>,
    remotes: BTreeMap<RemoteRequest, Pinned>,
}

impl Images for Known {
    fn image(&self, request: &ImageRequest) -> Option<&ResolvedImage> {
        self.images.get(request)
    }

    fn remote(&self, request: &RemoteRequest) -> Option<&Pinned> {
        self.remotes.get(request)
    }
}

fn hash(text: &str) -> [u8; 32] {
    // FNV-1a, four times over: all that is wanted is that different texts differ.
    let lane = |seed: u64| {
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    };
    let mut bytes = [0; 32];
    for (number, place) in bytes.chunks_exact_mut(8).enumerate() {
        place.copy_from_slice(&lane(number as u64).to_le_bytes());
    }
    bytes
}

fn options(arguments: &[String]) -> Options {
    let mut options = Options::new("linux/amd64".parse().expect("a platform"));
    options.allowed = Allowed {
        host_network: false,
        insecure: false,
    };
    for argument in arguments {
        let (flag, value) = argument.split_once(' ').unwrap_or((argument, ""));
        let pair = || value.split_once('=').expect("NAME=VALUE");
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let platform = || value.parse().expect("a platform");
        match flag {
            "target" => options.target = Some(value.to_owned()),
            "build-arg" => options.build_args.extend([owned(pair())]),
            "build-platform" => options.build_platform = platform(),
            "platform" => options.target_platform = Some(platform()),
            "multi-platform" => options.multi_platform = true,
            "build-context" => {
                let (name, value) = owned(pair());
                options.contexts.insert(name, context(&value));
            }
            "label" => options.labels.extend([owned(pair())]),
            "network" => {
                options.network = match value {
                    "host" => Network::Host,
                    "none" => Network::None,
                    _ => Network::Default,
                };
            }
            "add-host" => {
                let (name, address) = value.split_once(':').expect("NAME:ADDRESS");
                options.extra_hosts.push(owned((name, address)));
            }
            "shm-size" => options.shm_size = value.parse().ok(),
            "ulimit" => options.limits.push(limit(pair())),
            "hostname" => options.hostname = Some(value.to_owned()),
            "default-epoch" => options.default_epoch = value.parse().ok(),
            "no-cache" => options.no_cache = NoCache::All,
            "allow" => match value {
                "network.host" => options.allowed.host_network = true,
                _ => options.allowed.insecure = true,
            },
            "check" => options.check.own_rules = true,
            _ => panic!("there is no argument --{flag}"),
        }
    }
    options
}

/// `NAME=SOFT:HARD`
fn limit((name, limits): (&str, &str)) -> Limit {
    let resource = Resource::ALL.into_iter().find(|it| it.name() == name);
    let (soft, hard) = limits.split_once(':').expect("SOFT:HARD");
    Limit {
        resource: resource.expect("a resource"),
        soft: soft.parse().ok(),
        hard: hard.parse().ok(),
    }
}

fn context(text: &str) -> NamedContext {
    match text.split_once("://") {
        Some(("docker-image", name)) => NamedContext::Image(name.to_owned()),
        Some(("oci-layout", name)) => NamedContext::Layout(name.to_owned()),
        Some(_) => NamedContext::Remote(text.to_owned()),
        None => NamedContext::Local(text.to_owned()),
    }
}

/// An image whose layers are named after its repository, with a config that the case says.
fn image(request: &ImageRequest, settings: &[String]) -> ResolvedImage {
    let (ImageLocation::Registry(name) | ImageLocation::Layout(name)) = &request.location;
    let repository = name.split([':', '@']).next().unwrap_or(name);
    let mut config = ImageConfig::empty(&request.platform);
    let layer = Sha256Digest::new(hash(&format!("{repository} {}", request.platform)));
    config.rootfs.diff_ids = vec![layer.to_string()];
    for setting in settings {
        let (field, value) = setting.split_once(' ').expect("a field and a value");
        let value = value.to_owned();
        match field {
            "ENV" => config.config.env.push(value),
            "ONBUILD" => config.config.on_build.push(value),
            "USER" => config.config.user = value,
            "WORKDIR" => config.config.working_dir = value,
            "SHELL" => config.config.shell = vec![value],
            "CMD" => config.config.cmd = vec![value],
            _ => panic!("no field of an image: {field}"),
        }
    }
    let digest = Sha256Digest::new(hash(name));
    ResolvedImage {
        digest,
        manifest: digest,
        config,
    }
}

fn pinned(request: &RemoteRequest) -> Pinned {
    let content = |name: &str| hash(name.split('-').next().unwrap_or(name));
    match request {
        RemoteRequest::Git(request) => {
            let reference = request.reference.as_deref().unwrap_or("main");
            let object: String = content(reference)[..20]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            Pinned::Git(PinnedGit {
                object: object.parse().expect("40 digits"),
                reference: format!("refs/heads/{reference}"),
                time: request.wants_time.then_some(1_600_000_000),
            })
        }
        RemoteRequest::Http(request) => Pinned::Http(PinnedHttp {
            digest: Sha256Digest::new(content(&request.name)),
            modified: Some(1_600_000_000),
            time: request.wants_time.then_some(1_600_000_000),
        }),
    }
}

/// As the solver does it: what must be opened is named by its content, all else by its key.
fn steps(source: &Source, lowered: &Lowered) -> BTreeMap<usize, Step> {
    let mut definitions: Vec<Option<Key>> = Vec::new();
    let mut steps: BTreeMap<usize, Step> = BTreeMap::new();
    for id in lowered.graph.ids() {
        let vertex = lowered.graph.vertex(id);
        let inputs = vertex.inputs.iter().enumerate();
        let inputs = inputs.map(|(index, input)| match definitions[input.index()] {
            Some(key) => InputPart::Definition(key),
            None => content(vertex, InputIndex(index), lowered.graph.vertex(*input)),
        });
        let key = definition_key(&vertex.op, &inputs.collect::<Vec<_>>());
        let is_opened = matches!(&*vertex.op, Op::Source(source) if !source.is_pinned());
        definitions.push((!is_opened).then_some(key));
        if let (Some(span), false) = (&vertex.description.span, is_opened) {
            let span = kiln_frontend::Span::new(span.bytes.start, span.bytes.end);
            let (first, last) = source.lines(span);
            let step = steps.entry(first).or_default();
            step.keys.insert(key);
            step.last_line = last;
        }
    }
    steps
}

/// The content of an image is its layers, that of a directory what its name says.
fn content(reader: &Vertex, index: InputIndex, opened: &Vertex) -> InputPart {
    let what = match &*opened.op {
        Op::Source(From::Image(image)) => format!("{:?}", image.diff_ids),
        Op::Source(From::Local(local)) => local.name.clone(),
        _ => unreachable!("only images and directories are opened"),
    };
    let reads = reader.op.reads(index).into_iter();
    let digests = reads.map(|reads| ContentDigest::new(hash(&format!("{what} {reads:?}"))));
    InputPart::Content(digests.collect())
}
