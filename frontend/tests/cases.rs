//! Every directory of `testdata/dockerfile/` is a case: a Dockerfile, perhaps a `case.json` with
//! options and images, and what comes of them in `expected.snap`.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend` writes the expectations anew.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

mod dump;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::{Allowed, NamedContext, NoCache};
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

fn context(text: &str) -> NamedContext {
    match text.split_once("://") {
        Some(("docker-image", name)) => NamedContext::Image(name.to_owned()),
        Some(("oci-layout", name)) => NamedContext::Layout(name.to_owned()),
        Some(("http" | "https", _)) => NamedContext::Http(text.to_owned()),
        Some(("git", _)) => NamedContext::Git(text.to_owned()),
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
        return shown;
    }
    let mut images = BTreeMap::new();
    loop {
        match lower(&parsed.dockerfile, &case.options(), &images) {
            Ok(lowered) => return shown + &dump::lowered(&source, &lowered),
            Err(LowerError::Invalid(diagnostics)) => {
                return shown + &dump::diagnostics(&source, &diagnostics);
            }
            Err(LowerError::NeedsImages(requests)) => {
                shown.push_str("needs");
                for request in requests {
                    shown.push_str(&format!(" {}", dump::location(&request.value.location)));
                    let image = case.image(&request.value);
                    images.insert(request.value, image);
                }
                shown.push('\n');
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
