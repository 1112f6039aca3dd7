//! `kiln cache`: cache mounts are listed and removed, and go from one store to another whole, or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::artifact::Artifact;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;
use crate::peers::Registry;
use crate::prune::assert_whole;
use crate::{listing, machine};

/// Fills a cache with one of everything.
const FILL: &str = "FROM base
RUN --mount=type=cache,id=stuff,target=/c mkdir -p /c/d/e && echo one >/c/d/f && chown 5:6 /c/d/f && chmod 4751 /c/d/f \
 && ln /c/d/f /c/a-hard && ln /c/d/f /c/d/z-hard && ln -s d/f /c/soft && ln -s /etc /c/away && mkfifo /c/pipe && echo x >/c/.wh.literal \
 && : >/c/empty && head -c 700000 /dev/urandom >/c/large && chmod 0700 /c/d/e && chown -h 7:8 /c/soft && chmod 1770 /c
RUN --mount=type=cache,target=/other,uid=1000,gid=50,mode=0700 echo two >/other/f
";

impl Bench {
    /// Another store.
    pub(crate) fn second(&self) -> PathBuf {
        self.path("second")
    }

    pub(crate) fn cache(&self, line: &str) -> Finished {
        let words = line.split_whitespace();
        Finished::of(self.kiln().arg("cache").args(words))
    }

    /// `kiln cache`, which must end well; what it says.
    #[track_caller]
    pub(crate) fn cache_says(&self, line: &str) -> String {
        let finished = self.cache(line);
        finished.assert_well();
        String::from_utf8(finished.stdout).expect("text")
    }
}

/// A store with two caches, of which one has a bit of everything.
pub(crate) fn filled() -> Bench {
    let bench = Bench::with(FILL);
    bench.build("");
    let files = files(&bench.store(), "stuff");
    // Times with nanoseconds, and attributes where the disk has them.
    let time = std::time::UNIX_EPOCH + Duration::new(981_173_106, 123_456_789);
    for name in ["d/f", "empty", "d", "."] {
        let file = File::open(files.join(name)).expect("it is there");
        file.set_modified(time).expect("the time can be set");
    }
    let _ = rustix::fs::setxattr(
        files.join("large"),
        "user.kiln",
        b"value",
        rustix::fs::XattrFlags::empty(),
    );
    bench
}

/// The directory that steps see of a cache.
pub(crate) fn files(store: &Path, id: &str) -> PathBuf {
    let homes = fs::read_dir(store.join("cache-mounts")).expect("there are caches");
    let is_meant = |home: &PathBuf| {
        let found = fs::read_to_string(home.join("id")).expect("it has an id");
        found.trim_start_matches('/') == id
    };
    let mut homes = homes.map(|home| home.expect("readable").path());
    homes.find(is_meant).expect("the cache").join("files")
}

/// Everything of a tree that an export must keep.
fn tree(root: &Path) -> Vec<String> {
    let mut lines = listing::lines(&listing::of_directory(root));
    let found = run("find", &[text(root), "-printf", "%P %m %U:%G %T@ %l\n"]);
    lines.extend(found.lines().map(str::to_owned));
    let large = root.join("large");
    if large.exists() {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&large, "user.kiln", &mut value[..]);
        lines.push(format!(
            "{:?}",
            length.map(|length| value[..length].to_vec())
        ));
        let bytes = fs::read(&large).expect("readable");
        lines.push(kiln_worker::store::sha256(&bytes).to_string());
    }
    lines.sort();
    lines
}

