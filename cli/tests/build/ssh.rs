//! `RUN --mount=type=ssh` with OpenSSH's own agent and client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::bench::{Bench, output, run, text};
use crate::finished::Finished;
use crate::machine;
use crate::wait;

/// Debian with the client's programs of this machine, which have the libraries that they need beside
/// them.
const CLIENT: &str = "FROM base AS client\nCOPY client /\n";

/// An agent of OpenSSH's, which ends with the test.
struct OpenSshAgent {
    process: Child,
    socket: PathBuf,
}

impl OpenSshAgent {
    fn start(bench: &Bench, name: &str) -> Self {
        let socket = bench.path(name);
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("the package openssh-client");
        wait::until_listening(&socket);
        Self { process, socket }
    }

    fn add(&self, key: &str) {
        output(
            Command::new("ssh-add")
                .arg("-q")
                .arg(key)
                .env("SSH_AUTH_SOCK", &self.socket),
        );
    }

    fn listing(&self) -> String {
        output(
            Command::new("ssh-add")
                .arg("-L")
                .env("SSH_AUTH_SOCK", &self.socket),
        )
    }
}

impl Drop for OpenSshAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A bench with the client's programs in its context.
fn bench(steps: &str) -> Bench {
    let bench = Bench::debian();
    bench.shell(
        "mkdir -p client/usr/bin; cp /usr/bin/ssh-add /usr/bin/ssh-keygen client/usr/bin; \
         for lib in $(ldd /usr/bin/ssh-add /usr/bin/ssh-keygen | grep -o '/lib[^ ]*' | sort -u); do \
         mkdir -p client/usr/$(dirname $lib); cp -L $lib client/usr/$lib; done",
    );
    bench.file("Dockerfile", format!("{CLIENT}{steps}"));
    bench
}

fn make_key(bench: &Bench, name: &str, options: &str) -> String {
    let path = bench.path(name);
    let mut arguments = vec!["-q", "-N", "", "-C", name, "-f", text(&path)];
    arguments.extend(options.split(' '));
    run("ssh-keygen", &arguments);
    text(&path).to_owned()
}

#[test]
fn a_step_uses_the_agents_keys_and_nothing_else() {
    let bench = bench(
        "RUN --mount=type=ssh,required test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0 && ssh-add -L >/seen\n\
         RUN --mount=type=ssh ! ssh-add -D\n\
         RUN --mount=type=ssh ssh-keygen -q -t ed25519 -N '' -f /tmp/k && ! ssh-add /tmp/k\n\
         RUN --mount=type=ssh ! ssh-add -x </dev/null\n\
         RUN --mount=type=ssh,id=other,target=/sock,mode=0660,uid=1000,gid=33 test \"$(stat -c '%F %a %u:%g' /sock)\" = 'socket 660 1000:33'\n\
         RUN --mount=type=ssh,id=other test -z \"$(ssh-add -l | grep -v 'no identities')\"\n\
         USER 1000\n\
         RUN --mount=type=ssh,uid=1000 ssh-add -l\n\
         RUN --mount=type=ssh ! ssh-add -l\n\
         RUN --mount=type=ssh,id=absent test -z \"$SSH_AUTH_SOCK\" || ! test -e $SSH_AUTH_SOCK\n",
    );
    let key = make_key(&bench, "first", "-t ed25519");
    let agent = OpenSshAgent::start(&bench, "agent.sock");
    agent.add(&key);
    let other = OpenSshAgent::start(&bench, "empty.sock");
    let out = bench.path("out");
    let line = format!(
        "--ssh default --ssh other={} -o {}",
        text(&other.socket),
        text(&out)
    );
    Finished::of(bench.command(&line).env("SSH_AUTH_SOCK", &agent.socket)).assert_well();
    assert_eq!(
        fs::read_to_string(out.join("seen")).expect("it was written"),
        agent.listing()
    );
    assert!(!out.join("run/buildkit").exists());
    machine::assert_clean(&bench.store());
}

