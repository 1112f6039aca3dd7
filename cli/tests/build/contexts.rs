//! Contexts that are no directory: repositories, archives and Dockerfiles from elsewhere, and named
//! ones; and archives that mean harm.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::base;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;
use crate::listing::of_directory;
use crate::rootless::User;
use crate::servers::{Answer, GitDaemon, HttpServer, repositories};

/// Builds from a context that is written as on the command line, with standard input if there is any,
/// and lists what came out.
#[track_caller]
fn built(bench: &Bench, context: &str, line: &str, stdin: Option<&Path>) -> Vec<String> {
    let out = bench.path("out");
    let finished = build(bench, context, &format!("{line} -o {}", text(&out)), stdin);
    finished.assert_well();
    let names = of_directory(&out).into_keys().collect();
    fs::remove_dir_all(out).expect("removable");
    names
}

fn build(bench: &Bench, context: &str, line: &str, stdin: Option<&Path>) -> Finished {
    let mut command = bench.kiln();
    command.args(["build", "--progress=rawjson"]);
    command.args(line.split_whitespace()).arg(context);
    if let Some(path) = stdin {
        command.stdin(File::open(path).expect("it was written"));
    }
    Finished::of(&mut command)
}

#[test]
fn repositories_as_contexts() {
    let bench = Bench::new();
    let daemon = GitDaemon::start(&repositories(bench.path("repositories")));
    let remote = daemon.url("/main.git");
    let files = built(&bench, &format!("{remote}#v1"), "", None);
    // The ignore file of a repository ignores nothing.
    assert!(files.contains(&"all/one".to_owned()), "{files:?}");
    assert!(files.contains(&"all/module/file".to_owned()), "{files:?}");
    bench.file("D", "FROM scratch\nCOPY deep /d\n");
    let stdin = bench.context("D");
    let files = built(&bench, &format!("{remote}#v1:dir"), "-f -", Some(&stdin));
    assert_eq!(files, ["d", "d/file"]);
    let refused = build(&bench, &format!("{remote}#nope"), "", None);
    refused.assert_failed(1, &["nope"]);
    let line = "--build-arg SOURCE_DATE_EPOCH=context -o type=oci,tar=false,dest=l -t x:1";
    build(&bench, &format!("{remote}#v1"), line, None).assert_well();
    let layout = format!("oci:{}:1", text(&bench.path("l")));
    let config = run("skopeo", &["inspect", "--config", &layout]);
    assert!(
        config.contains("\"created\": \"2020-09-13T12:26:40Z\""),
        "{config}"
    );
}

#[test]
fn archives_and_dockerfiles_as_contexts() {
    let bench = Bench::new();
    bench.file("c/Dockerfile", "FROM scratch\nCOPY . /x/\n");
    bench.file("c/other", "FROM scratch\nCOPY f /y\n");
    bench.file("c/f", "f");
    bench.file("plain", "FROM scratch\nCOPY <<E /inline\nx\nE\n");
    bench.file("whole", "FROM scratch\nCOPY . /q/\n");
    bench.shell("tar -C c -cf a.tar .; gzip -k a.tar; xz -k a.tar; zstd -q a.tar; bzip2 -k a.tar 2>/dev/null || true");
    let all = ["x", "x/Dockerfile", "x/f", "x/other"];
    let root = bench.context("");
    let server = HttpServer::start(move |asked| {
        Answer::ok(fs::read(root.join(&asked.target[1..])).expect("it was written"))
    });
    for name in ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst"] {
        let path = bench.context(name);
        assert_eq!(built(&bench, "-", "", Some(&path)), all, "{name}");
        assert_eq!(
            built(&bench, &server.url(&format!("/{name}")), "", None),
            all,
            "{name}"
        );
        assert_eq!(built(&bench, "-", "-f other", Some(&path)), ["y"], "{name}");
    }
    assert_eq!(
        built(&bench, "-", "", Some(&bench.context("plain"))),
        ["inline"]
    );
    let files = built(&bench, &server.url("/whole"), "", None);
    assert_eq!(files, ["q", "q/context"]);
    let line = format!("-f {}", server.url("/plain"));
    assert_eq!(
        built(&bench, text(&bench.context("c")), &line, None),
        ["inline"]
    );
    let empty = bench.file("empty", "");
    build(&bench, "-", "", Some(&empty)).assert_failed(1, &["standard input is empty"]);
    let path = bench.context("plain");
    build(&bench, "-", "-f other", Some(&path)).assert_failed(1, &["--file names another"]);
}

