//! `kiln images`, `inspect` and `history` on a store with a few made-up images.

use clap::Parser;
use jiff::Timestamp;
use kiln_cli::args::{Cli, Command};
use kiln_cli::commands;
use kiln_worker::store::{ImageRecord, Store};
use serde_json::json;

const NOW: &str = "2026-11-20T12:00:00Z";

/// A store with two images, of which one has two names.
fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&directory.path().join("store")).expect("writable");
    put(
        &store,
        &["docker.io/library/app:latest", "localhost:5000/team/app:v1"],
        "09:58",
        7_830_000,
    );
    put(&store, &["docker.io/library/base:12"], "11:59", 117_000_000);
    (directory, store)
}

fn put(store: &Store, names: &[&str], created: &str, size: u64) {
    let created = format!("2026-11-20T{created}:30Z");
    let diff_id = format!("sha256:{}", "1".repeat(64));
    let config = json!({
        "created": created, "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [
            {"created": created, "created_by": "RUN /bin/sh -c apt-get update && apt-get install -y gcc # x",
             "comment": "buildkit.dockerfile.v0"},
            {"created": created, "created_by": "CMD [\"sh\"\u{1b}[2J]", "empty_layer": true},
        ],
    });
    let config = config.to_string();
    let digest = store.put_blob(config.as_bytes()).expect("writable");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": digest.to_string(), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": diff_id, "size": size}],
    });
    let manifest = store
        .put_blob(manifest.to_string().as_bytes())
        .expect("writable");
    for name in names {
        let created = kiln_worker::tree::Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        };
        let record = ImageRecord {
            name: (*name).to_owned(),
            manifest,
            created,
        };
        store.index().put_image(&record).expect("writable");
    }
}

/// What a command prints, or why it fails.
fn kiln(line: &str) -> String {
    let (_directory, store) = store();
    let now: Timestamp = NOW.parse().expect("a time");
    let mut out = Vec::new();
    let words = ["kiln"].into_iter().chain(line.split(' '));
    let result = match Cli::try_parse_from(words)
        .expect("clap accepts the line")
        .command
    {
        Command::Images(args) => commands::images::run(&args, &store, now, &mut out),
        Command::Inspect(args) => commands::inspect::run(&args, &store, &mut out),
        Command::History(args) => commands::history::run(&args, &store, now, &mut out),
        _ => panic!("not a command for this test: {line}"),
    };
    match result {
        Ok(()) => String::from_utf8(out).expect("what is printed is text"),
        Err(error) => format!("{error:#}\n"),
    }
}

#[test]
fn what_the_commands_print() {
    let lines = [
        "images",
        "images --digests --no-trunc",
        "images -q",
        "images app",
        "images --filter reference=*/team/*:v? --format json",
        "images --filter dangling=true",
        "history app",
        "history --no-trunc --format json base:12",
        "history ap",
        "history zebra",
        "inspect base:12",
    ];
    let outputs = lines.map(|line| format!("$ kiln {line}\n{}", kiln(line)));
    insta::assert_snapshot!(outputs.join("\n"));
}

#[test]
fn an_image_is_found_by_the_first_digits_of_its_id() {
    let ids = kiln("images -q");
    let id = ids.lines().next().expect("there are images");
    let inspected = kiln(&format!("inspect {}", &id[..6]));
    assert!(
        inspected.contains("docker.io") || inspected.contains("base:12"),
        "{inspected}"
    );
}
