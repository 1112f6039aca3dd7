//! The whole as an ordinary user with subordinate ids.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::base;
use crate::bench::{Bench, KILN, run, text};
use crate::finished::Finished;
use crate::machine;

/// The ordinary user.
pub(crate) const ACCOUNT: &str = "kilntest";

/// Makes the account of the ordinary user, with subordinate ids, unless it is there.
pub(crate) fn make_account() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let known = fs::read_to_string("/etc/passwd").expect("accounts");
        if !known.lines().any(|line| line.starts_with("kilntest:")) {
            run("useradd", &["--create-home", ACCOUNT]);
        }
    });
}

/// A program as run by the ordinary user.
pub(crate) fn as_user(program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command
        .args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"])
        .arg(program)
        .env_remove("KILN_ROOT")
        .env_remove("TMPDIR")
        .stdin(Stdio::null());
    command
}

/// A bench whose program, store and bases are the user's.
pub(crate) struct User {
    pub(crate) bench: Bench,
    base: PathBuf,
}

impl User {
    pub(crate) fn new(base: &Path, dockerfile: &str) -> Self {
        make_account();
        let bench = Bench::with(dockerfile);
        let kiln = bench.path("kiln");
        fs::copy(KILN, &kiln).expect("a copy");
        fs::set_permissions(&kiln, fs::Permissions::from_mode(0o755)).expect("chmod");
        let copied = bench.path("base");
        run("cp", &["-r", text(base), text(&copied)]);
        run("chmod", &["-R", "a+rX", text(&copied)]);
        let home = bench.path("home");
        fs::create_dir(&home).expect("a directory");
        run("chown", &[ACCOUNT, text(&home)]);
        Self {
            bench,
            base: copied,
        }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.bench.path("home/.local/share/kiln")
    }

    pub(crate) fn build(&self, line: &str) -> Finished {
        let mut command = as_user(&self.bench.path("kiln"));
        command
            .env("HOME", self.bench.path("home"))
            .env_remove("XDG_DATA_HOME")
            .args(["build", "--progress=rawjson", "--build-context"])
            .arg(format!("base=oci-layout://{}", text(&self.base)))
            .args(line.split_whitespace())
            .arg(self.bench.context(""));
        Finished::of(&mut command)
    }
}

const APP: &str = "FROM base
ENV SOURCE_DATE_EPOCH=1
WORKDIR /work
COPY --chown=1000:1001 d /d
COPY f /f
ADD made.tar /made/
USER app
COPY --chmod=4755 f /g
";

fn diff_ids(layout: &Path) -> Vec<Value> {
    let blob = |digest: &Value| -> Value {
        let digest = digest.as_str().expect("a digest").replace(':', "/");
        let bytes = fs::read(layout.join("blobs").join(digest)).expect("a blob");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let index = fs::read(layout.join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let manifest = blob(&index["manifests"][0]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    config["rootfs"]["diff_ids"]
        .as_array()
        .expect("layers")
        .clone()
}

#[test]
fn a_user_makes_the_same_layers_as_root() {
    // What is made new has the time of the build, mount points of RUN as well, and so has a directory
    // that a file is put into. One that a directory is copied to has the time of that.
    let dockerfile = "FROM base AS unpacked\nADD made.tar /x/\n\
        FROM base\nCOPY mount-points /\nCOPY --chown=1000:1001 d /tmp/\nCOPY e /tmp/\nCOPY --from=unpacked /x/made /tmp/\nCOPY --chmod=4755 h /tmp/\n\
        RUN cp /tmp/g /tmp/run && chown 1000:50 /tmp/run && ln /tmp/run /tmp/hard && rm /etc/group && \
        find / -xdev -exec touch -h -d @1000000000 {} + 2>/dev/null; true\n";
    let user = User::new(base::small(), dockerfile);
    let bench = &user.bench;
    bench.file("d/x", "x");
    bench.file("e/f", "f\n");
    bench.file("h/g", "g\n");
    bench.shell("mkdir -p mount-points/{dev,proc,sys} made; echo 1 >made/a; ln made/a made/b; mkfifo made/p; chown 33:44 made/a; tar -cf made.tar made; rm -r made; find . -exec touch -h -d @1000000000 {} +");
    run("chmod", &["-R", "a+rX", text(&bench.context(""))]);
    let built = user.build(&format!(
        "-o type=oci,tar=false,dest={}",
        text(&bench.path("home/layout"))
    ));
    built.assert_well();
    machine::assert_clean(&user.store());
    bench.build(&format!(
        "-o type=oci,tar=false,dest={}",
        text(&bench.path("layout"))
    ));
    assert_eq!(
        diff_ids(&bench.path("home/layout")),
        diff_ids(&bench.path("layout"))
    );
    assert_eq!(user.build("").ran(), [""; 0]);
}

#[test]
fn a_user_builds_all_kinds_of_steps() {
    let user = User::new(base::small(), APP);
    let bench = &user.bench;
    bench.file("d/x", "x");
    bench.file("f", "f\n");
    bench
        .shell("mkdir made; echo 1 >made/a; chown 33:44 made/a; tar -cf made.tar made; rm -r made");
    let check = format!(
        "{APP}RUN test $(id -u) = 1000 && test $(stat -c %u:%g /d/x /made/made/a | tr '\\n' ' ' | tr -d ' ') = 1000:100133:44 && test -u /g && test $(pwd) = /work\n"
    );
    bench.file("Dockerfile", check);
    user.build("-t app").assert_well();
    let tar = bench.path("home/files.tar");
    user.build(&format!("-o type=tar,dest={}", text(&tar)))
        .assert_well();
    let listing = crate::listing::of_tar_file(&tar);
    assert_eq!(listing["made/made/a"], "f 644 33:44 2");
    assert_eq!(listing["g"], "f 4755 0:0 2");
    user.build(&format!("-o {}", text(&bench.path("home/out"))))
        .assert_well();
    assert!(bench.path("home/out/g").exists());
    machine::assert_clean(&user.store());
}

#[test]
fn a_user_installs_packages() {
    let dockerfile = "FROM base\nRUN apt-get update -qq && apt-get install -qq -y --no-install-recommends sudo >/dev/null\nRUN test -u /usr/bin/sudo\n";
    let user = User::new(base::debian(), dockerfile);
    user.build("-t app").assert_well();
    machine::assert_clean(&user.store());
}
