//! Searches files, what is compressed in them, and the names of files for canaries.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::inputs::Canary;
use crate::bench::{Bench, output, text};

/// Places that can be searched, with what is compressed in them unpacked beside.
pub(super) struct Search(Vec<PathBuf>);

impl Search {
    pub(super) fn of(bench: &Bench, places: &[&str]) -> Self {
        let mut all: Vec<PathBuf> = places.iter().map(|place| bench.path(place)).collect();
        let unpacked = tempfile::tempdir_in(bench.path(""))
            .expect("a directory")
            .keep();
        let names = unpacked.join("names");
        let listed = output(
            Command::new("find")
                .args(&all)
                .args(["-printf", "%p %l\\n"]),
        );
        fs::write(names, listed.replace(text(&unpacked), "")).expect("writable");
        let mut number = 0;
        for place in &all {
            each_file(place, &mut |file| {
                if let Some(program) = compression(file) {
                    number += 1;
                    let plain = File::create(unpacked.join(number.to_string())).expect("writable");
                    let status = Command::new(program)
                        .arg("-dc")
                        .arg(file)
                        .stdout(plain)
                        .status();
                    assert!(status.expect(program).success(), "{}", file.display());
                }
            });
        }
        all.push(unpacked);
        Self(all)
    }

    /// The canaries that are there, and where.
    pub(super) fn find(&self, canaries: &[Canary]) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for canary in canaries {
            let patterns = tempfile::NamedTempFile::new().expect("a file");
            fs::write(patterns.path(), canary.forms.join(&b"\n"[..])).expect("writable");
            let grep = Command::new("grep")
                .args(["-rlaF", "-f"])
                .arg(patterns.path())
                .args(&self.0)
                .env("LC_ALL", "C")
                .output()
                .expect("grep runs");
            assert!(
                grep.status.code() < Some(2),
                "{}",
                String::from_utf8_lossy(&grep.stderr)
            );
            for file in String::from_utf8_lossy(&grep.stdout).lines() {
                found.push((canary.name, file.to_owned()));
            }
        }
        found
    }
}

fn each_file(place: &Path, found: &mut impl FnMut(&Path)) {
    let kind = fs::symlink_metadata(place)
        .expect("it was there")
        .file_type();
    if kind.is_file() {
        found(place);
    } else if kind.is_dir() {
        for entry in fs::read_dir(place).expect("a directory") {
            each_file(&entry.expect("an entry").path(), found);
        }
    }
}

/// What unpacks a file, by the bytes that it begins with.
fn compression(file: &Path) -> Option<&'static str> {
    let mut first = [0; 4];
    File::open(file).ok()?.read_exact(&mut first).ok()?;
    match first {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        _ => None,
    }
}
