//! ADD from git: which commit, which files, what is kept, what is fetched again, and what is refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::bench::{Bench, output, run, text};
use crate::listing::of_directory;
use crate::servers::{GitDaemon, HttpServer, repositories};

/// What a commit is called.
fn commit(root: &Path, name: &str) -> String {
    let repository = root.join("main.git");
    let arguments = ["-C", text(&repository), "rev-parse", name];
    run("git", &arguments).trim().to_owned()
}

#[test]
fn references_of_all_kinds_lead_to_their_commits() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let daemon = GitDaemon::start(&root);
    let remote = daemon.url("/main.git");
    let first = commit(&root, "light");
    let tag_object = commit(&root, "refs/tags/v1");
    let cases = [
        (String::new(), "three"),
        ("#main".to_owned(), "three"),
        ("#refs/heads/other".to_owned(), "two"),
        ("?branch=other".to_owned(), "two"),
        ("?ref=other".to_owned(), "two"),
        ("#light".to_owned(), "one"),
        ("#v1".to_owned(), "one"),
        ("?tag=v1".to_owned(), "one"),
        (format!("#{first}"), "one"),
        (format!("#{}", &first[..10]), "one"),
        (format!("#{tag_object}"), "one"),
        (format!("?tag=v1&checksum={}", &first[..8]), "one"),
        (format!("?tag=v1&commit={}", &tag_object[..8]), "one"),
        (format!("?fetch-by-commit&checksum={first}"), "one"),
    ];
    for (suffix, newest) in &cases {
        bench.file(
            "Dockerfile",
            format!("FROM scratch\nADD {remote}{suffix} /x/\n"),
        );
        let files = of_directory(&bench.files("out", ""));
        let there = ["one", "two", "three"].map(|name| files.contains_key(&format!("x/{name}")));
        let expected = ["one", "two", "three"].map(|name| name == "one" || name == *newest);
        assert_eq!(there, expected, "{suffix}");
        fs::remove_dir_all(bench.path("out")).expect("removable");
    }
}

#[test]
fn files_are_those_of_the_commit() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let server = HttpServer::of_git(&root, |_| true);
    let remote = server.url("/main.git");
    bench.file(
        "Dockerfile",
        format!(
            "FROM scratch\nADD {remote}?tag=v1&mtime=commit /all\nADD --chown=1:2 {remote}#v1:dir /deep/\n\
             ADD {remote}?tag=v1&subdir=dir/deep&submodules=false /deeper/\n"
        ),
    );
    let files = bench.files("out", "");
    let expected = [
        ("all", "d 755 0:0"),
        ("all/.dockerignore", "f 644 0:0 4"),
        ("all/.gitmodules", "f 644 0:0 54"),
        ("all/Dockerfile", "f 644 0:0 26"),
        ("all/dir", "d 755 0:0"),
        ("all/dir/deep", "d 755 0:0"),
        ("all/dir/deep/file", "f 644 0:0 5"),
        ("all/link", "l 777 0:0 dir"),
        ("all/module", "d 755 0:0"),
        ("all/module/file", "f 644 0:0 4"),
        ("all/one", "f 644 0:0 4"),
        ("all/out", "l 777 0:0 ../../../etc"),
        ("all/run", "f 755 0:0 10"),
        ("deep", "d 755 1:2"),
        ("deep/deep", "d 755 1:2"),
        ("deep/deep/file", "f 644 1:2 5"),
        ("deeper", "d 755 0:0"),
        ("deeper/file", "f 644 0:0 5"),
    ];
    let expected = expected.map(|(path, line)| (path.to_owned(), line.to_owned()));
    assert_eq!(of_directory(&files), expected.into());
    let time = |name: &str| fs::metadata(files.join(name)).expect(name).mtime();
    assert_eq!(time("all/one"), 1_600_000_000);
    assert_eq!(time("all/dir"), 1_600_000_000);
}

#[test]
fn a_kept_repository_is_one() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let daemon = GitDaemon::start(&root);
    let remote = daemon.url("/main.git");
    bench.file(
        "Dockerfile",
        format!("FROM scratch\nADD --keep-git-dir=true {remote}#v1 /tag\nADD {remote}?keep-git-dir&branch=other /branch\nADD --keep-git-dir {remote}#{} /commit\n", commit(&root, "other")),
    );
    let files = bench.files("out", "");
    let git = |directory: &str, arguments: &[&str]| {
        let directory = files.join(directory);
        let safe = ["-c", "safe.directory=*", "-C", text(&directory)];
        run("git", &[&safe[..], arguments].concat())
            .trim()
            .to_owned()
    };
    assert_eq!(git("tag", &["rev-parse", "HEAD"]), commit(&root, "light"));
    assert_eq!(
        git("tag", &["rev-parse", "v1"]),
        commit(&root, "refs/tags/v1")
    );
    assert_eq!(
        git("branch", &["rev-parse", "other"]),
        commit(&root, "other")
    );
    assert_eq!(
        git("commit", &["rev-parse", "HEAD"]),
        commit(&root, "other")
    );
    assert_eq!(git("commit", &["for-each-ref"]), "");
    assert_eq!(git("branch", &["remote", "get-url", "origin"]), remote);
    assert_eq!(git("branch", &["status", "--porcelain"]), "");
    assert_eq!(
        git("branch", &["-C", "module", "status", "--porcelain"]),
        ""
    );
    assert!(!files.join("tag/.git/hooks").exists());
}

