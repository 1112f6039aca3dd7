//! The same image, bit for bit, on any day and any machine: `--reproducible` and `SOURCE_DATE_EPOCH`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;
use crate::rootless::User;

/// All that a build has a time, an order or a name of its own for.
const APP: &str = r#"# syntax=docker/dockerfile:1
FROM base AS build
WORKDIR /src/deep
COPY package .
RUN --mount=type=cache,target=/root/.cache/tool date +%N >>/root/.cache/tool/log && seq 1 400000 >numbers
COPY . .
RUN <<EOF
set -e
mkdir -p /out/many /out/links
for i in $(seq 1 300); do echo $i >/out/many/file$i; done
cp -a /src/deep/package /out/package
for i in z m a; do echo linked >/out/links/$i-first; ln /out/links/$i-first /out/links/b-$i; ln /out/links/$i-first /out/$i; done
ln -s many /out/soft
mkfifo /out/pipe
EOF

FROM base
COPY --from=build /out /app
COPY --chown=1000:1001 --chmod=640 linked /linked/
ADD archive.tar /unpacked/
COPY <<one <<two /inline/
first
one
second
two
WORKDIR /made/by/workdir
RUN rm -r /var/lib && cat /etc/passwd >/tmp/passwd && cp /tmp/passwd /etc/passwd && echo same >/same
RUN echo same >/same && mkdir /etc/new && touch /app/many/file7 && mv /app/links /app/moved && mkdir /app/links
COPY package /same-again/
COPY package /same-again/
LABEL made=here
USER 1000
CMD ["cat", "/same"]
"#;

/// The context, with the files made in this order, and their times.
fn context(bench: &Bench, order: &str, time: &str) {
    bench.file("Dockerfile", APP);
    bench.file(".dockerignore", "ignored\nout*\n");
    bench.shell(&format!(
        "umask 022
        mkdir linked archive src
        for name in {order}; do
            echo $name >src/$name; echo linked >linked/$name; echo $name >ignored-$name
        done
        echo one >linked/one; for name in {order}; do ln linked/one linked/hard-$name; done
        echo package >package; touch -d @1234567890 archive; echo x >archive/x; ln archive/x archive/y
        touch -d @1234567890 archive/x
        tar --sort=name --owner=7 --group=8 -cf archive.tar archive; rm -r archive
        find . -exec touch -h -d '{time}' {{}} +"
    ));
}

/// Where and when a build takes place.
struct Circumstances {
    order: &'static str,
    time: &'static str,
    umask: &'static str,
    zone: &'static str,
    processors: &'static str,
}

const HERE: Circumstances = Circumstances {
    order: "a b c d e f g",
    time: "2003-03-03",
    umask: "022",
    zone: "UTC",
    processors: "0-1",
};
const ELSEWHERE: Circumstances = Circumstances {
    order: "g c e a f b d",
    time: "now",
    umask: "077",
    zone: "Asia/Tokyo",
    processors: "0",
};

/// What outputs there are, by their names.
const OUTPUTS: [(&str, &str); 11] = [
    ("oci.tar", "type=oci"),
    ("none.tar", "type=oci,compression=uncompressed"),
    ("gzip1.tar", "type=oci,compression=gzip,compression-level=1"),
    ("gzip6.tar", "type=oci,compression=gzip,compression-level=6"),
    ("gzip9.tar", "type=oci,compression=gzip,compression-level=9"),
    ("zstd1.tar", "type=oci,compression=zstd,compression-level=1"),
    ("zstd6.tar", "type=oci,compression=zstd,compression-level=6"),
    ("zstd9.tar", "type=oci,compression=zstd,compression-level=9"),
    ("layout", "type=oci,tar=false"),
    ("files.tar", "type=tar"),
    ("files", "type=local"),
];

/// Builds into all outputs and gives the digest of each.
fn build(bench: &Bench, how: &Circumstances, line: &str) -> BTreeMap<String, String> {
    let kiln = bench.command(line);
    let mut command = Command::new("taskset");
    command
        .args(["-c", how.processors, "sh", "-c"])
        .arg(format!("umask {}; exec \"$@\"", how.umask))
        .args(["sh"])
        .arg(kiln.get_program())
        .args(kiln.get_args());
    for (name, attributes) in OUTPUTS {
        let place = bench.path(name);
        command.args(["-o", &format!("{attributes},dest={}", text(&place))]);
    }
    let metadata = bench.path("metadata.json");
    command.args(["-o", "type=image", "-t", "app:1", "--metadata-file"]);
    command.arg(&metadata).current_dir(bench.path(""));
    let variables = kiln
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    command.envs(variables).env("TZ", how.zone);
    Finished::of(&mut command).assert_well();
    let mut digests: BTreeMap<String, String> = OUTPUTS
        .iter()
        .map(|(name, _)| ((*name).to_owned(), digest(&bench.path(name))))
        .collect();
    let metadata = fs::read(&metadata).expect("it was written");
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    let image = metadata["containerimage.digest"].to_string();
    digests.insert("image".to_owned(), image);
    digests
}

