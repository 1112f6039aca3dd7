//! `kiln fmt` on real files, with the binary.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

const UNFORMATTED: &str = "from   a  \n\n\n\nrun x \\\n  y";
const FORMATTED: &str = "FROM a\n\nRUN x \\\n  y\n";

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn kiln(directory: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.current_dir(directory).arg("fmt").args(args);
    command
}

fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).expect("writable");
    path
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

#[test]
fn a_file_is_replaced_and_keeps_its_permissions() {
    let directory = directory();
    let path = write(&directory, "Dockerfile", UNFORMATTED);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("an owner");
    let link = directory.path().join("link");
    symlink("Dockerfile", &link).expect("a link");
    kiln(&directory, &["link"]).assert().code(0).stdout("");
    assert_eq!(read(&path), FORMATTED);
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 2);
}

#[test]
fn without_a_name_it_is_the_dockerfile_here() {
    let directory = directory();
    let path = write(&directory, "Dockerfile", UNFORMATTED);
    kiln(&directory, &[]).assert().code(0);
    assert_eq!(read(&path), FORMATTED);
}

#[test]
fn a_formatted_file_is_not_touched() {
    let directory = directory();
    let path = write(&directory, "Dockerfile", FORMATTED);
    let before = fs::metadata(&path).expect("a file");
    kiln(&directory, &["Dockerfile"]).assert().code(0);
    kiln(&directory, &["--check", "Dockerfile"])
        .assert()
        .code(0)
        .stdout("");
    let after = fs::metadata(&path).expect("a file");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
}

#[test]
fn check_lists_what_would_change_and_changes_nothing() {
    let directory = directory();
    let path = write(&directory, "a", UNFORMATTED);
    write(&directory, "b", FORMATTED);
    kiln(&directory, &["--check", "a", "b"])
        .assert()
        .code(1)
        .stdout("a\n");
    assert_eq!(read(&path), UNFORMATTED);
}

#[test]
fn diff_shows_what_would_change_and_changes_nothing() {
    let directory = directory();
    let path = write(&directory, "a", UNFORMATTED);
    let output = kiln(&directory, &["--diff", "a"]).assert().code(0);
    let shown = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let expected = "--- a\n+++ a (formatted)\n@@ -1,6 +1,4 @@\n-from   a  \n+FROM a\n \n-\n-\n\
                    -run x \\\n-  y\n\\ No newline at end of file\n+RUN x \\\n+  y\n";
    assert_eq!(shown, expected);
    kiln(&directory, &["--diff", "--check", "a"])
        .assert()
        .code(1)
        .stdout(expected);
    assert_eq!(read(&path), UNFORMATTED);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let directory = directory();
    kiln(&directory, &["-"])
        .write_stdin(UNFORMATTED)
        .assert()
        .code(0)
        .stdout(FORMATTED);
    kiln(&directory, &["--check", "-"])
        .write_stdin(UNFORMATTED)
        .assert()
        .code(1)
        .stdout("<stdin>\n");
    kiln(&directory, &["-"])
        .write_stdin("FORM a\n")
        .assert()
        .code(2)
        .stdout("");
}

#[test]
fn a_file_with_errors_is_left_as_it_is_and_the_others_are_done() {
    let directory = directory();
    let broken = write(&directory, "broken", "from a\ncoyp b c\nuser\n");
    let good = write(&directory, "good", UNFORMATTED);
    let output = kiln(&directory, &["broken", "missing", "good"])
        .assert()
        .code(2);
    let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for part in [
        "broken:2:1",
        "did you mean COPY?",
        "broken:3:1",
        "cannot read missing",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(read(&broken), "from a\ncoyp b c\nuser\n");
    assert_eq!(read(&good), FORMATTED);
}

#[test]
fn what_is_no_text_is_refused_with_its_line() {
    let directory = directory();
    let path = directory.path().join("Dockerfile");
    fs::write(&path, b"FROM a\n# \xff\n").expect("writable");
    let output = kiln(&directory, &["Dockerfile"]).assert().code(2);
    let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        told.contains("Dockerfile:2: the file is not UTF-8 text"),
        "{told}"
    );
    assert_eq!(fs::read(&path).expect("readable"), b"FROM a\n# \xff\n");
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let directory = directory();
    let line = format!("# {}\n", "x".repeat(1021));
    let path = write(&directory, "Dockerfile", &line.repeat(33 << 10));
    let output = kiln(&directory, &[]).assert().code(2);
    let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(told.contains("longer than 33554432 bytes"), "{told}");
    assert_eq!(told.matches("ERROR").count(), 1, "{told}");
    assert!(!told.contains("no instructions"), "{told}");
    assert_eq!(fs::metadata(&path).expect("a file").len(), 33 << 20);
}

#[test]
fn what_has_no_end_and_what_nobody_writes_are_refused() {
    let directory = directory();
    symlink("/dev/zero", directory.path().join("endless")).expect("a link");
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    for (name, problem) in [
        ("endless", "longer than 33554432 bytes"),
        ("pipe", "a pipe that nobody writes to"),
    ] {
        let output = kiln(&directory, &["--check", name]).assert().code(2);
        let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(told.contains(problem), "{told}");
    }
}
