//! ADD from http: names, modes and times, what is asked for again, and what goes wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use crate::bench::Bench;
use crate::listing::of_directory;
use crate::servers::{Answer, Asked, HttpServer};

/// `Last-Modified` of most files here, and what it is in seconds.
const MODIFIED: (&str, i64) = ("Thu, 02 Jan 2020 03:04:05 GMT", 1_577_934_245);

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = packed_writer();
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(packed_writer());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o640);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(1_500_000_000);
    builder
        .append_data(&mut header, "d/file", &b"tar"[..])
        .expect("memory");
    builder
        .into_inner()
        .expect("memory")
        .finish()
        .expect("memory")
}

fn packed_writer() -> flate2::write::GzEncoder<Vec<u8>> {
    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default())
}

fn answer(asked: &Asked) -> Answer {
    let path = asked.target.split('?').next().unwrap_or_default();
    match path {
        "/dated" => Answer::ok("dated\n").with("Last-Modified", MODIFIED.0),
        "/elsewhere" => Answer::status(302).with("Location", "/dated"),
        "/named" => Answer::ok("named\n").with("Content-Disposition", "attachment; filename=x"),
        "/packed" => Answer::ok(packed(b"packed\n")).with("Content-Encoding", "gzip"),
        "/a.tar.gz" => Answer::ok(archive()),
        "/loop" => Answer::status(302).with("Location", "/loop"),
        "/gone" => Answer::status(404),
        "/broken" => Answer::status(501),
        "/cut" => Answer {
            missing: 1000,
            ..Answer::ok("cut")
        },
        "/ftp" => Answer::status(302).with("Location", "ftp://127.0.0.1/x"),
        _ => Answer::ok(format!("{path}\n")),
    }
}

#[test]
fn files_get_their_names_modes_and_times_as_from_buildkit() {
    let server = HttpServer::start(answer);
    let bench = Bench::new();
    bench.file("local", "local\n");
    let at = |path: &str| server.url(path);
    bench.file(
        "Dockerfile",
        format!(
            "FROM scratch\nWORKDIR /w\nADD {} .\nADD {} other\nADD {} local {} /multi/\nADD {} /r/\n\
             ADD --chown=7:8 --chmod=u+x,g=r {} /n/\nADD {} /slash/\nADD {} /p/\nADD {} /tar/\n\
             ADD --unpack --chown=9:9 {} /untar/\nADD --link {} /linked/\n",
            at("/dated"), at("/dated"), at("/undated"), at("/named"), at("/elsewhere"),
            at("/a%20b%2Fc.txt?x=y"), at("/"), at("/packed"), at("/a.tar.gz"), at("/a.tar.gz"),
            at("/wild[1]*"),
        ),
    );
    let files = bench.files("out", "");
    let expected = [
        ("linked", "d 755 0:0"),
        ("linked/wild[1]*", "f 600 0:0 10"),
        ("multi", "d 755 0:0"),
        ("multi/local", "f 644 0:0 6"),
        ("multi/named", "f 600 0:0 6"),
        ("multi/undated", "f 600 0:0 9"),
        ("n", "d 755 7:8"),
        ("n/c.txt", "f 740 7:8 15"),
        ("p", "d 755 0:0"),
        ("p/packed", "f 600 0:0 7"),
        ("r", "d 755 0:0"),
        ("r/elsewhere", "f 600 0:0 6"),
        ("slash", "d 755 0:0"),
        ("slash/__unnamed__", "f 600 0:0 2"),
        ("tar", "d 755 0:0"),
        ("untar", "d 755 9:9"),
        ("untar/d", "d 755 0:0"),
        ("untar/d/file", "f 640 9:9 3"),
        ("w", "d 755 0:0"),
        ("w/dated", "f 600 0:0 6"),
        ("w/other", "f 600 0:0 6"),
    ];
    let mut found = of_directory(&files);
    let archive = found.remove("tar/a.tar.gz").expect("it was copied");
    assert!(archive.starts_with("f 600 0:0 "), "{archive}");
    let expected = expected.map(|(path, line)| (path.to_owned(), line.to_owned()));
    assert_eq!(found, expected.into());
    let time = |name: &str| fs::metadata(files.join(name)).expect(name).mtime();
    assert_eq!(
        ["w/dated", "r/elsewhere", "multi/undated", "untar/d/file"].map(time),
        [MODIFIED.1, MODIFIED.1, 0, 1_500_000_000]
    );
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let server = HttpServer::start(|asked| match asked.target.as_str() {
        "/tag" if asked.header("if-none-match") == Some("\"1\"") => {
            Answer::status(304).with("ETag", "\"1\"")
        }
        "/tag" => Answer::ok("tag").with("ETag", "\"1\""),
        // A server that sends all again although nothing has changed.
        "/deaf" => Answer::ok("deaf").with("ETag", "W/\"1\""),
        "/time" if asked.header("if-modified-since") == Some(MODIFIED.0) => Answer::status(304),
        "/time" => Answer::ok("time")
            .with("Last-Modified", MODIFIED.0)
            .with("Date", "Thu, 02 Jan 2025 03:04:05 GMT"),
        _ => Answer::ok("always"),
    });
    let bench = Bench::new();
    let lines =
        ["/tag", "/deaf", "/time", "/always"].map(|path| format!("ADD {} /\n", server.url(path)));
    bench.file("Dockerfile", format!("FROM scratch\n{}", lines.concat()));
    bench.build("");
    server.asked();
    let again = bench.build("");
    assert_eq!(again.ran(), [""; 0]);
    assert_eq!(
        server.asked().len(),
        4,
        "each is asked once, and none twice"
    );
    // Another store knows nothing, and comes to the same.
    let other = Bench::new();
    fs::copy(bench.context("Dockerfile"), other.context("Dockerfile")).expect("copied");
    assert_eq!(
        of_directory(&other.files("o", "")),
        of_directory(&bench.files("o", ""))
    );
}