#[test]
fn a_second_build_fetches_only_what_is_new() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let server = HttpServer::of_git(&root, |_| true);
    let remote = server.url("/main.git");
    bench.file(
        "Dockerfile",
        format!("FROM base\nADD {remote} /x/\nRUN ls /x\n"),
    );
    bench.build("");
    server.asked();
    assert_eq!(bench.build("").ran(), [""; 0]);
    let fetches = |asked: Vec<crate::servers::Asked>| {
        let packs = asked.iter().filter(|asked| {
            let body = String::from_utf8_lossy(&asked.body);
            body.contains("command=fetch")
        });
        packs.count()
    };
    assert_eq!(fetches(server.asked()), 0);
    // A new commit with the same files: fetched, but nothing behind it runs.
    let work = root.join("main");
    let mut command = Command::new("bash");
    command.current_dir(&work).args(["-euc", "git -c user.name=n -c user.email=e commit -q --allow-empty -m more; git push -q ../main.git main"]);
    output(&mut command);
    let ran = bench.build("").ran();
    assert!(
        !ran.iter()
            .any(|step| step.contains("RUN") || step.contains("ADD")),
        "{ran:?}"
    );
    assert!(fetches(server.asked()) > 0);
    // Its objects were there: the mirror knows both commits and no file twice.
    let mirrors = fs::read_dir(bench.store().join("git")).expect("mirrors");
    assert_eq!(mirrors.count(), 1);
    let mut kiln = bench.kiln();
    output(kiln.args(["prune", "--all", "--force"]));
    let mirrors = fs::read_dir(bench.store().join("git")).expect("a directory");
    assert_eq!(mirrors.count(), 0);
}

#[test]
fn builds_that_start_together_share_a_mirror() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let daemon = GitDaemon::start(&root);
    let remote = daemon.url("/main.git");
    let add = ["v1", "main", "other", "light"].map(|name| format!("ADD {remote}#{name} /{name}\n"));
    bench.file("Dockerfile", format!("FROM scratch\n{}", add.concat()));
    let builds: Vec<_> = (0..4)
        .map(|_| {
            bench
                .command("")
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("kiln runs")
        })
        .collect();
    for build in builds {
        let output = build.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
}

#[test]
fn a_token_opens_a_private_repository() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    // x-access-token:token
    let proof = "basic eC1hY2Nlc3MtdG9rZW46dG9rZW4=";
    let server = HttpServer::of_git(&root, move |asked| {
        asked.header("authorization") == Some(proof)
    });
    let remote = server.url("/main.git");
    bench.file(
        "Dockerfile",
        format!("FROM scratch\nADD {remote}?submodules=0 /x\n"),
    );
    bench.refused("", 1, &["terminal prompts disabled"]);
    bench.file("token", "token\n");
    let file = bench.context("token");
    for name in [
        "GIT_AUTH_TOKEN".to_owned(),
        format!("GIT_AUTH_TOKEN.{}", server.host()),
    ] {
        bench.build(&format!(
            "--secret id={name},src={} --no-cache",
            file.display()
        ));
    }
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused() {
    let bench = Bench::new();
    let root = repositories(bench.path("repositories"));
    let daemon = GitDaemon::start(&root);
    let remote = daemon.url("/main.git");
    let evil = |url: &str, name: &str| {
        let script = format!(
            "git clone -q main {name} && cd {name} && git config -f .gitmodules submodule.module.url '{url}' && \
             git -c user.name=n -c user.email=e commit -qam evil && cd .. && git clone -q --bare {name} {name}.git"
        );
        let mut command = Command::new("bash");
        output(command.current_dir(&root).args(["-euc", &script]));
    };
    evil(text(&root.join("sub.git")), "local");
    evil("ext::sh -c touch% /tmp/kiln-was-here", "command");
    evil("-u./payload", "option");
    evil(&format!("file://{}", text(&root.join("sub.git"))), "file");
    let cases: [(String, &[&str]); 16] = [
        (
            format!("{remote}#nope"),
            &["no branch, tag or commit \"nope\""],
        ),
        (
            format!("{remote}#abcdef0"),
            &["no branch, tag or commit \"abcdef0\""],
        ),
        (format!("{remote}#{}", "0".repeat(40)), &["main.git"]),
        (
            format!("{remote}#main:nope"),
            &["there is no directory /nope"],
        ),
        (
            format!("{remote}#main:link/deep"),
            &["/link is not a directory"],
        ),
        (format!("{remote}#main:out"), &["/out is not a directory"]),
        (
            format!("{remote}#main:../../../etc"),
            &["there is no directory /etc"],
        ),
        (
            format!("{remote}#main:dir/../../../out/../etc"),
            &["there is no directory /etc"],
        ),
        (format!("{remote}#--upload-pack=sh"), &["--upload-pack=sh"]),
        (
            format!("{remote}?ref=--upload-pack=sh"),
            &["--upload-pack=sh"],
        ),
        (daemon.url("/none.git"), &["none.git"]),
        (
            format!("{remote}?tag=v1&checksum=abcdef"),
            &["begins with abcdef"],
        ),
        (daemon.url("/local.git"), &["transport 'file' not allowed"]),
        (daemon.url("/file.git"), &["transport 'file' not allowed"]),
        (daemon.url("/command.git"), &["transport 'ext' not allowed"]),
        (daemon.url("/option.git"), &["option.git"]),
    ];
    for (source, parts) in cases {
        bench.file("Dockerfile", format!("FROM scratch\nADD {source} /x\n"));
        bench.refused("", 1, parts);
    }
    assert!(!Path::new("/tmp/kiln-was-here").exists());
    bench.file("Dockerfile", "FROM scratch\nADD git@127.0.0.1:x.git /x\n");
    bench.refused("", 1, &["--ssh default"]);
    bench.file("Dockerfile", format!("FROM scratch\nCOPY {remote} /x\n"));
    bench.refused("", 1, &["cannot be a source of COPY", "use ADD"]);
}
