//! The canaries, and the secrets that they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::base;
use crate::bench::{Bench, run, text};
use crate::peers::Registry;
use crate::servers::{Answer, HttpServer, repositories};

/// A value that is nowhere but where it was put.
pub(super) struct Canary {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// Bytes that give it away: as it is, and in base64 wherever it may stand in a longer text.
    pub(super) forms: Vec<Vec<u8>>,
}

impl Canary {
    pub(super) fn new(name: &'static str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is later than 1970").as_nanos();
        // Only letters: no encoding of addresses, shells or JSON changes it.
        let letters = Sha256::digest(format!("{name} {now} {}", std::process::id()));
        let value: String = letters
            .iter()
            .map(|byte| char::from(b'a' + byte % 26))
            .collect();
        let mut forms = vec![value.clone().into_bytes()];
        for before in 0..3 {
            let shifted = [&vec![b'x'; before][..], value.as_bytes()].concat();
            let encoded = STANDARD.encode(shifted).trim_end_matches('=').to_owned();
            // The first and the last letters depend on what stands beside.
            forms.push(encoded.as_bytes()[4..encoded.len() - 2].to_vec());
        }
        Self { name, value, forms }
    }

    /// A private key: the lines of its file, and the number that it is.
    fn of_key(name: &'static str, file: &str) -> Self {
        let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = STANDARD.decode(lines.concat()).expect("base64");
        // PROTOCOL.key of OpenSSH: ..., the number of 32 bytes followed by the public key, a comment, padding.
        let length = bytes
            .windows(4)
            .rposition(|four| four == 64_u32.to_be_bytes());
        let number = &bytes[length.expect("an ed25519 key") + 4..][..32];
        let printable = |part: &&[u8]| !part.contains(&b'\n') && !part.contains(&0);
        let part = number.windows(8).find(printable);
        let part = part.expect("eight bytes of 32 that are no line's end");
        Self {
            name,
            value: file.to_owned(),
            forms: vec![lines[2].as_bytes().to_vec(), part.to_vec()],
        }
    }
}

/// What stands behind `Authorization` for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A server of repositories that wants a proof, and takes its time so that git can be watched.
fn slow_git(root: &Path, proof: String) -> HttpServer {
    HttpServer::of_git(root, move |asked| {
        std::thread::sleep(Duration::from_millis(50));
        let shown = asked.header("authorization").unwrap_or_default();
        proof.eq_ignore_ascii_case(shown)
    })
}

/// Servers that ask for secrets, and the files that have them.
pub(super) struct Inputs {
    canaries: Vec<Canary>,
    given: PathBuf,
    servers: Option<Servers>,
}

struct Servers {
    registry: Registry,
    /// Takes the token.
    git: HttpServer,
    /// Takes the password that stands in its address.
    addressed: HttpServer,
    files: HttpServer,
}

impl Inputs {
    /// Secrets of every kind.
    pub(super) fn make(bench: &Bench) -> Self {
        let mut inputs = Self::of_files(bench);
        for name in ["variable", "registry", "token", "address", "http"] {
            inputs.canaries.push(Canary::new(name));
        }
        let key = inputs.given.join("key");
        let options = ["-q", "-N", "", "-t", "ed25519", "-f", text(&key)];
        run("ssh-keygen", &options);
        let key = fs::read_to_string(key).expect("it was written");
        inputs.canaries.push(Canary::of_key("key", &key));
        fs::write(inputs.given.join("token"), inputs.value("token")).expect("writable");
        fs::write(inputs.given.join("http"), inputs.value("http")).expect("writable");
        inputs.servers = Some(inputs.start(bench));
        inputs
    }

    /// A secret in a file only.
    pub(super) fn of_files(bench: &Bench) -> Self {
        let given = bench.path("given");
        fs::create_dir_all(&given).expect("a directory");
        let file = Canary::new("file");
        fs::write(given.join("file"), &file.value).expect("writable");
        Self {
            canaries: vec![file],
            given,
            servers: None,
        }
    }

    fn start(&self, bench: &Bench) -> Servers {
        let password = self.value("registry");
        let registry = Registry::start_with_password("user", password);
        let name = format!("127.0.0.1:{}", registry.port);
        let auths = serde_json::json!({"auths": {&name: {"auth": STANDARD.encode(format!("user:{password}"))}}});
        fs::create_dir_all(self.given.join("docker")).expect("a directory");
        fs::write(self.given.join("docker/config.json"), auths.to_string()).expect("writable");
        run(
            "skopeo",
            &[
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                &format!("--dest-creds=user:{password}"),
                &format!("oci:{}:latest", text(base::small())),
                &format!("docker://{name}/private:1"),
            ],
        );
        let root = repositories(bench.path("repositories"));
        let git = slow_git(&root, basic("x-access-token", self.value("token")));
        let addressed = slow_git(&root, basic("user", self.value("address")));
        let proof = format!("Bearer {}", self.value("http"));
        let files =
            HttpServer::start(
                move |asked| match asked.header("authorization") == Some(&proof) {
                    true => Answer::ok("private\n"),
                    false => Answer::status(401),
                },
            );
        Servers {
            registry,
            git,
            addressed,
            files,
        }
    }

    pub(super) fn canaries(&self) -> &[Canary] {
        &self.canaries
    }

    fn value(&self, name: &str) -> &str {
        let canary = self.canaries.iter().find(|canary| canary.name == name);
        &canary.expect("a canary of this name").value
    }

    /// The SHA-256 of a canary: it tells a step what to expect and nobody what it is.
    pub(super) fn sum(&self, name: &str) -> String {
        let sum = Sha256::digest(self.value(name));
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn servers(&self) -> &Servers {
        self.servers.as_ref().expect("there are servers")
    }

    pub(super) fn private_git(&self) -> String {
        self.servers().git.url("/main.git")
    }

    pub(super) fn private_file(&self) -> String {
        self.servers().files.url("/file")
    }

    pub(super) fn image(&self) -> String {
        format!("127.0.0.1:{}/private:1", self.servers().registry.port)
    }

    /// The arguments that give the secrets to a build.
    pub(super) fn line(&self) -> String {
        let given = text(&self.given);
        let file = format!("--secret id=file,src={given}/file");
        let Some(servers) = &self.servers else {
            return file;
        };
        let address = format!(
            "http://user:{}@{}/main.git?submodules=0",
            self.value("address"),
            servers.addressed.host()
        );
        let git = servers.git.host();
        format!(
            "{file} --secret id=variable,env=VARIABLE_OF_KILN --secret id=GIT_AUTH_TOKEN.{git},src={given}/token \
             --secret id=HTTP_AUTH_TOKEN_127.0.0.1,src={given}/http --ssh default={given}/key --build-context repository={address}"
        )
    }

    /// Adds what is given by variables.
    pub(super) fn give<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("VARIABLE_OF_KILN", self.value("variable"))
            .env("DOCKER_CONFIG", self.given.join("docker"))
    }
}
