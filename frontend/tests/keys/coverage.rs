//! Whether the tables leave something out that a Dockerfile or a build can say.

use std::collections::BTreeSet;

use kiln_frontend::parse::flags_of;
use kiln_frontend::syntax::KEYWORDS;
use kiln_frontend::{Options, mount};

use crate::case::{Case, Place};
use crate::tables;

/// The words of all lines that differ between two builds: split at blanks and commas, and once more
/// without values.
fn changed_words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (_, text) in tables() {
        let cases = Case::all(&text);
        let lines = cases.iter().flat_map(|case| &case.lines);
        for line in lines.filter(|line| line.place != Place::Both) {
            let keyword = line.text.split(' ').next().unwrap_or_default();
            let text = line.text.replace("--mount=", "--mount ");
            for word in text.split([' ', ',']) {
                let name = word.split('=').next().unwrap_or_default();
                words.insert(name.to_owned());
                words.insert(format!("{keyword} {name}"));
            }
        }
    }
    words
}

#[track_caller]
fn assert_changed(wanted: impl IntoIterator<Item = String>) {
    let changed = changed_words();
    let missing: Vec<_> = wanted
        .into_iter()
        .filter(|word| !changed.contains(word))
        .collect();
    assert_eq!(missing, [""; 0], "no case of testdata/keys changes these");
}

#[test]
fn every_instruction_and_flag_is_changed_by_a_case() {
    assert_changed(KEYWORDS.map(str::to_owned));
    // Devices are not offered.
    let flags = KEYWORDS.iter().flat_map(|keyword| {
        flags_of(keyword)
            .filter(|flag| *flag != "device")
            .map(move |flag| format!("{keyword} --{flag}"))
    });
    assert_changed(flags);
}

#[test]
fn every_option_of_a_mount_is_changed_by_a_case() {
    assert_changed(mount::KEYS.map(|key| format!("RUN {key}")));
}

#[test]
fn every_option_of_a_build_is_changed_by_a_case() {
    let Options {
        target: _,
        build_args: _,
        build_platform: _,
        target_platform: _,
        multi_platform: _,
        // That of another machine is a source like that of ADD.
        context: _,
        contexts: _,
        labels: _,
        network: _,
        extra_hosts: _,
        hostname: _,
        shm_size: _,
        limits: _,
        no_cache: _,
        default_epoch: _,
        allowed: _,
        // Only rules ask for it; what it leaves out of a context is in no digest of it.
        ignored: _,
        check: _,
    } = Options::new("linux/amd64".parse().expect("a platform"));
    let arguments = [
        "--target",
        "--build-arg",
        "--build-platform",
        "--platform",
        "--multi-platform",
        "--build-context",
        "--label",
        "--network",
        "--add-host",
        "--hostname",
        "--shm-size",
        "--ulimit",
        "--no-cache",
        "--default-epoch",
        "--allow",
        "--check",
    ];
    assert_changed(arguments.map(str::to_owned));
}
