//! What a test stands on: a store and a context of its own, and a short way to build.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base;
use crate::finished::Finished;

/// The program under test.
pub(crate) const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// A store, a context and a place for results.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    bases: Vec<(&'static str, PathBuf)>,
}

impl Bench {
    /// With the small image as `base`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(directory.path().join("context")).expect("a directory");
        Self {
            directory,
            bases: vec![("base", base::small().to_owned())],
        }
    }

    /// With Debian as `base`.
    pub(crate) fn debian() -> Self {
        Self {
            bases: vec![("base", base::debian().to_owned())],
            ..Self::new()
        }
    }

    /// With a Dockerfile.
    pub(crate) fn with(dockerfile: &str) -> Self {
        let bench = Self::new();
        bench.file("Dockerfile", dockerfile);
        bench
    }

    /// A path beside the context.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the context.
    pub(crate) fn context(&self, name: &str) -> PathBuf {
        self.path("context").join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file of the context, with the directories that it needs.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.context(name);
        fs::create_dir_all(path.parent().expect("it is in the context")).expect("directories");
        fs::write(&path, content).expect("writable");
        path
    }

    /// Runs a shell script in the context, which must end well.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-euc", script]).current_dir(self.context(""));
        output(&mut command)
    }

    /// `kiln` with this store.
    pub(crate) fn kiln(&self) -> Command {
        let mut command = Command::new(KILN);
        command
            .env("KILN_ROOT", self.store())
            .env("HOME", self.path("home"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// `kiln build` of the context, with the shared images as named contexts. Words of `line` are
    /// arguments.
    pub(crate) fn command(&self, line: &str) -> Command {
        self.command_shown("--progress=rawjson", line)
    }

    /// The same with another way to show it.
    pub(crate) fn command_shown(&self, how: &str, line: &str) -> Command {
        let mut command = self.kiln();
        command.args(["build", how]);
        for (name, layout) in &self.bases {
            let layout = layout.display();
            command.args(["--build-context", &format!("{name}=oci-layout://{layout}")]);
        }
        command.args(line.split_whitespace()).arg(self.context(""));
        command
    }

    /// Builds, whatever comes of it.
    pub(crate) fn try_build(&self, line: &str) -> Finished {
        Finished::of(&mut self.command(line))
    }

    /// Builds, which must end well.
    #[track_caller]
    pub(crate) fn build(&self, line: &str) -> Finished {
        let finished = self.try_build(line);
        finished.assert_well();
        finished
    }

    /// Builds, which must fail with an exit code and a message that has all these parts, and must
    /// leave nothing behind.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str, code: i32, parts: &[&str]) -> Finished {
        let finished = self.try_build(line);
        finished.assert_failed(code, parts);
        crate::machine::assert_clean(&self.store());
        finished
    }

    /// Builds the root file system into a new directory and gives its path.
    #[track_caller]
    pub(crate) fn files(&self, name: &str, line: &str) -> PathBuf {
        let out = self.path(name);
        let typed = format!("{line} --output {}", out.display());
        self.build(&typed);
        out
    }

    /// What a file of the built root file system holds.
    #[track_caller]
    pub(crate) fn text(&self, path: &str, line: &str) -> String {
        let out = self.files("text", line);
        let text = fs::read_to_string(out.join(path)).expect(path);
        fs::remove_dir_all(out).expect("removable");
        text
    }
}

/// Standard output of a command that must end well.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program of the machine, which must end well.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    output(Command::new(program).args(arguments))
}

/// `path` as text, for command lines.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("tests use plain names")
}