#[test]
fn a_cache_goes_from_one_store_to_another() {
    let bench = filled();
    let expected = tree(&files(&bench.store(), "stuff"));
    for (destination, options) in [
        ("layout", ""),
        ("layout-gzip", "--compression gzip --compression-level 9"),
        ("layout.tar", "--compression uncompressed"),
    ] {
        let place = bench.path(destination);
        let said = bench.cache_says(&format!("export {options} {}", text(&place)));
        assert!(said.contains("exported stuff: "), "{said}");
        let second = bench.second();
        let line = format!("import --root {} {}", text(&second), text(&place));
        let said = bench.cache_says(&line);
        assert!(said.contains("imported /other: "), "{said}");
        assert_eq!(tree(&files(&second, "stuff")), expected, "{destination}");
        bench.file(
            "Dockerfile",
            "FROM base\nRUN --mount=type=cache,id=stuff,target=/c test $(stat -c '%a %u:%g' /c/d/f | tr ' ' _) = 4751_5:6 && test $(stat -c %h /c/d/f) = 3\n\
             RUN --mount=type=cache,target=/other,uid=1000,gid=50,mode=0700 test $(cat /other/f) = two\n",
        );
        bench.build(&format!("--root {}", text(&second)));
        let verify = Finished::of(
            bench
                .kiln()
                .args(["store", "verify", "--root"])
                .arg(&second),
        );
        verify.assert_well();
        machine::assert_clean(&second);
        fs::remove_dir_all(second).expect("removable");
    }
    // Through pipes, and only what was asked for.
    let export = bench
        .kiln()
        .args(["cache", "export", "--id", "/other", "-"])
        .output();
    let archive = export.expect("kiln runs").stdout;
    let mut import = bench.kiln();
    import
        .args(["cache", "import", "-", "--root"])
        .arg(bench.second());
    let mut import = import.stdin(Stdio::piped()).spawn().expect("kiln runs");
    let mut input = import.stdin.take().expect("it is piped");
    input.write_all(&archive).expect("it is read");
    drop(input);
    assert!(import.wait().expect("it was started").success());
    let said = bench.cache_says(&format!("ls -q --root {}", text(&bench.second())));
    assert_eq!(said, "/other\n");
    // The same caches give the same bytes.
    let again = bench.path("again");
    bench.cache_says(&format!("export {}", text(&again)));
    let index = |layout: &Path| fs::read(layout.join("index.json")).expect("an index");
    assert_eq!(index(&again), index(&bench.path("layout")));
}

#[test]
fn other_tools_carry_caches() {
    let bench = filled();
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    let registry = Registry::start();
    let remote = format!("docker://127.0.0.1:{}/caches:main", registry.port);
    let (copied, pulled) = (bench.path("copied"), bench.path("pulled"));
    let local = |path: &Path, tag: &str| format!("oci:{}:{tag}", text(path));
    let copy = |from: &str, to: &str| {
        run(
            "skopeo",
            &[
                "copy",
                "--quiet",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                from,
                to,
            ],
        )
    };
    copy(&local(&layout, "cachemounts"), &local(&copied, "any"));
    copy(&local(&copied, "any"), &remote);
    copy(&remote, &local(&pulled, "latest"));
    let second = bench.second();
    bench.cache_says(&format!(
        "import --root {} {}",
        text(&second),
        text(&pulled)
    ));
    let expected = tree(&files(&bench.store(), "stuff"));
    assert_eq!(tree(&files(&second, "stuff")), expected);
}

#[test]
fn caches_are_listed_and_removed() {
    let bench = filled();
    let said = bench.cache_says("ls");
    assert!(said.starts_with("ID "), "{said}");
    let json = bench.cache_says("ls --format json");
    let rows: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!(rows[0]["ID"], "/other");
    assert_eq!(
        (&rows[0]["Mode"], &rows[0]["Owner"]),
        (&"0700".into(), &"1000:50".into())
    );
    let du = Finished::of(bench.kiln().args(["du", "--verbose", "--format", "json"]));
    let du = String::from_utf8(du.stdout).expect("text");
    let of_du = du
        .lines()
        .find(|line| line.contains(rows[0]["Name"].as_str().expect("a name")));
    let of_du: serde_json::Value =
        serde_json::from_str(of_du.expect("du has it, too")).expect("JSON");
    assert_eq!(
        of_du["bytes"].as_u64().or(of_du["Bytes"].as_u64()),
        rows[0]["Bytes"].as_u64()
    );
    bench
        .cache("rm nonesuch")
        .assert_failed(1, &["there is no cache mount nonesuch"]);
    assert!(bench.cache_says("rm stuff").contains("deleted "));
    assert_eq!(bench.cache_says("ls -q"), "/other\n");
    let store = bench.store().join("cache-mounts");
    assert_eq!(fs::read_dir(store).expect("a directory").count(), 1);
    machine::assert_clean(&bench.store());
}

#[test]
fn what_a_cache_holds_already_is_kept() {
    let bench = filled();
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    let files = files(&bench.store(), "stuff");
    fs::write(files.join("mine"), "mine").expect("writable");
    let said = bench.cache_says(&format!("import {}", text(&layout)));
    assert!(
        said.contains("kept stuff: the store's own is not empty"),
        "{said}"
    );
    assert!(files.join("mine").exists());
    let said = bench.cache_says(&format!("import --replace --id stuff {}", text(&layout)));
    assert!(said.contains("replaced "), "{said}");
    assert!(!files.join("mine").exists() && files.join("d/f").exists());
    bench
        .cache(&format!("import --id nonesuch {}", text(&layout)))
        .assert_failed(1, &["there is no cache mount nonesuch", "/other"]);
    bench
        .cache(&format!(
            "export --id nonesuch {}",
            text(&bench.path("none"))
        ))
        .assert_failed(1, &["there is no cache mount nonesuch", "/other"]);
    assert!(!bench.path("none").exists());
    machine::assert_clean(&bench.store());
}

