//! Two machines that have never met compute the same keys: the same Dockerfile and context in two
//! stores, at two paths, by two users, under another locale, time zone and home, with files that were
//! made in another order, at another time and under another umask.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::base;
use crate::bench::{Bench, output, run, text};
use crate::finished::Finished;
use crate::machine;
use crate::rootless::{ACCOUNT, User, as_user};

/// A bit of everything that a key is made of. What runs yields the same wherever it runs.
const DOCKERFILE: &str = r#"# syntax=docker/dockerfile:1
ARG GREETING=hello
FROM base AS one
ARG GREETING
ENV B=2 A=1
WORKDIR /one
COPY --exclude=*.tmp . all
RUN --mount=target=/context --mount=type=cache,target=/c --mount=type=tmpfs,target=/t \
    --mount=type=secret,id=s --mount=type=secret,id=a,env=SECRET \
    ls -A /context >listed; echo $GREETING $A $B >greeting; chown 7:8 greeting
FROM base AS two
ARG GREETING
ADD packed.tar /packed/
ADD --unpack=false --chmod=600 packed.tar /
COPY <<end /inline
some $GREETING text
end
USER app
WORKDIR own
RUN <<end
id -u >uid
umask >umask
end
FROM base
SHELL ["/bin/sh", "-euc"]
COPY --link --chown=5:6 --from=one /one /one
COPY --from=two /own /packed/ /two/
COPY --parents --chmod=u=rwX,go=rX dir/./deep /parents/
RUN --mount=from=two,target=/m cat /m/own/uid /one/greeting >/sum
HEALTHCHECK CMD true
"#;

/// Makes the context, in some order. What git keeps is the same afterwards: names, bytes, links, and who
/// may execute what.
fn fill(bench: &Bench, umask: &str, order: &str, time: u64) {
    let make = r#"
make() { mkdir -p "$(dirname "$1")"; printf '%s' "$2" >"$1"; }
one() { make 'a file' 'with a blank'; }
two() { make $'\xc3\xa9' 'not ASCII'; make $'\xff' 'not UTF-8'; }
three() { make dir/deep/er/file "$(seq 1000)"; make dir/deep/empty ''; chmod 755 dir/deep/er/file; }
four() { ln -s 'a file' link; ln -s nowhere dir/broken 2>/dev/null || { mkdir -p dir; ln -s nowhere dir/broken; }; }
five() { make Z z; make z Z; make dir.x/y y; make dir-x/y y; make leave.tmp 'left out'; make ignored/x 'ignored'; }
"#;
    let finish = r#"
printf 'ignored\npacked\nDockerfile\n' >.dockerignore
find . -type d -exec chmod 755 {} +
find . -type f ! -perm -100 -exec chmod 644 {} +
"#;
    bench.shell(&format!("umask {umask}\n{make}\n{order}\n{finish}"));
    // The archive is a file like any other: its bytes are given.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o751);
    header.set_uid(11);
    header.set_gid(12);
    header.set_mtime(77);
    let appended = archive.append_data(&mut header, "packed/file", &b"p\n"[..]);
    appended.expect("in memory");
    bench.file("packed.tar", archive.into_inner().expect("in memory"));
    run(
        "find",
        &[
            text(&bench.context("")),
            "-exec",
            "touch",
            "-h",
            "-d",
            &format!("@{time}"),
            "{}",
            "+",
        ],
    );
    run("chmod", &["644", text(&bench.context("packed.tar"))]);
}

/// What `kiln explain` says of each step: its name and keys, and what the content key consists of.
fn keys(explain: &mut Command) -> Vec<Value> {
    let said = output(explain.args(["explain", "--format", "json"]));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let steps = said.as_array().expect("a list").iter();
    let fields = ["Name", "DefinitionKey", "ContentKey", "Key"];
    let keys = steps.map(|step| {
        let fields = fields.map(|field| (field.to_owned(), step[field].clone()));
        Value::Object(fields.into_iter().collect())
    });
    let keys: Vec<Value> = keys.collect();
    assert!(
        keys.iter().all(|step| step["ContentKey"].is_string()),
        "{keys:#?}"
    );
    keys
}

fn assert_same(one: &[Value], other: &[Value]) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

fn secrets(bench: &Bench, value: &str) -> String {
    let path = bench.path("secret");
    fs::write(&path, value).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    let path = text(&path);
    format!("--secret id=s,src={path} --secret id=a,src={path}")
}

#[test]
fn two_machines_compute_the_same_keys() {
    let first = Bench::with(DOCKERFILE);
    fill(&first, "022", "one; two; three; four; five", 1_000_000_000);
    let line = secrets(&first, "one");
    Finished::of(first.command(&line).env("TZ", "UTC").env("LC_ALL", "C")).assert_well();
    let expected = keys(&mut first.kiln());
    assert!(expected.len() >= 13, "{expected:#?}");

    let user = User::new(base::small(), DOCKERFILE);
    let second = &user.bench;
    fill(second, "0077", "five; four; three; two; one", 1_700_000_000);
    let owner = format!("{ACCOUNT}:{ACCOUNT}");
    run("chown", &["-hR", &owner, text(&second.context(""))]);
    // What is no part of a context: its own mode, and that of the Dockerfile.
    run("chmod", &["700", text(&second.context(""))]);
    run("chmod", &["600", text(&second.context("Dockerfile"))]);
    let line = secrets(second, "another");
    let kiln = second.path("kiln");
    let of_user = || {
        let mut command = as_user(&kiln);
        command
            .env("HOME", second.path("home"))
            .env_remove("XDG_DATA_HOME")
            .env("TZ", "Pacific/Auckland")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("RAYON_NUM_THREADS", "1")
            .env("http_proxy", "http://127.0.0.1:1")
            .current_dir("/");
        command
    };
    let mut build = of_user();
    build.args(["build", "--progress=rawjson", "--build-context"]);
    build.arg(format!("base=oci-layout://{}", text(&second.path("base"))));
    build.args(line.split_whitespace());
    build.args(["--cpu-shares", "512", "--build-arg", "HTTP_PROXY=http://x"]);
    Finished::of(build.arg(second.context(""))).assert_well();
    assert_same(&expected, &keys(&mut of_user()));
    machine::assert_clean(&user.store());
}

/// A store that saw other things before computes the same keys, and answers by them.
#[test]
fn a_store_with_a_past_computes_the_same_keys() {
    let fresh = Bench::with(DOCKERFILE);
    fill(&fresh, "022", "one; two; three; four; five", 1);
    let line = secrets(&fresh, "one");
    fresh.build(&line);
    let old = Bench::with(&DOCKERFILE.replace("GREETING=hello", "GREETING=good-day"));
    fill(&old, "022", "two; three; five; one; four", 2);
    old.file("a file", "with another content");
    let line = secrets(&old, "one");
    old.build(&line);
    old.file("a file", "with a blank");
    old.file("Dockerfile", DOCKERFILE);
    old.build(&line);
    assert_same(&keys(&mut fresh.kiln()), &keys(&mut old.kiln()));
    // The same again, looked up and not run.
    assert_eq!(old.build(&line).ran(), [""; 0]);
    assert_same(&keys(&mut fresh.kiln()), &keys(&mut old.kiln()));
}
