//! Debian's docker-registry on a port of this machine, ended with the test.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `user` with the password `secret`, by bcrypt.
const PASSWORDS: &str = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

pub(crate) struct RegistryServer {
    process: Child,
    /// Host and port.
    pub(crate) address: String,
}

/// How a registry is set up.
#[derive(Default)]
pub(crate) struct Setup<'s> {
    /// Asks for the user `user` with the password `secret`.
    pub(crate) with_password: bool,
    /// Certificate and key.
    pub(crate) certificate: Option<(&'s Path, &'s Path)>,
}

impl RegistryServer {
    pub(crate) fn start(directory: &Path, setup: &Setup<'_>) -> Self {
        let port = free_port();
        let home = directory.join("registry");
        std::fs::create_dir_all(&home).expect("a directory");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n",
            home.display()
        );
        if let Some((certificate, key)) = setup.certificate {
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                key.display()
            );
        }
        if setup.with_password {
            let passwords = home.join("htpasswd");
            std::fs::write(&passwords, PASSWORDS).expect("a file");
            config += &format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                passwords.display()
            );
        }
        let path = home.join("config.yml");
        std::fs::write(&path, config).expect("a file");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts; is it installed?");
        let server = Self {
            process,
            address: format!("127.0.0.1:{port}"),
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&self.address).is_err() {
            assert!(
                Instant::now() < deadline,
                "docker-registry does not come up"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
