//! What a Dockerfile means, as a text: all that a build could tell apart, and no places.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use kiln_frontend::directive::detect_syntax;
use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::syntax::{Command, Dockerfile};
use kiln_frontend::{LowerError, Lowered, Options, ResolvedImage, Source, lower, parse};
use kiln_solver::key::{InputPart, definition_key};
use kiln_solver::{Key, Sha256Digest};

/// What is wrong with a text, what its directives and comments say, and what each stage is lowered to.
pub(crate) fn of(text: &str, options: &Options) -> String {
    let mut parsed = parse(&Source::new("Dockerfile", text));
    let mut meaning = format!("syntax {:?}\n", detect_syntax(text));
    for finding in parsed.diagnostics.iter().filter(|found| found.is_error()) {
        writeln!(meaning, "{}", finding.code).expect("no failure");
    }
    let directives = &parsed.dockerfile.directives;
    let escape = directives.escape.as_ref().map(|escape| escape.value);
    let check = directives.check.as_ref().map(|check| &check.value);
    writeln!(meaning, "escape {escape:?} check {check:?}").expect("no failure");
    for instruction in &parsed.dockerfile.instructions {
        let keyword = instruction.keyword.value.to_uppercase();
        let comments = instruction.comments.iter().map(|comment| &comment.value);
        let comments: Vec<_> = comments.collect();
        writeln!(meaning, "{keyword} {comments:?}").expect("no failure");
    }
    // Rules may see a difference: some are about letter case and line breaks.
    parsed.dockerfile.directives.check = None;
    if !parsed.has_errors() {
        for target in targets(&parsed.dockerfile) {
            let mut options = options.clone();
            options.target = target;
            meaning.push_str(&lowered(&parsed.dockerfile, &options));
        }
    }
    meaning
}

/// The given target or the last stage, and all stages with a name.
fn targets(dockerfile: &Dockerfile) -> BTreeSet<Option<String>> {
    let names =
        dockerfile
            .instructions
            .iter()
            .filter_map(|instruction| match &instruction.command {
                Command::From(from) => from.name.as_ref(),
                _ => None,
            });
    let names = names.map(|name| Some(name.value.clone()));
    names.chain([None]).collect()
}

fn lowered(dockerfile: &Dockerfile, options: &Options) -> String {
    let mut images = BTreeMap::new();
    loop {
        match lower(dockerfile, options, &images) {
            Ok(lowered) => return graph(&lowered),
            Err(LowerError::Invalid(findings)) => {
                let errors = findings.iter().filter(|found| found.is_error());
                return errors.map(|found| format!("{}\n", found.code)).collect();
            }
            // What is asked for tells what is meant, too.
            Err(LowerError::NeedsRemotes(requests)) => {
                let requests = requests.iter().map(|(request, _)| format!("{request:?}\n"));
                return requests.collect();
            }
            Err(LowerError::NeedsImages(requests)) => {
                for request in requests {
                    let digest = Sha256Digest::new([1; 32]);
                    let mut config = ImageConfig::empty(&request.value.platform);
                    config.rootfs.diff_ids.push(digest.to_string());
                    config.config.on_build.push("RUN  a  b".to_owned());
                    let image = ResolvedImage {
                        digest,
                        manifest: digest,
                        config,
                    };
                    images.insert(request.value, image);
                }
            }
        }
    }
}

fn graph(lowered: &Lowered) -> String {
    let mut text = String::new();
    let mut keys: Vec<Key> = Vec::new();
    for id in lowered.graph.ids() {
        let vertex = lowered.graph.vertex(id);
        let inputs = vertex.inputs.iter();
        let inputs: Vec<_> = inputs
            .map(|input| InputPart::Definition(keys[input.index()]))
            .collect();
        let key = definition_key(&vertex.op, &inputs);
        // People may see other blanks, and in front of a tab other letters.
        let name: String = vertex.description.name.split_whitespace().collect();
        let name = name.to_uppercase();
        let (op, ignore) = (&vertex.op, vertex.ignore_cache);
        writeln!(text, "{key} {ignore} {name} {op:?}").expect("no failure");
        keys.push(key);
    }
    let (target, layers, epoch) = (lowered.target, &lowered.layers, lowered.epoch);
    writeln!(text, "{target:?} {layers:?} {epoch:?}").expect("no failure");
    text + &serde_json::to_string_pretty(&lowered.config).expect("JSON")
}
