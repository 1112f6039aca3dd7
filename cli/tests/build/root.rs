//! Which directories Kiln takes for a store of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::bench::{Bench, text};
use crate::finished::Finished;

/// Names of all that is below a directory, and its mode.
fn contents(directory: &Path) -> (Vec<String>, u32) {
    let mut command = std::process::Command::new("find");
    let found = Finished::of(command.arg(directory).arg("-mindepth").arg("1"));
    let found = String::from_utf8(found.stdout).expect("names");
    let mut names: Vec<String> = found.lines().map(str::to_owned).collect();
    names.sort();
    let mode = fs::metadata(directory)
        .expect("it is there")
        .permissions()
        .mode();
    (names, mode)
}

/// A project has directories of the same names, and their contents are not for Kiln to remove.
#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let bench = Bench::with("FROM scratch\nCOPY Dockerfile /\n");
    let project = bench.path("project");
    for directory in ["tmp/1-0123456789abcdef", "layers/mine", "blobs/sha256"] {
        fs::create_dir_all(project.join(directory)).expect("a directory");
    }
    fs::write(project.join("tmp/1-0123456789abcdef/precious"), "").expect("a file");
    fs::set_permissions(&project, fs::Permissions::from_mode(0o755)).expect("chmod");
    let before = contents(&project);
    for typed in [
        "builds ls",
        "du",
        "prune --force --all",
        "store verify --repair",
        "cache ls",
    ] {
        let mut command = bench.kiln();
        command.args(typed.split(' ')).arg("--root").arg(&project);
        let finished = Finished::of(&mut command);
        assert_eq!(finished.code, Some(1), "{typed}: {}", finished.told());
        assert!(
            finished.told().contains("is no store of Kiln's"),
            "{}",
            finished.told()
        );
        assert_eq!(contents(&project), before, "{typed}");
    }
    let built = bench.try_build(&format!("--root {}", text(&project)));
    assert_eq!(built.code, Some(1), "{}", built.told());
    assert_eq!(contents(&project), before);
}

/// A disk of its own begins with nothing but a directory of the file system's.
#[test]
fn an_empty_directory_becomes_a_store() {
    let bench = Bench::with("FROM scratch\nCOPY Dockerfile /\n");
    let disk = bench.path("disk");
    fs::create_dir_all(disk.join("lost+found")).expect("a directory");
    let built = bench.try_build(&format!("--root {}", text(&disk)));
    built.assert_well();
    assert!(disk.join("lost+found").exists() && disk.join("version").exists());
}
