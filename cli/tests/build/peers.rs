//! What other people's tools make of Kiln's images, and Kiln of theirs.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::base;
use crate::bench::{Bench, output, run, text};
use crate::listing::{of_directory, of_tar_file};

const APP: &str = "FROM base
COPY --chown=app file /app/file
RUN echo made >/made && ln /made /linked && rm /etc/group && mkdir -m 2755 /var/lib/state
ENV GREETING=\"good day\"
USER app
WORKDIR /app
ENTRYPOINT [\"/bin/sh\", \"-c\", \"echo $GREETING; id -u; pwd; cat file\"]
";

/// A layout of the app in the store's neighbourhood, `attributes` being those of the output.
fn layout(attributes: &str) -> (Bench, String) {
    let bench = Bench::with(APP);
    bench.file("file", "content\n");
    let layout = bench.path("layout");
    let layout = text(&layout).to_owned();
    bench.build(&format!(
        "-t app:1 -o type=oci,tar=false,dest={layout}{attributes}"
    ));
    (bench, layout)
}

#[test]
fn skopeo_inspects_and_copies() {
    for attributes in ["", ",compression=zstd", ",compression=uncompressed"] {
        let (bench, layout) = layout(attributes);
        let inspected = run("skopeo", &["inspect", &format!("oci:{layout}:1")]);
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        assert_eq!(inspected["Os"], "linux");
        let copy = bench.path("copy");
        run(
            "skopeo",
            &[
                "copy",
                "--quiet",
                &format!("oci:{layout}:1"),
                &format!("dir:{}", text(&copy)),
            ],
        );
        if attributes.contains("zstd") {
            // Docker's own archives know no zstd.
            continue;
        }
        let archive = bench.path("archive.tar");
        run(
            "skopeo",
            &[
                "copy",
                "--quiet",
                &format!("oci:{layout}:1"),
                &format!("docker-archive:{}:app:1", text(&archive)),
            ],
        );
    }
}

#[test]
fn umoci_unpacks_what_the_tar_holds() {
    let (bench, layout) = layout("");
    let bundle = bench.path("bundle");
    run(
        "umoci",
        &["unpack", "--image", &format!("{layout}:1"), text(&bundle)],
    );
    let tar = bench.path("files.tar");
    bench.build(&format!("-o type=tar,dest={}", text(&tar)));
    assert_eq!(of_directory(&bundle.join("rootfs")), of_tar_file(&tar));
}

#[test]
fn runc_runs_what_umoci_unpacks() {
    let (bench, layout) = layout("");
    let bundle = bench.path("bundle");
    run(
        "umoci",
        &["unpack", "--image", &format!("{layout}:1"), text(&bundle)],
    );
    without_terminal(&bundle);
    let id = format!("kiln-test-{}", std::process::id());
    let said = run("runc", &["run", "--bundle", text(&bundle), &id]);
    assert_eq!(said, "good day\n1000\n/app\ncontent\n");
}

#[test]
fn podman_pulls_the_archive_and_runs_it_where_it_can() {
    let (bench, _) = layout("");
    let archive = bench.path("app.tar");
    bench.build(&format!("-t app:1 -o type=oci,dest={}", text(&archive)));
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command
            .args([
                "--root",
                text(&bench.path("podman")),
                "--runroot",
                text(&bench.path("run")),
            ])
            .args([
                "--storage-driver=vfs",
                "--cgroup-manager=cgroupfs",
                "--runtime=crun",
            ])
            .args(arguments);
        command
    };
    let pulled = output(&mut podman(&[
        "pull",
        "--quiet",
        &format!("oci-archive:{}", text(&archive)),
    ]));
    let line = [
        "run",
        "--rm",
        "--network=none",
        "--cgroups=disabled",
        // Podman's own limits may be more than this machine allows.
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1000:1000",
        pulled.trim(),
    ];
    let attempt = podman(&line).output().expect("podman runs");
    let stderr = String::from_utf8_lossy(&attempt.stderr);
    if attempt.status.success() {
        assert_eq!(
            String::from_utf8_lossy(&attempt.stdout),
            "good day\n1000\n/app\ncontent\n"
        );
    } else {
        // Where groups of control are of both versions, podman runs nothing at all.
        assert!(stderr.contains("cgroup"), "{stderr}");
    }
}

#[test]
fn a_base_comes_from_a_registry() {
    let registry = Registry::start();
    let bench = Bench::new();
    let name = format!("127.0.0.1:{}/team/base:1", registry.port);
    let pushed = format!("docker://{name}");
    let source = format!("oci:{}:latest", text(base::small()));
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "--dest-compress-format=zstd",
            &source,
            &pushed,
        ],
    );
    bench.file("Dockerfile", format!("FROM {name}\nRUN echo x >/x\n"));
    let out = bench.files("out", "");
    assert!(out.join("x").exists() && out.join("bin/busybox").exists());
    // Another name for it, and a digest.
    let inspected = run(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--format={{.Digest}}",
            &pushed,
        ],
    );
    let by_digest = format!("127.0.0.1:{}/team/base@{}", registry.port, inspected.trim());
    bench.file("Dockerfile", format!("FROM {by_digest}\nRUN echo x >/x\n"));
    assert_eq!(bench.build("").ran(), [""; 0]);
    bench.file("Dockerfile", "FROM other\nRUN echo x >/x\n");
    let line = format!("--build-context other=docker-image://{name}");
    assert_eq!(bench.build(&line).ran(), [""; 0]);

    let wrong = format!("127.0.0.1:{}/team/base:2", registry.port);
    bench.file("Dockerfile", format!("FROM {wrong}\n"));
    bench.refused("", 1, &["team/base:2", "Dockerfile:1"]);
    let port = registry.port;
    drop(registry);
    // What was resolved before does not need it.
    bench.file("Dockerfile", format!("FROM 127.0.0.1:{port}/team/other\n"));
    bench.refused("", 1, &[&format!("127.0.0.1:{port}"), "refused"]);
}

#[test]
fn an_image_that_skopeo_copied_is_a_base() {
    let (bench, layout) = layout("");
    let copied = bench.path("copied");
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &format!("oci:{layout}:1"),
            &format!("oci:{}:x", text(&copied)),
        ],
    );
    bench.file(
        "Dockerfile",
        "FROM other\nRUN test \"$GREETING\" = 'good day' && test $(pwd) = /app\n",
    );
    let named = format!("--build-context other=oci-layout://{}:x", text(&copied));
    bench.build(&named);
}

fn without_terminal(bundle: &Path) {
    let path = bundle.join("config.json");
    let config = fs::read_to_string(&path).expect("umoci writes it");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["process"]["terminal"] = false.into();
    fs::write(&path, config.to_string()).expect("writable");
}

/// Debian's registry on a port of its own, until dropped.
pub(crate) struct Registry {
    pub(crate) port: u16,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::start_as(|_| String::new())
    }

    /// One that lets nobody in but a user with a password.
    pub(crate) fn start_with_password(user: &str, password: &str) -> Self {
        Self::start_as(|directory| {
            let passwords = directory.join("passwords");
            let line = run("htpasswd", &["-nbB", user, password]);
            fs::write(&passwords, line).expect("writable");
            format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                text(&passwords)
            )
        })
    }

    /// `more` is what its configuration says beside.
    fn start_as(more: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let config = directory.path().join("config.yml");
        let yaml = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{}",
            text(&directory.path().join("data")),
            more(directory.path())
        );
        fs::write(&config, yaml).expect("writable");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry runs");
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Self {
            port,
            process,
            _directory: directory,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
