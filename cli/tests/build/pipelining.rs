//! What is done behind the steps, and what steps must not see of it: layers compressed while later steps
//! run, bytes that several layers share.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bench::{Bench, text};
use crate::machine;

/// Waits, for a minute at most, until the test says that it has seen enough.
const WAITING: &str = "RUN --mount=type=cache,id=signal,target=/signal \
    i=0; until test -e /signal/go; do sleep 0.05; i=$((i+1)); test $i -lt 1200; done\n";
/// More than the base image has.
const BIG: usize = 9 << 20;

#[test]
fn layers_are_compressed_while_later_steps_run() {
    for (compression, magic) in [("gzip", &b"\x1f\x8b"[..]), ("zstd", b"\x28\xb5\x2f\xfd")] {
        for step in ["COPY big /\n", "RUN head -c 9437184 /dev/urandom >/big\n"] {
            let bench = Bench::with(&format!("FROM base\n{step}{WAITING}"));
            bench.file("big", vec![b'x'; BIG]);
            let line = format!(
                "--output type=oci,dest={},compression={compression}",
                text(&bench.path("out.tar"))
            );
            let mut command = bench.command(&line);
            let mut build = command.stderr(Stdio::null()).spawn().expect("kiln runs");
            let layer = within_a_minute(|| compressed_layer(&bench.store(), compression, magic));
            let signal = within_a_minute(|| cache_files(&bench.store()));
            fs::write(signal.join("go"), "").expect("writable");
            assert!(build.wait().expect("it was started").success());
            // The image has that very blob.
            let name = layer.file_name().expect("a blob").to_string_lossy();
            let listed = bench.shell("tar -tf ../out.tar");
            assert!(listed.contains(&*name), "{listed}");
            machine::assert_clean(&bench.store());
        }
    }
}

fn within_a_minute<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "it does not come"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A blob of the store that is compressed so and as large as the layer that the test made.
fn compressed_layer(store: &Path, tool: &str, magic: &[u8]) -> Option<PathBuf> {
    let blobs = fs::read_dir(store.join("blobs/sha256")).ok()?;
    let paths = blobs.map(|entry| entry.expect("readable").path());
    let mut compressed = paths.filter(|path| {
        let mut start = vec![0; magic.len()];
        let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == magic
    });
    compressed.find(|path| {
        let mut command = std::process::Command::new(tool);
        let output = command.args(["-dc", text(path)]).output();
        output.expect("it runs").stdout.len() > BIG
    })
}

fn cache_files(store: &Path) -> Option<PathBuf> {
    let caches = fs::read_dir(store.join("cache-mounts")).ok()?;
    let mut files = caches.map(|entry| entry.expect("readable").path().join("files"));
    files.find(|path| path.exists())
}

/// Steps must not see what else a store holds: neither by a count of links, nor by files of two layers that
/// look like one.
#[test]
fn files_of_different_layers_are_different_files() {
    let bench = Bench::with(
        "FROM base AS build
RUN mkdir /app; echo hi >/app/a; ln /app/a /app/b; echo 1 >/app/f
FROM build
RUN echo other >/app/new; mv /app/new /app/a
COPY --from=build /app/a /app/a
RUN echo changed >>/app/a
",
    );
    bench.build("");
    assert_eq!(bench.text("app/b", ""), "hi\n");
    assert_eq!(bench.text("app/a", ""), "hi\nchanged\n");
    let stage = "FROM base\nCOPY a /a\nRUN test $(find /a -type f -links +1 | wc -l) = 0\n";
    bench.file("Dockerfile", stage);
    bench.file("a/same", "same\n");
    for content in ["1\n", "2\n", "3\n"] {
        bench.file("a/changed", content);
        assert_eq!(bench.build("").ran().len(), 2);
    }
}

#[test]
fn directories_are_copied_one_over_the_other() {
    let bench = Bench::with("FROM scratch\nCOPY a b f /all/\nCOPY b/ /\nCOPY a /all\n");
    bench.shell(
        "mkdir -p a/d b/d b/e; echo a >a/d/x; echo a >a/y; echo b >b/d/x; echo b >b/e/z; \
         ln b/e/z b/hard; echo f >f",
    );
    let out = bench.files("out", "");
    let listed = |script: &str| {
        let script = format!("cd {}; {script}", text(&out));
        bench.shell(&script)
    };
    assert_eq!(
        listed("find . -type f | LC_ALL=C sort | xargs grep -H ."),
        "./all/d/x:a\n./all/e/z:b\n./all/f:f\n./all/hard:b\n./all/y:a\n./d/x:b\n./e/z:b\n./hard:b\n"
    );
    assert_eq!(listed("stat -c %h hard all/hard"), "2\n2\n");
}
