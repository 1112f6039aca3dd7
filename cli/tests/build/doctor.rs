//! `kiln doctor` on this machine, and on the same with something taken away: it must say what a build then fails with.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::base;
use crate::bench::{Bench, KILN, run, text};
use crate::finished::Finished;
use crate::rootless::{ACCOUNT, User, as_user, make_account};

/// Status and detail of the rows of a check.
fn rows(finished: &Finished, check: &str) -> Vec<(String, String)> {
    let lines = String::from_utf8_lossy(&finished.stdout).into_owned();
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let word = |value: &Value| value.as_str().expect("text").to_owned();
    rows.filter(|row| row["Check"] == check)
        .map(|row| (word(&row["Status"]), word(&row["Detail"])))
        .collect()
}

#[track_caller]
fn assert_works(finished: &Finished, checks: &[&str]) {
    assert_eq!(
        finished.code,
        Some(0),
        "{}",
        String::from_utf8_lossy(&finished.stdout)
    );
    for check in checks {
        let found = rows(finished, check);
        assert!(
            matches!(&found[..], [(status, _)] if status == "works"),
            "{check}: {found:?}"
        );
    }
}

#[test]
fn this_machine_is_well() {
    let bench = Bench::new();
    let finished = Finished::of(bench.kiln().args(["doctor", "--format", "json"]));
    assert_works(
        &finished,
        &[
            "user",
            "store",
            "steps",
            "owners",
            "system calls",
            "network",
        ],
    );
    for check in ["sockets", "disk", "shared bytes", "control groups"] {
        assert!(!rows(&finished, check).is_empty(), "{check}");
    }
    let finished = Finished::of(bench.kiln().arg("doctor"));
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(told.contains("works   steps: "), "{told}");
    crate::machine::assert_clean(&bench.store());
}

/// `kiln doctor` and `kiln build` of a user, with something changed.
fn as_changed(user: &User, change: impl Fn(&mut Command)) -> [Finished; 2] {
    let base = format!("base=oci-layout://{}", text(&user.bench.path("base")));
    let context = user.bench.context("");
    [
        vec!["doctor", "--format", "json"],
        vec!["build", "--build-context", &base, text(&context)],
    ]
    .map(|arguments| {
        let mut command = as_user(&user.bench.path("kiln"));
        command
            .env("HOME", user.bench.path("home"))
            .env_remove("XDG_DATA_HOME")
            .args(arguments);
        change(&mut command);
        Finished::of(&mut command)
    })
}

#[test]
fn an_ordinary_user_is_well_with_what_he_needs() {
    let user = User::new(base::small(), "FROM base\nRUN true\n");
    let [doctor, build] = as_changed(&user, |_| {});
    assert_works(
        &doctor,
        &[
            "user",
            "store",
            "steps",
            "owners",
            "system calls",
            "network",
        ],
    );
    build.assert_well();

    let [doctor, build] = as_changed(&user, |command| {
        command.env("PATH", "/nowhere");
    });
    let detail = "newuidmap is not installed; Debian and Ubuntu have it in the package `uidmap`";
    assert_says(&doctor, &build, "user", detail);
}

#[track_caller]
fn assert_says(doctor: &Finished, build: &Finished, check: &str, detail: &str) {
    let found = rows(doctor, check);
    assert!(
        matches!(&found[..], [(status, said)] if status == "broken" && said.contains(detail)),
        "{found:?}"
    );
    assert_eq!(doctor.code, Some(1));
    build.assert_failed(1, &[detail]);
}

