//! The direction of dependencies between Kiln's own crates, as ARCHITECTURE.md draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of the others; test-only dependencies included.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kiln", &["kiln-frontend", "kiln-solver", "kiln-worker"]),
    ("kiln-bench", &[]),
    ("kiln-frontend", &["kiln-solver"]),
    ("kiln-solver", &[]),
    ("kiln-worker", &["kiln-solver"]),
];

/// What a crate without I/O has no use for.
const FORBIDDEN_TO_SOLVER: &[&str] = &["libc", "reqwest", "rusqlite", "rustix", "walkdir"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let names = package["dependencies"].as_array().expect("dependencies");
            let names = names
                .iter()
                .filter_map(|d| d["name"].as_str())
                .map(ToOwned::to_owned);
            (
                package["name"].as_str().expect("a name").to_owned(),
                names.collect(),
            )
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        ours, known,
        "a crate came or went: say here what it may depend on"
    );
    for (name, allowed) in ALLOWED {
        let found: Vec<&str> = dependencies[*name]
            .iter()
            .map(String::as_str)
            .filter(|dependency| ours.contains(dependency))
            .collect();
        assert_eq!(&found, allowed, "{name}");
    }
}

#[test]
fn the_solver_knows_no_io() {
    let solver = &dependencies()["kiln-solver"];
    for crate_name in FORBIDDEN_TO_SOLVER {
        assert!(
            !solver.contains(*crate_name),
            "kiln-solver depends on {crate_name}"
        );
    }
}