#[test]
fn devices_and_sockets_are_left_out_and_named() {
    let bench = filled();
    let files = files(&bench.store(), "stuff");
    let _socket = UnixListener::bind(files.join("socket")).expect("a socket");
    run("mknod", &[text(&files.join("null")), "c", "1", "3"]);
    let layout = bench.path("layout");
    let said = bench.cache_says(&format!("export {}", text(&layout)));
    assert!(
        said.contains("left out 2 devices and sockets: null, socket"),
        "{said}"
    );
    bench.cache_says(&format!("import --replace {}", text(&layout)));
    let files = self::files(&bench.store(), "stuff");
    assert!(!files.join("socket").exists() && files.join("pipe").exists());
}

/// Starts a build whose step waits in a cache until `go` is there.
fn holding(bench: &Bench, sharing: &str) -> (Child, PathBuf) {
    bench.file(
        "Dockerfile",
        format!("FROM base\nRUN --mount=type=cache,id=stuff,target=/c,sharing={sharing} touch /c/began; until test -e /c/go; do echo $RANDOM >/c/restless; rm -f /c/passing; echo y >/c/passing; done; rm /c/began\n"),
    );
    let mut command = bench.command("--no-cache");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let files = files(&bench.store(), "stuff");
    for _ in 0..2000 {
        if files.join("began").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(files.join("began").exists());
    (child.expect("kiln runs"), files)
}

#[test]
fn a_cache_is_saved_while_a_build_shares_it() {
    let bench = filled();
    let (mut build, used) = holding(&bench, "shared");
    let layout = bench.path("layout");
    let said = bench.cache_says(&format!("export {}", text(&layout)));
    assert!(said.contains("exported "), "{said}");
    let second = bench.second();
    bench.cache_says(&format!(
        "import --root {} {}",
        text(&second),
        text(&layout)
    ));
    let imported = files(&second, "stuff");
    assert_eq!(
        fs::read(imported.join("large")).ok(),
        fs::read(used.join("large")).ok()
    );
    // The build has it still: prunes leave it, and so does who restores in passing.
    bench
        .cache("rm stuff")
        .assert_failed(1, &["builds use them"]);
    fs::write(used.join("go"), "").expect("writable");
    assert!(build.wait().expect("it was started").success());
    machine::assert_clean(&bench.store());
}

#[test]
fn a_cache_that_a_build_has_for_itself_is_waited_for() {
    let bench = filled();
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    for line in ["export again", "import --replace --id stuff layout"] {
        let (mut build, used) = holding(&bench, "locked");
        let mut waiting = bench.kiln();
        waiting.arg("cache").args(line.split_whitespace());
        waiting.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut waiting = waiting.spawn().expect("kiln runs");
        let mut said = std::io::BufReader::new(waiting.stderr.take().expect("it is piped"));
        let mut first = String::new();
        std::io::BufRead::read_line(&mut said, &mut first).expect("text");
        assert!(first.contains("waiting for the cache"), "{line}: {first}");
        assert!(waiting.try_wait().expect("it was started").is_none());
        fs::write(used.join("go"), "").expect("writable");
        assert!(build.wait().expect("it was started").success());
        assert!(waiting.wait().expect("it was started").success(), "{line}");
        let _ = fs::remove_file(files(&bench.store(), "stuff").join("go"));
    }
    machine::assert_clean(&bench.store());
}

/// What an older Kiln left knows nothing of its owner but can be guessed.
#[test]
fn caches_of_older_versions_are_saved_too() {
    let bench = filled();
    for id in ["stuff", "other"] {
        let identity = files(&bench.store(), id).with_file_name("identity");
        fs::remove_file(identity).expect("it was there");
    }
    let layout = bench.path("layout");
    bench.cache_says(&format!("export {}", text(&layout)));
    assert_eq!(
        Artifact::of(&layout).config()["caches"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_whole(&bench, "after an export");
}

/// What was saved once can be restored for ever.
#[test]
fn the_first_version_of_the_format_is_still_read() {
    let bench = Bench::new();
    let frozen = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../testdata/frozen/cache-mounts-v1.tar"
    );
    bench.cache_says(&format!("import {frozen}"));
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=cache,id=frozen,target=/c,mode=0750,uid=3,gid=4 test $(cat /c/soft) = frozen && test $(stat -c '%u:%g_%h' /c/hard) = 1000:50_2\n",
    );
    bench.build("");
}