/// Runs a script in a user namespace that maps all ids and allows no namespaces in it.
fn without_namespaces(script: &str) -> Finished {
    let mut outer = Command::new("unshare")
        .args([
            "--user",
            "sh",
            "-c",
            "echo ready; read go; exec sh -c \"$0\"",
        ])
        .arg(format!(
            "echo 0 > /proc/sys/user/max_user_namespaces; {script}"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare runs");
    let mut stdout = BufReader::new(outer.stdout.take().expect("a pipe"));
    stdout.read_line(&mut String::new()).expect("it is ready");
    for map in ["uid_map", "gid_map"] {
        let path = Path::new("/proc").join(outer.id().to_string()).join(map);
        fs::write(path, "0 0 4294967295\n").expect("a map");
    }
    outer
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"go\n")
        .expect("it reads");
    let mut said = Vec::new();
    stdout.read_to_end(&mut said).expect("it writes");
    let output = outer.wait_with_output().expect("it ends");
    Finished {
        code: output.status.code(),
        stdout: said,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_machine_without_user_namespaces_names_the_setting() {
    make_account();
    let user = User::new(base::small(), "FROM base\nRUN true\n");
    let setting = "sysctl user.max_user_namespaces is 0";
    let bench = Bench::with("FROM base\nRUN true\n");
    let base = format!("base=oci-layout://{}", text(&user.bench.path("base")));
    for (kiln, root) in [
        (KILN.to_owned(), bench.store()),
        (
            format!(
                "setpriv --reuid {ACCOUNT} --regid {ACCOUNT} --clear-groups {}",
                text(&user.bench.path("kiln"))
            ),
            user.store(),
        ),
    ] {
        let root = text(&root);
        let doctor = without_namespaces(&format!("{kiln} --root {root} doctor --format json"));
        let build = without_namespaces(&format!(
            "{kiln} --root {root} build --build-context {base} {}",
            text(&bench.context(""))
        ));
        let check = if kiln == KILN { "steps" } else { "user" };
        assert_says(&doctor, &build, check, setting);
    }
}

#[test]
fn a_user_namespace_with_a_single_id_is_told_of() {
    let bench = Bench::with("FROM base\nRUN true\n");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["-r", KILN, "--root"])
            .arg(bench.store())
            .args(arguments);
        Finished::of(command.stdin(Stdio::null()))
    };
    let doctor = run(&["doctor", "--format", "json"]);
    let base = format!("base=oci-layout://{}", text(base::small()));
    let build = run(&["build", "--build-context", &base, text(&bench.context(""))]);
    assert_says(&doctor, &build, "steps", "/proc/self/setgroups");
    assert_eq!(rows(&doctor, "user")[0].0, "limited");
}

#[test]
fn a_store_that_cannot_be_used_is_told_of() {
    let bench = Bench::new();
    let file = bench.file("store", "no directory");
    let finished = Finished::of(
        bench
            .kiln()
            .args(["doctor", "--format", "json", "--root"])
            .arg(file),
    );
    assert_eq!(finished.code, Some(1));
    assert_eq!(rows(&finished, "store")[0].0, "broken");
    assert_eq!(rows(&finished, "steps"), []);
}

/// Runs `kiln doctor` as root of a container of the machine's own programs.
fn in_a_container(bench: &Bench, name: &str, change: impl Fn(&mut Value)) -> Finished {
    let bundle = bench.path(name);
    fs::create_dir_all(bundle.join("root")).expect("directories");
    for directory in ["bin", "lib", "lib64", "sbin"] {
        let target = Path::new("usr").join(directory);
        std::os::unix::fs::symlink(target, bundle.join("root").join(directory)).expect("a link");
    }
    run("runc", &["spec", "--bundle", text(&bundle)]);
    let path = bundle.join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
    config["root"] = json!({"path": "root"});
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/kiln", "--root", "/store", "doctor", "--format", "json"]);
    let bind = |from: &str, to: &str| json!({"destination": to, "source": from, "type": "bind", "options": ["bind", "ro"]});
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.extend([
        bind("/usr", "/usr"),
        bind(KILN, "/kiln"),
        json!({"destination": "/store", "source": "tmpfs", "type": "tmpfs"}),
    ]);
    change(&mut config);
    fs::write(&path, config.to_string()).expect("written");
    let id = format!("kiln-test-{}-{name}", std::process::id());
    let mut command = Command::new("runc");
    command.args(["run", "--bundle"]).arg(&bundle).arg(id);
    Finished::of(command.stdin(Stdio::null()))
}

fn give(config: &mut Value, capabilities: &[&str]) {
    let sets = ["bounding", "effective", "permitted"].map(|set| (set, json!(capabilities)));
    config["process"]["capabilities"] = sets.into_iter().collect();
}

/// What `docker run --cap-add SYS_ADMIN` adds, with what it has.
const ADMINISTRATOR: [&str; 8] = [
    "CAP_SYS_ADMIN",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
];

fn unmask(config: &mut Value) {
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// Answers one call with an error, and lets through all others.
fn refuse(config: &mut Value, call: &str, errno: i32) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}],
    });
}

#[test]
fn a_container_names_the_setting_that_is_missing() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &str); 3] = [
        (
            "plain",
            |config| give(config, &ADMINISTRATOR[1..]),
            "needs CAP_SYS_ADMIN",
        ),
        (
            "masked",
            |config| give(config, &ADMINISTRATOR),
            "systempaths=unconfined",
        ),
        (
            "filtered",
            |config| {
                give(config, &ADMINISTRATOR);
                unmask(config);
                refuse(config, "pivot_root", libc::EPERM);
            },
            "seccomp=unconfined",
        ),
    ];
    let bench = Bench::new();
    for (name, change, setting) in cases {
        let finished = in_a_container(&bench, name, change);
        let found = rows(&finished, "steps");
        assert!(
            matches!(&found[..], [(status, said)] if status == "broken" && said.contains(setting)),
            "{name}: {found:?} {}",
            finished.stderr
        );
        assert_eq!(finished.code, Some(1));
    }
}

/// Docker's filter says that there is no clone3.
#[test]
fn a_container_with_the_settings_is_well() {
    let bench = Bench::new();
    let finished = in_a_container(&bench, "well", |config| {
        give(config, &ADMINISTRATOR);
        unmask(config);
        refuse(config, "clone3", libc::ENOSYS);
    });
    assert_works(&finished, &["user", "store", "steps", "system calls"]);
    // Docker gives no rights on the network.
    let network = rows(&finished, "network");
    assert!(
        matches!(&network[..], [(status, said)] if status == "limited" && said.contains("CAP_NET_ADMIN")),
        "{network:?}"
    );
}
