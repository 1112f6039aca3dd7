//! Servers on this machine that builds fetch from: files over http, and git's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes that are promised beyond the body, and never sent.
    pub(crate) missing: usize,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Answering = dyn Fn(&Asked) -> Answer + Send + Sync;

/// An http server that answers as a function says, and remembers what it was asked.
pub(crate) struct HttpServer {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl HttpServer {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer: Arc<Answering> = Arc::new(answer);
        let known = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, known) = (Arc::clone(&answer), Arc::clone(&known));
                std::thread::spawn(move || serve(&stream, &*answer, &known));
            }
        });
        Self { port, asked }
    }

    /// Serves repositories below a directory by git's own program, over http.
    pub(crate) fn of_git(
        root: &Path,
        accepts: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Self {
        let root = root.to_owned();
        Self::start(move |asked| match accepts(asked) {
            true => git_backend(&root, asked),
            false => Answer::status(401).with("WWW-Authenticate", "Basic realm=git"),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("unpoisoned"))
    }
}

/// One request for each connection.
fn serve(stream: &TcpStream, answer: &Answering, known: &Mutex<Vec<Asked>>) {
    let Some(asked) = read_request(&mut BufReader::new(stream)) else {
        return;
    };
    known.lock().expect("unpoisoned").push(asked.clone());
    let answer = answer(&asked);
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.status != 304 {
        let length = answer.body.len() + answer.missing;
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    let mut stream = stream;
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&answer.body);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn read_request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    let length = asked
        .header("content-length")
        .map_or(0, |length| length.parse().expect("a length is a number"));
    asked.body.resize(length, 0);
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

/// Runs git-http-backend(1) as a CGI program (RFC 3875).
fn git_backend(root: &Path, asked: &Asked) -> Answer {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &asked.method)
        .env(
            "CONTENT_TYPE",
            asked.header("content-type").unwrap_or_default(),
        )
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env(
            "GIT_PROTOCOL",
            asked.header("git-protocol").unwrap_or_default(),
        )
        .env(
            "HTTP_CONTENT_ENCODING",
            asked.header("content-encoding").unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("git runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(&asked.body).expect("git reads");
    drop(stdin);
    let mut output = Vec::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_end(&mut output).expect("git answers");
    child.wait().expect("git ends");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("headers end");
    let mut answer = Answer::ok(&output[end + 4..]);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => answer.status = status[..3].parse().expect("a status"),
            Some(("Content-Type", kind)) => answer = answer.with("Content-Type", kind),
            _ => {}
        }
    }
    answer
}

/// git-daemon(1) on a port of its own, until dropped.
pub(crate) struct GitDaemon {
    port: u16,
    process: Child,
}

impl GitDaemon {
    pub(crate) fn start(root: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let base = format!("--base-path={}", root.display());
        let process = Command::new("git")
            .args([
                "daemon",
                "--reuseaddr",
                "--export-all",
                "--listen=127.0.0.1",
                &base,
            ])
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("git runs");
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { port, process }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("git://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        // Git starts the daemon as a process of its own.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}

/// Repositories `main.git` and `sub.git` below a directory: `main.git` has branches `main` and
/// `other`, an annotated tag `v1`, a light one `light`, and the other repository as a submodule.
pub(crate) fn repositories(root: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&root).expect("a directory");
    let script = "
        export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE=@1600000000+0000 GIT_COMMITTER_DATE=@1600000000+0000
        export GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=e
        git init -q -b main sub && cd sub && echo sub >file && git add . && git commit -qm sub && cd ..
        git clone -q --bare sub sub.git
        git init -q -b main main && cd main
        mkdir -p dir/deep && echo one >one && echo deep >dir/deep/file && printf '#!/bin/sh\\n' >run && chmod 755 run
        ln -s dir link && ln -s ../../../etc out
        printf 'FROM scratch\\nCOPY . /all/\\n' >Dockerfile && printf 'one\\n' >.dockerignore
        git -c protocol.file.allow=always submodule add -q ../sub.git module
        git config -f .gitmodules submodule.module.url ../sub.git
        git add . && git commit -qm first && git tag light && git tag -a v1 -m v1
        git checkout -qb other && echo two >two && git add . && git commit -qm second
        git checkout -q main && echo three >three && git add . && git commit -qm third && cd ..
        git clone -q --bare main main.git
    ";
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(&root);
    crate::bench::output(&mut command);
    root
}
