//! Every `*.dockerfile` below `testdata/rules/` is a case of a rule, with options in a `*.json` beside
//! it. A directory's `findings.snap` says what Kiln finds, its `buildkit.json` what a real BuildKit
//! found (rules and lines), and both must agree.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend --test rules` writes the first anew,
//! `testdata/rules/record` the second.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_frontend::check::{self, Group};
use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::lower::{CheckOptions, Extent, ImageLocation, Survey, survey};
use kiln_frontend::syntax::Dockerfile;
use kiln_frontend::{
    Diagnostic, ImageRequest, Options, Parsed, ResolvedImage, Source, ignore, parse,
};
use kiln_solver::Sha256Digest;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    build_args: BTreeMap<String, String>,
    target: Option<String>,
    /// The text of .dockerignore.
    ignore: String,
    images: BTreeMap<String, Image>,
    /// Ask Kiln's own rules, which BuildKit cannot confirm.
    kiln_only: bool,
    /// Rules that are off by default.
    enable: Vec<String>,
}

/// What is special about a base image.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Image {
    architecture: Option<String>,
    env: Vec<String>,
    on_build: Vec<String>,
    shell: Vec<String>,
    working_dir: String,
}

impl Image {
    fn resolved(&self, request: &ImageRequest) -> ResolvedImage {
        let mut config = ImageConfig::empty(&request.platform);
        if let Some(architecture) = &self.architecture {
            config.architecture.clone_from(architecture);
        }
        config.config.env.clone_from(&self.env);
        config.config.on_build.clone_from(&self.on_build);
        config.config.shell.clone_from(&self.shell);
        config.config.working_dir.clone_from(&self.working_dir);
        config.rootfs.diff_ids = vec![format!("sha256:{}", "00".repeat(32))];
        let digest = Sha256Digest::new([0; 32]);
        ResolvedImage {
            digest,
            manifest: digest,
            config,
        }
    }
}

impl Case {
    fn read(path: &Path) -> Self {
        match std::fs::read_to_string(path.with_extension("json")) {
            Ok(json) => serde_json::from_str(&json).expect("a case"),
            Err(_) => Self::default(),
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::new("linux/amd64".parse().expect("a platform"));
        options.build_args.clone_from(&self.build_args);
        options.target.clone_from(&self.target);
        let source = Source::new(".dockerignore", &self.ignore);
        options.ignored = ignore::compile(&source).expect("patterns");
        options.check = CheckOptions {
            own_rules: self.kiln_only,
            skip: Vec::new(),
            enable: self.enable.clone(),
        };
        options
    }

    /// Surveys as the command line does: again and again until all images are known that can be.
    fn survey(&self, parsed: &Parsed) -> Survey {
        let mut images = BTreeMap::new();
        loop {
            let survey = survey(parsed, &self.options(), &images, Extent::All);
            let before = images.len();
            for request in &survey.missing {
                let (ImageLocation::Registry(name) | ImageLocation::Layout(name)) =
                    &request.value.location;
                if let Some(image) = self.images.get(name) {
                    images.insert(request.value.clone(), image.resolved(&request.value));
                }
            }
            if images.len() == before {
                return survey;
            }
        }
    }
}

/// The rule of which BuildKit says a line, and not only an instruction.
const RULE_OF_A_LINE: &str = "NoEmptyContinuation";

/// What BuildKit said about a case.
#[derive(Debug, Deserialize)]
struct Recorded {
    error: bool,
    found: Vec<String>,
}

#[test]
fn rules_find_what_they_should() {
    for directory in directories() {
        let recorded: BTreeMap<String, Recorded> =
            match std::fs::read_to_string(directory.join("buildkit.json")) {
                Ok(json) => serde_json::from_str(&json).expect("what was recorded"),
                Err(_) => BTreeMap::new(),
            };
        let mut shown = String::new();
        for path in dockerfiles(&directory) {
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name");
            let text = std::fs::read_to_string(&path).expect("a Dockerfile");
            let source = Source::new("Dockerfile", &text);
            let parsed = parse(&source);
            let case = Case::read(&path);
            let survey = case.survey(&parsed);
            let found = shown_findings(&source, &survey.diagnostics);
            writeln!(shown, "== {name}\n{found}").expect("no failure");
            if !case.kiln_only {
                let recorded = recorded.get(name);
                let recorded = recorded.unwrap_or_else(|| panic!("{name} is not recorded"));
                compare(&directory, name, &parsed, &survey.diagnostics, recorded);
            }
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&directory);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("findings", shown));
    }
}

/// Findings with their places, labels and hints.
fn shown_findings(source: &Source, found: &[Diagnostic]) -> String {
    let mut shown = String::new();
    for finding in found {
        let place = finding.span.map_or("nowhere".to_owned(), |span| {
            let position = source.position(span.start);
            format!(
                "{}:{} {:?}",
                position.line,
                position.column,
                source.slice(span)
            )
        });
        let word = if finding.is_error() {
            "error"
        } else {
            "warning"
        };
        writeln!(shown, "{word} {} at {place}", finding.code).expect("no failure");
        writeln!(shown, "  {}", finding.message).expect("no failure");
        if let Some(label) = &finding.label {
            writeln!(shown, "  beside: {label}").expect("no failure");
        }
        for hint in &finding.hints {
            writeln!(shown, "  help: {hint}").expect("no failure");
        }
    }
    shown
}

