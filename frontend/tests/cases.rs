//! Every directory of `testdata/dockerfile/` is a case: a Dockerfile, perhaps a `case.json` with
//! options and images, and what comes of them in `expected.snap`.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend` writes the expectations anew.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

mod dump;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::remote::{Pinned, PinnedGit, PinnedHttp, RemoteRequest, RemoteSource};
use kiln_frontend::lower::{Allowed, Extent, Images, MainContext, NamedContext, NoCache, survey};
use kiln_frontend::{ImageRequest, LowerError, Options, ResolvedImage, Source, lower, parse};
use kiln_solver::Sha256Digest;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    /// Show the tree instead of the graph.
    tree: bool,
    target: Option<String>,
    platform: Option<String>,
    multi_platform: bool,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    /// The address of the main context, if it is no directory.
    context: Option<String>,
    contexts: BTreeMap<String, String>,
    no_cache: Option<Vec<String>>,
    /// Configs of images; all others have a PATH, a CMD and one layer.
    images: BTreeMap<String, ImageConfig>,
}

impl Case {
    fn options(&self) -> Options {
        let mut options = Options::new("linux/amd64".parse().expect("a platform"));
        options.allowed = Allowed::EVERYTHING;
        options.target.clone_from(&self.target);
        options.target_platform = self
            .platform
            .as_ref()
            .map(|platform| platform.parse().expect("a platform"));
        options.multi_platform = self.multi_platform;
        options.build_args.clone_from(&self.build_args);
        options.labels.clone_from(&self.labels);
        if let Some(address) = &self.context {
            options.context = main_context(address, &self.build_args);
        }
        let contexts = self.contexts.iter();
        options.contexts = contexts
            .map(|(name, value)| (name.clone(), context(value)))
            .collect();
        options.no_cache = match &self.no_cache {
            None => NoCache::Never,
            Some(stages) if stages.is_empty() => NoCache::All,
            Some(stages) => NoCache::Stages(stages.clone()),
        };
        options
    }

    fn image(&self, request: &ImageRequest) -> ResolvedImage {
        let name = dump::location(&request.location);
        let seed = name
            .bytes()
            .fold(0_u8, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte));
        let config = self.images.get(&name).cloned().unwrap_or_else(|| {
            let mut config = ImageConfig::empty(&request.platform);
            config.config.cmd = vec!["/bin/sh".to_owned()];
            config.config.working_dir.clear();
            config.rootfs.diff_ids = vec![format!("sha256:{}", format!("{seed:02x}").repeat(32))];
            config
        });
        let digest = Sha256Digest::new([seed; 32]);
        ResolvedImage {
            digest,
            manifest: digest,
            config,
        }
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

/// Every reference stands for the same commit and every address for the same file.
fn pinned(request: &RemoteRequest) -> Pinned {
    let time = Some(1_600_000_000);
    match request {
        RemoteRequest::Git(request) => Pinned::Git(PinnedGit {
            object: "c0".repeat(20).parse().expect("40 digits"),
            reference: request
                .reference
                .clone()
                .unwrap_or("refs/heads/main".to_owned()),
            time: time.filter(|_| request.wants_time),
        }),
        RemoteRequest::Http(request) => Pinned::Http(PinnedHttp {
            digest: Sha256Digest::new([0xf1; 32]),
            modified: time,
            time: time.filter(|_| request.wants_time),
        }),
    }
}

/// A context of another machine, as if it was pinned.
fn main_context(text: &str, build_args: &BTreeMap<String, String>) -> MainContext {
    let source = RemoteSource::of_main_context(text, build_args).expect("an address");
    let pinned = match source.pinned_by_itself().expect("a request") {
        Some(pinned) => pinned,
        None => pinned(&source.request()),
    };
    MainContext::Remote {
        source: source.source(&pinned).expect("the answer fits"),
        description: source.describe(),
        is_archive: text.ends_with(".tar"),
        time: pinned.time(),
    }
}

fn context(text: &str) -> NamedContext {
    match text.split_once("://") {
        Some(("docker-image", name)) => NamedContext::Image(name.to_owned()),
        Some(("oci-layout", name)) => NamedContext::Layout(name.to_owned()),
        Some(("http" | "https" | "git", _)) => NamedContext::Remote(text.to_owned()),
        _ => NamedContext::Local(text.to_owned()),
    }
}

fn run(directory: &Path) -> String {
    let text = std::fs::read_to_string(directory.join("Dockerfile")).expect("a Dockerfile");
    let case: Case = match std::fs::read_to_string(directory.join("case.json")) {
        Ok(json) => serde_json::from_str(&json).expect("a case"),
        Err(_) => Case::default(),
    };
    let source = Source::new("Dockerfile", &text);
    let parsed = parse(&source);
    let mut shown = dump::diagnostics(&source, &parsed.diagnostics);
    if case.tree {
        return shown + &dump::tree(&parsed.dockerfile);
    }
    if parsed.has_errors() {
        let survey = survey(&parsed, &case.options(), &Known::default(), Extent::Needed);
        return dump::diagnostics(&source, &survey.diagnostics);
    }
    let mut known = Known::default();
    loop {
        match lower(&parsed.dockerfile, &case.options(), &known) {
            Ok(lowered) => return shown + &dump::lowered(&source, &lowered),
            Err(LowerError::Invalid(diagnostics)) => {
                return shown + &dump::diagnostics(&source, &diagnostics);
            }
            Err(LowerError::NeedsImages(requests)) => {
                shown.push_str("needs");
                for request in requests {
                    shown.push_str(&format!(" {}", dump::location(&request.value.location)));
                    let image = case.image(&request.value);
                    known.images.insert(request.value, image);
                }
                shown.push('\n');
            }
            Err(LowerError::NeedsRemotes(requests)) => {
                for (request, _) in requests {
                    shown.push_str(&format!("needs {request:?}\n"));
                    let pinned = pinned(&request);
                    known.remotes.insert(request, pinned);
                }
            }
        }
    }
}

#[test]
fn cases() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/dockerfile");
    let entries = std::fs::read_dir(&root).expect("the cases");
    let mut directories: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    assert!(!directories.is_empty());
    for directory in directories {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&directory);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_input_file(directory.join("Dockerfile"));
        settings.bind(|| insta::assert_snapshot!("expected", run(&directory)));
    }
}
