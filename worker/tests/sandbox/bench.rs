//! What cases stand on: a Debian root, fresh upper directories, and a short way to run a step.

use std::collections::HashMap;
use std::fs;
use std::future::{Future, pending};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_worker::sandbox::{Error, Exit, Outcome, Overlay, Sandbox, Spec, Stream, Writable};

use crate::Role;

/// Set for the ordinary user's run.
pub(crate) const ROLE: &str = "KILN_TEST_AS_USER";
/// The archive of the root file system, where it is not made here.
const ARCHIVE: &str = "KILN_TEST_ROOTFS";
pub(crate) const ACCOUNT: &str = "kilntest";

/// The machine as one role sees it.
pub(crate) struct Bench {
    pub(crate) role: Role,
    pub(crate) sandbox: Sandbox,
    pub(crate) debian: PathBuf,
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
}

/// What a step did.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Standard output of a step that ended well.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        let Self {
            outcome,
            stdout,
            stderr,
        } = self;
        assert_eq!(
            outcome.exit,
            Exit::Code(0),
            "stdout:\n{stdout}\nstderr:\n{stderr}"
        );
        stdout
    }
}

/// A root of a case's own.
pub(crate) struct Root {
    pub(crate) overlay: Overlay,
    pub(crate) upper: PathBuf,
    #[allow(dead_code, reason = "holds the directories")]
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(role: Role) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let debian = directory.path().join("debian");
        fs::create_dir(&debian).expect("a directory");
        let status = Command::new("tar")
            .args(["--numeric-owner", "--exclude=./dev/*", "-xpf"])
            .arg(archive())
            .arg("-C")
            .arg(&debian)
            .status();
        assert!(status.expect("tar runs").success());
        fs::set_permissions(&debian, fs::Permissions::from_mode(0o755)).expect("chmod");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            role,
            sandbox: Sandbox::default(),
            debian,
            runtime,
            directory,
        }
    }

    /// An empty directory beside the roots.
    pub(crate) fn fresh(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.directory.path()).expect("a temporary directory")
    }

    /// Debian under an empty upper layer.
    pub(crate) fn root(&self) -> Root {
        self.root_of([self.debian.clone()])
    }

    pub(crate) fn root_of(&self, layers: impl IntoIterator<Item = PathBuf>) -> Root {
        let directory = self.fresh();
        let (upper, work) = (
            directory.path().join("upper"),
            directory.path().join("work"),
        );
        fs::create_dir(&upper).expect("a directory");
        fs::create_dir(&work).expect("a directory");
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).expect("chmod");
        let writable = Some(Writable {
            upper: upper.clone(),
            work,
        });
        Root {
            overlay: Overlay {
                layers: layers.into_iter().collect(),
                writable,
            },
            upper,
            directory,
        }
    }

    /// A shell script on `root`.
    pub(crate) fn script(&self, root: &Root, script: &str) -> Spec {
        Spec::new(root.overlay.clone(), ["/bin/sh", "-c", script])
    }

    pub(crate) fn try_run(&self, spec: &Spec) -> Result<Done, Error> {
        self.run_until(spec, pending())
    }

    pub(crate) fn run_until(
        &self,
        spec: &Spec,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Done, Error> {
        let mut text: HashMap<bool, Vec<u8>> = HashMap::new();
        let log = |stream, bytes: &[u8]| {
            text.entry(stream == Stream::Stdout)
                .or_default()
                .extend_from_slice(bytes);
        };
        let outcome = self
            .runtime
            .block_on(self.sandbox.run(spec, log, cancelled))?;
        let mut take = |stdout| {
            String::from_utf8_lossy(&text.remove(&stdout).unwrap_or_default()).into_owned()
        };
        Ok(Done {
            outcome,
            stdout: take(true),
            stderr: take(false),
        })
    }

    #[track_caller]
    pub(crate) fn run(&self, spec: &Spec) -> Done {
        match self.try_run(spec) {
            Ok(done) => done,
            Err(error) => panic!("{error}\n{error:?}"),
        }
    }

    /// The output of a script that must end well on a root of its own.
    #[track_caller]
    pub(crate) fn output(&self, script: &str) -> String {
        self.run(&self.script(&self.root(), script))
            .text()
            .to_owned()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// Everything under `directory` but itself, sorted, with `d`, `f`, `l` or `c` before it.
pub(crate) fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("metadata");
            let kind = match metadata.mode() & libc::S_IFMT {
                libc::S_IFDIR => 'd',
                libc::S_IFREG => 'f',
                libc::S_IFLNK => 'l',
                libc::S_IFCHR => 'c',
                _ => '?',
            };
            let relative = path
                .strip_prefix(directory)
                .expect("below")
                .display()
                .to_string();
            found.push(format!("{kind} {relative}"));
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The archive of a small Debian, made from Debian's own packages the first time.
fn archive() -> PathBuf {
    if let Some(given) = std::env::var_os(ARCHIVE) {
        return given.into();
    }
    let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
    if !archive.exists() {
        let half = archive.with_extension(format!("{}.tar", std::process::id()));
        let status = Command::new("mmdebstrap")
            .args([
                "--quiet",
                "--variant=minbase",
                "--include=libcap2-bin",
                "bookworm",
            ])
            .arg(&half)
            .status();
        assert!(
            status
                .expect("mmdebstrap, of the package of that name, runs")
                .success()
        );
        fs::rename(half, &archive).expect("rename");
    }
    archive
}

/// A copy of this program that any user may run: he may have no way to the directory that it lies in.
pub(crate) struct Program {
    directory: tempfile::TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        let program = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        open_to_all(program.directory.path());
        program.add("sandbox", Path::new("/proc/self/exe"));
        program
    }

    /// Puts a copy of `file` beside the program.
    fn add(&self, name: &str, file: &Path) -> PathBuf {
        let copy = self.directory.path().join(name);
        fs::copy(file, &copy).expect("a copy");
        open_to_all(&copy);
        copy
    }

    /// The program as run by `user`, a name or a number.
    pub(crate) fn command_as(&self, user: &str) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--reuid", user, "--regid", user, "--clear-groups"])
            .arg(self.directory.path().join("sandbox"));
        command
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Makes the account of the ordinary user, with subordinate ids, unless it is there.
pub(crate) fn make_account() {
    let known = fs::read_to_string("/etc/passwd").expect("accounts");
    if !known
        .lines()
        .any(|line| line.starts_with(&format!("{ACCOUNT}:")))
    {
        let status = Command::new("useradd")
            .args(["--create-home", ACCOUNT])
            .status();
        assert!(status.expect("useradd runs").success());
    }
}

/// Runs the same cases again as an ordinary user.
pub(crate) fn run_again_as_user() -> bool {
    let program = Program::new();
    let archive = program.add("debian.tar", &archive());
    let mut command = program.command_as(ACCOUNT);
    command
        .env(ROLE, "1")
        .env(ARCHIVE, archive)
        .env_remove("TMPDIR")
        .env("HOME", "/");
    command
        .args(std::env::args_os().skip(1))
        .status()
        .expect("setpriv runs")
        .success()
}