#[test]
fn a_changed_file_is_a_change_and_another_time_is_none() {
    let server = HttpServer::start({
        let count = std::sync::atomic::AtomicU32::new(0);
        move |asked| {
            let now = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match asked.target.as_str() {
                "/content" => Answer::ok(format!("{now}")),
                _ => Answer::ok("same").with("Last-Modified", MODIFIED.0),
            }
        }
    });
    let bench = Bench::new();
    bench.file(
        "Dockerfile",
        format!(
            "FROM base\nADD {} /same\nRUN cat /same\n",
            server.url("/same")
        ),
    );
    bench.build("");
    assert_eq!(bench.build("").ran(), [""; 0]);
    let dockerfile = format!("FROM base\nADD {} /c\nRUN cat /c\n", server.url("/content"));
    bench.file("Dockerfile", dockerfile);
    bench.build("");
    assert_eq!(bench.build("").ran().len(), 2);
}

#[test]
fn with_a_checksum_the_store_is_enough() {
    let server = HttpServer::start(answer);
    let bench = Bench::new();
    let digest = "sha256:dacf36547c7774a0a170806363b5d412991fbc0d6260b2c00b1d3a80a816c23f";
    let dockerfile = format!(
        "FROM scratch\nADD --checksum={digest} {} /f\n",
        server.url("/plain")
    );
    bench.file("Dockerfile", dockerfile);
    bench.refused("", 1, &["digest mismatch", digest]);
    let server = HttpServer::start(|_| Answer::ok("plain\n"));
    let dockerfile = format!(
        "FROM scratch\nADD --checksum={digest} {} /f\n",
        server.url("/plain")
    );
    bench.file("Dockerfile", &dockerfile);
    bench.build("");
    assert_eq!(server.asked().len(), 1);
    bench.build("");
    bench.file("Dockerfile", dockerfile.replace("/f\n", "/g\n"));
    bench.build("");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn what_cannot_be_fetched_is_said_beside_its_line() {
    let server = HttpServer::start(answer);
    let bench = Bench::new();
    let cases: [(&str, &[&str]); 6] = [
        ("/gone", &["404", "not found"]),
        ("/broken", &["501"]),
        ("/loop", &["too many redirects"]),
        ("/cut", &["end of file before message length reached"]),
        ("/ftp", &["redirects", "ftp://"]),
        ("/a%00b", &["no file can be named"]),
    ];
    for (path, parts) in cases {
        bench.file(
            "Dockerfile",
            format!("FROM scratch\nADD {} /x\n", server.url(path)),
        );
        bench.refused("", 1, &[parts, &["Dockerfile:2:5"]].concat());
    }
    bench.file("Dockerfile", "FROM scratch\nADD http://127.0.0.1:1/x /x\n");
    bench.refused("", 1, &["Connection refused"]);
}

#[test]
fn a_server_may_ask_who_it_is() {
    let server = HttpServer::start(|asked| match asked.header("authorization") {
        Some("Bearer token") => Answer::ok("secret\n"),
        _ => Answer::status(401),
    });
    let bench = Bench::new();
    bench.file(
        "Dockerfile",
        format!("FROM scratch\nADD {} /x\n", server.url("/x")),
    );
    bench.refused("", 1, &["401", "HTTP_AUTH_TOKEN_"]);
    bench.file("token", "token\n");
    let secret = format!(
        "--secret id=HTTP_AUTH_TOKEN_127.0.0.1,src={}",
        bench.context("token").display()
    );
    assert_eq!(bench.text("x", &secret), "secret\n");
}

#[test]
fn a_large_file_takes_no_more_memory() {
    let server = HttpServer::start(|_| Answer::ok(vec![7; 200 << 20]));
    let bench = Bench::new();
    bench.file(
        "Dockerfile",
        format!("FROM scratch\nADD {} /x\n", server.url("/x")),
    );
    let mut build = bench.command("");
    let status = build
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = status.spawn().expect("kiln runs");
    let mut most = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(most > 0 && most < 100 << 10, "{most} KiB");
    assert_eq!(
        of_directory(&bench.files("o", ""))["x"],
        "f 600 0:0 209715200"
    );
}
