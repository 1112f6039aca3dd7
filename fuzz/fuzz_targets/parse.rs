//! Any text parses and is printed back, every place lies in the text, and what parses without errors lowers or says why
//! not.

#![no_main]

use std::collections::BTreeMap;

use kiln_frontend::image_config::ImageConfig;
use kiln_frontend::{LowerError, Options, ResolvedImage, Source, lower, parse};
use kiln_solver::{Platform, Sha256Digest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("Dockerfile", text);
    let parsed = parse(&source);
    assert_eq!(parsed.dockerfile.print(), text);
    for span in parsed
        .diagnostics
        .iter()
        .filter_map(|diagnostic| diagnostic.span)
    {
        assert!(text.get(span.range()).is_some(), "{span:?}");
        source.lines(span);
    }
    for instruction in &parsed.dockerfile.instructions {
        assert!(
            text.get(instruction.span.range()).is_some(),
            "{instruction:?}"
        );
    }
    if parsed.has_errors() {
        return;
    }
    let platform: Platform = "linux/amd64".parse().expect("a platform");
    let options = Options::new(platform.clone());
    let mut images = BTreeMap::new();
    while let Err(LowerError::NeedsImages(requests)) = lower(&parsed.dockerfile, &options, &images)
    {
        for request in requests {
            let digest = Sha256Digest::new([1; 32]);
            let mut config = ImageConfig::empty(&platform);
            config.rootfs.diff_ids.push(digest.to_string());
            config
                .config
                .on_build
                .push("COPY --from=tools a b".to_owned());
            let image = ResolvedImage {
                digest,
                manifest: digest,
                config,
            };
            assert!(images.insert(request.value, image).is_none(), "asked twice");
        }
    }
});