/// What `kiln check` says about a context, with its exit code.
fn checked(
    bench: &Bench,
    context: &str,
    line: &str,
    stdin: Option<&Path>,
) -> (Option<i32>, String) {
    let mut command = bench.kiln();
    command.args(["check", "--offline"]);
    command.args(line.split_whitespace()).arg(context);
    if let Some(path) = stdin {
        command.stdin(File::open(path).expect("it was written"));
    }
    let output = command.output().expect("the program runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

#[test]
fn a_check_reads_the_contexts_that_a_build_reads() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let daemon = GitDaemon::start(&root);
    let remote = daemon.url("/main.git");
    bench.file("c/Dockerfile", "FROM scratch\nCOPY $mising /x\n");
    bench.file("c/sub/Dockerfile", "FROM scratch\nCOPPY a b\n");
    bench.file("c/dir/file", "x");
    bench.shell("tar -C c -czf a.tgz .");
    let archive = bench.context("a.tgz");
    let alone = bench.context("c/sub/Dockerfile");
    let served = bench.context("");
    let server = HttpServer::start(move |asked| {
        Answer::ok(fs::read(served.join(&asked.target[1..])).expect("it was written"))
    });
    let directory = bench.context("c");
    let tagged = format!("{remote}#v1");
    let (of_archive, of_file) = (server.url("/a.tgz"), server.url("/c/sub/Dockerfile"));
    let addressed = format!("-f {of_file}");
    let (undefined, unknown) = ("nothing defines the variable $mising", "COPPY");
    let cases: [(&str, &str, Option<&PathBuf>, i32, &str); 11] = [
        (&tagged, "", None, 0, ""),
        (&tagged, "-f -", Some(&alone), 1, unknown),
        (&of_archive, "", None, 1, undefined),
        (&of_archive, "-f sub/Dockerfile", None, 1, unknown),
        (&of_archive, "--fail-on error", None, 0, undefined),
        (&of_file, "", None, 1, unknown),
        ("-", "", Some(&archive), 1, undefined),
        ("-", "-f sub/Dockerfile", Some(&archive), 1, unknown),
        ("-", "", Some(&alone), 1, unknown),
        (text(&directory), &addressed, None, 1, unknown),
        ("-", "-f other", Some(&alone), 1, "--file names another"),
    ];
    for (context, line, stdin, code, said) in cases {
        let stdin = stdin.map(PathBuf::as_path);
        let (found, answer) = checked(&bench, context, line, stdin);
        assert_eq!(found, Some(code), "{context} {line}: {answer}");
        assert!(answer.contains(said), "{context} {line}: {answer}");
    }
    let (code, answer) = checked(&bench, &format!("{remote}#nope"), "", None);
    assert_eq!(code, Some(1));
    assert!(answer.contains("nope"), "{answer}");
    let mut outline = bench.kiln();
    outline.args(["build", "--call=targets", &of_archive]);
    let output = outline.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn named_contexts_from_other_machines() {
    let bench = Bench::new();
    let daemon = GitDaemon::start(&repositories(bench.path("repositories")));
    let server = HttpServer::start(|_| Answer::ok("x"));
    bench.file("Dockerfile", "FROM r AS s\nCOPY --from=h . /h/\nFROM scratch\nCOPY --from=s /h /h\nCOPY --from=stage /one /o\n");
    let line = format!(
        "--build-context r={0} --build-context stage={0}#v1 --build-context h={1}",
        daemon.url("/main.git"),
        server.url("/f")
    );
    let files = of_directory(&bench.files("o", &line));
    assert_eq!(
        files.into_keys().collect::<Vec<_>>(),
        ["h", "h/context", "o"]
    );
    bench
        .try_build("--build-context x=target:y")
        .assert_failed(2, &["bake"]);
    bench.file("plain", "no directory");
    let file = text(&bench.context("plain")).to_owned();
    for wrong in [file.as_str(), "/nowhere/at/all"] {
        bench
            .try_build(&format!("{line} --build-context x={wrong}"))
            .assert_failed(1, &["the build context x", wrong]);
    }
}

/// Nothing that an archive holds gets out of it.
#[test]
fn archives_that_mean_harm() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    let cases = [
        ("../evil", None),
        (
            "l/evil",
            Some(("l", tar::EntryType::Symlink, text(&outside))),
        ),
        ("f", Some(("h", tar::EntryType::Link, "../../etc/passwd"))),
    ];
    for (name, link) in cases {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind, target: &str, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            // The library itself refuses what this is about.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, data).expect("memory");
        };
        let dockerfile = b"FROM scratch\nCOPY . /x/\n";
        add("Dockerfile", tar::EntryType::Regular, "", dockerfile);
        if let Some((name, kind, target)) = link {
            add(name, kind, target, b"");
        }
        add(name, tar::EntryType::Regular, "", b"evil");
        let path = bench.file("evil.tar", builder.into_inner().expect("memory"));
        build(&bench, "-", "-o type=tar,dest=o.tar", Some(&path)).assert_failed(1, &["cannot"]);
    }
    assert!(!outside.exists() && !bench.path("evil").exists());
}

#[test]
fn what_a_user_may_not_read_is_named_and_can_be_left_out() {
    let user = User::new(base::small(), "FROM scratch\nCOPY . /x\n");
    let bench = &user.bench;
    bench.file("secret", "secret");
    bench.file("closed/file", "closed");
    run("chmod", &["-R", "a+rX", text(&bench.context(""))]);
    for name in ["secret", "closed"] {
        run("chmod", &["000", text(&bench.context(name))]);
        let path = bench.context(name).display().to_string();
        let hint = "make it readable, or leave it out with .dockerignore";
        user.build("")
            .assert_failed(1, &[&path, "ermission denied", hint]);
        bench.file(".dockerignore", name);
        user.build("").assert_well();
        bench.file(".dockerignore", "");
        run("chmod", &["755", text(&bench.context(name))]);
    }
}

/// The key tells what the file was; the layer must not hold something else.
#[test]
fn a_file_that_changes_while_a_build_runs_is_an_error_and_never_cached() {
    let bench = Bench::with("FROM base\nRUN echo begun; sleep 1\nCOPY f other /\nRUN cat /f\n");
    bench.file("f", "before");
    bench.file("other", "other");
    let mut command = bench.command("");
    let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("kiln runs");
    // The step sleeps when the context was looked at.
    let logs = || Finished::of(bench.kiln().args(["builds", "logs"])).stdout;
    let began = std::time::Instant::now();
    while !logs().starts_with(b"==>") {
        assert!(began.elapsed().as_secs() < 60, "it never began");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bench.file("f", "after!");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("changed while it was being read"), "{said}");
    assert!(said.contains(text(&bench.context("f"))), "{said}");
    assert_eq!(bench.text("f", ""), "after!");
    bench.file("f", "before");
    assert_eq!(bench.text("f", ""), "before");
}