/// Rules and the instructions that they point to must be the same. BuildKit stops at the first error,
/// so that it may know less there.
fn compare(
    directory: &Path,
    name: &str,
    parsed: &Parsed,
    found: &[Diagnostic],
    recorded: &Recorded,
) {
    let of_buildkit = |finding: &&Diagnostic| {
        check::find(finding.code).is_some_and(|rule| rule.group == Group::BuildKit)
    };
    let mut ours: Vec<(String, usize)> = found
        .iter()
        .filter(of_buildkit)
        .map(|finding| {
            let span = finding.span.expect("BuildKit's rules have a place");
            let line = parsed.dockerfile.source.lines(span).0;
            let place = match finding.code == RULE_OF_A_LINE {
                true => line,
                false => instruction_at(parsed, span.start),
            };
            (finding.code.to_owned(), place)
        })
        .collect();
    ours.sort();
    let mut theirs: Vec<(String, usize)> = recorded
        .found
        .iter()
        .map(|found| {
            let (rule, line) = found.split_once(':').expect("rule:line");
            let line: usize = line.parse().expect("a line");
            let place = match rule == RULE_OF_A_LINE {
                true => line,
                false => instruction_on_line(parsed, line),
            };
            (rule.to_owned(), place)
        })
        .collect();
    theirs.sort();
    let what = format!("{}/{name}", directory.display());
    let failed = found
        .iter()
        .any(|f| f.is_error() && f.code != "unsupported");
    assert_eq!(failed, recorded.error, "{what}: {found:?}");
    if failed {
        theirs
            .iter()
            .for_each(|their| assert!(ours.contains(their), "{what}: {their:?}"));
    } else {
        assert_eq!(ours, theirs, "{what}");
    }
}

/// The instruction that a place lies in or, for a comment, above.
fn instruction_at(parsed: &Parsed, offset: usize) -> usize {
    let instructions = &parsed.dockerfile.instructions;
    instructions.partition_point(|instruction| instruction.span.end < offset)
}

fn instruction_on_line(parsed: &Parsed, line: usize) -> usize {
    let Dockerfile {
        source,
        instructions,
        ..
    } = &parsed.dockerfile;
    instructions.partition_point(|instruction| source.lines(instruction.span).1 < line)
}

/// The example of every rule shows what it finds, and nothing is left when it is put right.
#[test]
fn examples_show_their_rules() {
    for rule in check::RULES {
        let found = |text: &str| -> Vec<&'static str> {
            let mut case = Case {
                ignore: "ignored.txt\n".to_owned(),
                kiln_only: true,
                enable: vec!["all".to_owned()],
                ..Case::default()
            };
            case.build_args.insert("vresion".to_owned(), "2".to_owned());
            if rule.name != "UnusedBuildArg" {
                case.build_args.clear();
            }
            let arm = Image {
                architecture: Some("arm64".to_owned()),
                ..Image::default()
            };
            let image = Image::default();
            let images = [
                ("docker.io/library/only-for-arm:latest", arm),
                ("docker.io/library/alpine:3.20", image),
            ];
            case.images = images.map(|(name, image)| (name.to_owned(), image)).into();
            let parsed = parse(&Source::new("Dockerfile", text));
            let diagnostics = case.survey(&parsed).diagnostics;
            diagnostics.iter().map(|finding| finding.code).collect()
        };
        let (bad, good) = (found(rule.bad), found(rule.good));
        assert!(bad.contains(&rule.name), "{}: {bad:?}", rule.name);
        assert!(!good.contains(&rule.name), "{}: {good:?}", rule.name);
    }
}

#[test]
fn the_page_about_rules_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let page = check::manual();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &page).expect("writable");
    }
    let found = std::fs::read_to_string(&path).expect("docs/rules.md");
    assert!(
        found == page,
        "write it anew: INSTA_UPDATE=always cargo test -p kiln-frontend --test rules"
    );
}

#[test]
fn every_rule_has_cases() {
    let with_cases: Vec<PathBuf> = directories();
    for rule in check::RULES {
        assert!(
            with_cases.iter().any(|path| path.ends_with(rule.name)),
            "{}",
            rule.name
        );
    }
}

/// A file may name an image by a long variable very often.
#[test]
fn a_name_of_an_image_that_is_too_long_is_not_repeated_in_what_is_found() {
    let text = format!("ARG a=/{}\n{}", "x".repeat(60_000), "FROM $a\n".repeat(100));
    let source = Source::new("Dockerfile", &text);
    let parsed = kiln_frontend::parse(&source);
    let options = Options::new("linux/amd64".parse().expect("a platform"));
    let survey = survey(&parsed, &options, &BTreeMap::new(), Extent::All);
    let is_refused = |found: &Diagnostic| found.message.contains("longer than 4096 bytes");
    assert!(survey.diagnostics.iter().any(is_refused));
    let told: usize = survey
        .diagnostics
        .iter()
        .map(|found| format!("{found:?}").len())
        .sum();
    assert!(told < 100_000, "{told}");
}

fn directories() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/rules");
    sorted(&root, |path| path.is_dir())
}

fn dockerfiles(directory: &Path) -> Vec<PathBuf> {
    sorted(directory, |path| {
        path.extension()
            .is_some_and(|extension| extension == "dockerfile")
    })
}

fn sorted(directory: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the cases");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| is_wanted(path))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths
}