#[test]
fn keys_in_files_make_an_agent() {
    const KEYS: &[(&str, &str)] = &[
        ("ed25519", "-t ed25519"),
        ("rsa", "-t rsa -b 2048"),
        ("rsa-pem", "-t rsa -b 2048 -m PEM"),
        ("rsa-pkcs8", "-t rsa -b 2048 -m PKCS8"),
        ("ecdsa256", "-t ecdsa -b 256"),
        ("ecdsa384", "-t ecdsa -b 384"),
    ];
    let bench = bench(
        "RUN --mount=type=ssh,required --mount=from=keys,target=/keys mkdir /signed && for public in /keys/*.pub; do \
         cp $public /tmp/key.pub && echo text | ssh-keygen -q -Y sign -n test -f /tmp/key.pub >/signed/$(basename $public .pub) || exit 1; done\n",
    );
    let keys = bench.path("public");
    fs::create_dir(&keys).expect("a directory");
    let mut paths = Vec::new();
    for (name, options) in KEYS {
        let path = make_key(&bench, name, options);
        fs::copy(format!("{path}.pub"), keys.join(format!("{name}.pub"))).expect("a copy");
        paths.push(path);
    }
    let out = bench.path("out");
    bench.build(&format!(
        "--build-context keys={} --ssh default={} -o {}",
        text(&keys),
        paths.join(","),
        text(&out)
    ));
    for (name, _) in KEYS {
        let signature = out.join("signed").join(name);
        let script = format!(
            "echo text | ssh-keygen -Y check-novalidate -n test -s {}",
            text(&signature)
        );
        let told = output(Command::new("bash").args(["-euc", &script]));
        assert!(told.contains("Good \"test\" signature"), "{name}: {told}");
        let fingerprint = run(
            "ssh-keygen",
            &["-lf", text(&keys.join(format!("{name}.pub")))],
        );
        let fingerprint = fingerprint.split(' ').nth(1).expect("a fingerprint");
        assert!(told.contains(fingerprint), "{name}: {told}");
    }
    machine::assert_clean(&bench.store());
}

#[test]
fn agents_that_cannot_be_used_are_refused() {
    let bench = Bench::with("FROM base\nRUN --mount=type=ssh,required=true true\n");
    bench.refused(
        "",
        1,
        &[
            "the ssh agent \"default\" is required",
            "--ssh default",
            ">>> RUN --mount",
        ],
    );
    let key = make_key(&bench, "locked", "-t ed25519");
    run("ssh-keygen", &["-q", "-p", "-N", "secret", "-f", &key]);
    let agent = OpenSshAgent::start(&bench, "agent.sock");
    let socket = text(&agent.socket);
    // The library reads about half of these keys.
    let large = make_key(&bench, "large", "-t ecdsa -b 521");
    fs::write(bench.path("junk"), "junk").expect("writable");
    for (paths, part) in [
        (key.clone(), "protected by a passphrase"),
        (large, "give the build that agent"),
        (format!("{key}.pub"), "it is a public key"),
        ("junk".to_owned(), "no private key"),
        ("nowhere".to_owned(), "No such file"),
        (format!("{socket},{key}.pub"), "one socket too many"),
    ] {
        bench.refused(
            &format!("--ssh default={paths}"),
            1,
            &["cannot use --ssh default", part],
        );
    }
    let mut command = bench.command("--ssh default");
    Finished::of(command.env_remove("SSH_AUTH_SOCK"))
        .assert_failed(2, &["SSH_AUTH_SOCK is not set"]);
}

#[test]
fn a_users_agent_serves_his_steps() {
    let user = crate::rootless::User::new(
        crate::base::debian(),
        &format!(
            "{CLIENT}USER 1000\nRUN --mount=type=ssh,uid=1000,required ssh-add -L | grep -q users-key\nRUN --mount=type=secret,id=k,uid=1000 test $(cat /run/secrets/k) = v\n"
        ),
    );
    let donor = bench("");
    run(
        "cp",
        &[
            "-r",
            text(&donor.context("client")),
            text(&user.bench.context("client")),
        ],
    );
    run("chmod", &["-R", "a+rX", text(&user.bench.context(""))]);
    let key = make_key(&user.bench, "users-key", "-t ed25519");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(user.bench.path("k"), "v").expect("writable");
    let line = format!(
        "--ssh default={key} --secret id=k,src={}",
        text(&user.bench.path("k"))
    );
    user.build(&line).assert_well();
    machine::assert_clean(&user.store());
}