/// Of a layout, names and bytes; of another directory, all that a tar can say of what is in it.
fn digest(path: &Path) -> String {
    if path.is_dir() {
        let script = match path.join("oci-layout").exists() {
            true => "find . -type f | sort | xargs sha256sum | sha256sum",
            false => "tar --sort=name --numeric-owner -cf - $(ls -A) | sha256sum",
        };
        let mut command = Command::new("bash");
        let command = command.args(["-euc", script]).current_dir(path);
        return crate::bench::output(command);
    }
    let bytes = fs::read(path).expect("it was written");
    format!("{:x?}", Sha256::digest(bytes))
}

/// So that the next build's clock shows another second.
fn wait_for_another_second() {
    let begun = SystemTime::now();
    while begun
        .elapsed()
        .is_ok_and(|elapsed| elapsed < Duration::from_millis(1100))
    {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    let differ = |name: &&String| one[*name] != other[*name];
    let different: Vec<&String> = one.keys().filter(differ).collect();
    assert!(different.is_empty(), "these differ: {different:?}");
}

#[test]
fn two_builds_on_two_stores_are_the_same_to_the_bit() {
    for line in ["--reproducible", "--build-arg SOURCE_DATE_EPOCH=1600000000"] {
        let (one, other) = (Bench::new(), Bench::new());
        context(&one, HERE.order, HERE.time);
        let first = build(&one, &HERE, line);
        wait_for_another_second();
        context(&other, ELSEWHERE.order, ELSEWHERE.time);
        let second = build(&other, &ELSEWHERE, line);
        assert_same(&first, &second);
    }
}

/// What the cache has of other days must not show.
#[test]
fn a_build_from_an_old_cache_is_the_same_to_the_bit() {
    let (one, other) = (Bench::new(), Bench::new());
    context(&one, HERE.order, "2001-01-01");
    one.file("src/a", "another");
    one.build("");
    wait_for_another_second();
    // The copies of package come from the cache, those of the rest do not.
    one.file("src/a", "a\n");
    one.shell("find . -exec touch -h -d @1500000000 {} +");
    let first = build(&one, &HERE, "--reproducible");
    let again = build(&one, &ELSEWHERE, "--reproducible");
    assert_same(&first, &again);
    context(&other, ELSEWHERE.order, ELSEWHERE.time);
    let second = build(&other, &ELSEWHERE, "--reproducible");
    assert_same(&first, &second);
}

#[test]
fn root_and_a_user_make_the_same_image() {
    let user = User::new(base::small(), APP);
    context(&user.bench, HERE.order, HERE.time);
    run("chmod", &["-R", "a+rX", text(&user.bench.context(""))]);
    let mut digests = Vec::new();
    for (name, by_user) in [("home/user.tar", true), ("root.tar", false)] {
        let place = user.bench.path(name);
        let line = format!("--reproducible -o type=oci,dest={}", text(&place));
        match by_user {
            true => user.build(&line).assert_well(),
            false => user.bench.build(&line).assert_well(),
        }
        digests.push(digest(&place));
    }
    assert_eq!(digests[0], digests[1]);
}

/// A layer that the store has for another reason than that it was pulled travels as it was pulled.
#[test]
fn a_base_image_travels_as_it_came_though_its_layers_are_there() {
    let dockerfile = "FROM base\nRUN seq 1 100000 >/numbers\n";
    let (maker, publisher) = (Bench::with(dockerfile), Bench::with(dockerfile));
    let layout = publisher.path("made");
    publisher.build(&format!(
        "-t made:1 --reproducible -o type=oci,tar=false,compression-level=1,dest={}",
        text(&layout)
    ));
    maker.build("-t made:1 --reproducible");
    let other = Bench::new();
    let mut seen = Vec::new();
    for bench in [&maker, &other] {
        bench.file("Dockerfile", "FROM made\nRUN echo x >/x\n");
        let place = bench.path("image.tar");
        let line = format!(
            "--build-context made=oci-layout://{} --reproducible -o type=oci,dest={}",
            text(&layout),
            text(&place)
        );
        bench.build(&line);
        seen.push(digest(&place));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn the_time_is_the_one_that_is_set_or_else_always_the_same() {
    let bench =
        Bench::with("FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/time\n");
    let cases = [
        ("--reproducible", "315619200"),
        ("--reproducible --build-arg SOURCE_DATE_EPOCH=7", "7"),
        (
            "--reproducible --build-arg SOURCE_DATE_EPOCH=context",
            "315619200",
        ),
        ("", ""),
    ];
    for (line, time) in cases {
        assert_eq!(bench.text("time", line).trim(), time, "{line}");
    }
    bench.file("Dockerfile", "ARG SOURCE_DATE_EPOCH=8\nFROM base\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/time\n");
    assert_eq!(bench.text("time", "--reproducible").trim(), "8");
}

#[test]
fn own_times_and_reproducible_images_exclude_each_other() {
    let bench = Bench::with("FROM base\n");
    let line = "--reproducible -o type=oci,dest=x,rewrite-timestamp=false";
    bench.refused(
        line,
        2,
        &["rewrite-timestamp cannot be chosen with --reproducible"],
    );
}
