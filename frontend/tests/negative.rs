//! Every `.dockerfile` of `testdata/negative/` must be refused, with the line and column of each error.
//! What is said about each stands in `errors.snap` beside them; most cases are from the tests of
//! BuildKit's parser, instructions and conversion.
//!
//! `INSTA_UPDATE=always cargo test -p kiln-frontend` writes the expectations anew.

#![allow(clippy::disallowed_methods, reason = "the cases are read from disk")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::{Diagnostic, LowerError, Options, ResolvedImage, Source, lower, parse};
use kiln_solver::Sha256Digest;

/// All errors of a file: the parser's, or else those of the lowering.
fn errors(source: &Source) -> Vec<Diagnostic> {
    let parsed = parse(source);
    let mut found = parsed.diagnostics.clone();
    if !parsed.has_errors() {
        let options = Options::new("linux/amd64".parse().expect("a platform"));
        let mut images = BTreeMap::new();
        found = loop {
            match lower(&parsed.dockerfile, &options, &images) {
                // What other machines have is not asked for here.
                Ok(_) | Err(LowerError::NeedsRemotes(_)) => break Vec::new(),
                Err(LowerError::Invalid(errors)) => break errors,
                Err(LowerError::NeedsImages(requests)) => {
                    for request in requests {
                        let digest = Sha256Digest::new([1; 32]);
                        let config = ImageConfig::empty(&request.value.platform);
                        let image = ResolvedImage {
                            digest,
                            manifest: digest,
                            config,
                        };
                        images.insert(request.value, image);
                    }
                }
            }
        };
    }
    found.retain(Diagnostic::is_error);
    found
}

#[test]
fn each_is_refused_where_it_is_wrong() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/negative");
    let entries = std::fs::read_dir(&directory).expect("the cases");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_case = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "dockerfile")
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_case).collect();
    paths.sort();
    assert!(paths.len() > 100, "{paths:?}");
    let mut told = String::new();
    for path in paths {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let source = Source::new(&name, &std::fs::read_to_string(&path).expect("a case"));
        let errors = errors(&source);
        assert!(!errors.is_empty(), "{name} is not refused");
        told.push_str(&format!("{name}\n"));
        for error in errors {
            let span = error
                .span
                .unwrap_or_else(|| panic!("{name}: {error} has no place"));
            let at = source.position(span.start);
            told.push_str(&format!("    {}:{}: {error}\n", at.line, at.column));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&directory);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("errors", told));
}
