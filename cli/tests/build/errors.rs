//! Bad input: a clear message, the right exit code, and nothing half-made left behind.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base;
use crate::bench::{Bench, run, text};
use crate::finished::Finished;
use crate::machine;

/// Dockerfiles that cannot be built, with parts of what is said of them.
const DOCKERFILES: &[(&str, &[&str])] = &[
    (
        "FROM base\nRUM true\n",
        &["Dockerfile:2:1", "2 | RUM true", "did you mean RUN?"],
    ),
    (
        "FROM base\nCOPY --form=a b c\n",
        &["Dockerfile:2:6", "--form", "did you mean --from?"],
    ),
    (
        "FROM base\nRUN --mount=typ=cache,target=/c true\n",
        &["Dockerfile:2:", "typ", "did you mean type?"],
    ),
    (
        "FROM base AS build\nFROM base\nCOPY --from=biuld /a /b\n",
        &[
            "Dockerfile:3:6",
            "3 | COPY --from=biuld",
            "did you mean build?",
        ],
    ),
    (
        "FROM base AS build\nFROM biuld\n",
        &["Dockerfile:2:", "2 | FROM biuld", "did you mean build?"],
    ),
    ("FROM bsae\n", &["Dockerfile:1:", "did you mean base?"]),
    (
        "FROM base\nCOPY missing /x\n",
        &["Dockerfile:2", ">>> COPY missing /x", "missing"],
    ),
    (
        "FROM base\nCOPY --from=base /missing /x\n",
        &[">>> COPY --from=base", "missing"],
    ),
    (
        "FROM base\nRUN exit 42\n",
        &["exit code: 42", ">>> RUN exit 42"],
    ),
    ("FROM base\nRUN kill -9 $$\n", &[">>> RUN kill"]),
    (
        "FROM base\nRUN [\"/nonesuch\"]\n",
        &["/nonesuch", ">>> RUN"],
    ),
    (
        "FROM base\nUSER nobody-here\nRUN true\n",
        &["nobody-here", ">>> RUN true"],
    ),
    ("FROM scratch\nRUN true\n", &["/bin/sh", ">>> RUN true"]),
    (
        "FROM base\nRUN --mount=type=secret,id=key,required=true true\n",
        &["key", ">>> RUN"],
    ),
    (
        "FROM base\nCOPY Dockerfile /bin/sh/x\n",
        &[">>> COPY Dockerfile"],
    ),
    (
        "FROM base\nCOPY . /bin/busybox\n",
        &[">>> COPY . /bin/busybox"],
    ),
    ("FROM base\nWORKDIR /bin/busybox\n", &[">>> WORKDIR"]),
    ("", &["Dockerfile"]),
    ("ENV a=b\n", &["Dockerfile:1"]),
];

#[test]
fn dockerfiles_that_cannot_be_built() {
    let bench = Bench::new();
    for (dockerfile, parts) in DOCKERFILES {
        bench.file("Dockerfile", dockerfile);
        let mut failed = bench.try_build("");
        failed.stderr = format!("{dockerfile}\n{}", failed.stderr);
        failed.assert_failed(1, parts);
    }
    machine::assert_clean(&bench.store());
}

/// Command lines that make no sense, with parts of what is said of them.
const LINES: &[(&str, i32, &[&str])] = &[
    ("--taget x", 2, &["--taget", "--target"]),
    ("--tga x", 2, &["'--tag'"]),
    (
        "--network=container:x",
        2,
        &["'container:x'", "default, none, host"],
    ),
    ("-o type=imgae", 2, &["did you mean image?"]),
    (
        "--build-context x=oci-layuot://y",
        2,
        &["did you mean oci-layout?"],
    ),
    ("--target ona", 1, &["ona", "did you mean one?"]),
    ("-f nowhere", 1, &["nowhere", "No such file"]),
    ("-t Not/Valid:!", 2, &["Not/Valid:!"]),
    ("--build-arg =x", 2, &["--build-arg"]),
    ("--platform nonsense//x", 2, &["nonsense"]),
    (
        "--platform linux/arm64,linux/amd64",
        2,
        &[
            "linux/arm64,linux/amd64",
            "several platforms",
            "not supported yet",
        ],
    ),
    (
        "--platform linux/arm64 --platform linux/amd64",
        2,
        &["several platforms at once"],
    ),
    ("--push", 2, &["'--push'", "not supported yet", "skopeo"]),
    (
        "-o type=image,push=true",
        2,
        &["not supported yet", "skopeo"],
    ),
    ("-o type=registry,name=a", 2, &["not supported yet"]),
];

#[test]
fn command_lines_that_make_no_sense() {
    let bench = Bench::with("FROM base AS one\nRUN true\n");
    for (line, code, parts) in LINES {
        bench.try_build(line).assert_failed(*code, parts);
    }
    let mut command = bench.kiln();
    Finished::of(command.args(["build", "nowhere"])).assert_failed(1, &["nowhere"]);
    let mut command = bench.kiln();
    Finished::of(&mut command).assert_failed(2, &["Usage"]);
    machine::assert_clean(&bench.store());
}

#[test]
fn a_dockerfile_that_is_a_pipe_without_a_writer() {
    let bench = Bench::new();
    bench.shell("mkfifo Dockerfile");
    bench.refused("", 1, &["Dockerfile", "a pipe that nobody writes to"]);
    let mut command = bench.kiln();
    command.arg("check").arg(bench.context(""));
    Finished::of(&mut command).assert_failed(1, &["a pipe that nobody writes to"]);
    bench.shell("rm Dockerfile; echo FROM base >Dockerfile; mkfifo .dockerignore");
    bench.refused("", 1, &[".dockerignore", "a pipe that nobody writes to"]);
}

#[test]
fn a_dockerfile_that_a_command_writes() {
    let bench = Bench::new();
    let script = r#"exec "$0" build -f <(sleep 0.1; echo FROM scratch; echo COPY x /) -o out ."#;
    bench.file("x", "x");
    let mut command = bench.kiln();
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", script]).arg(command.get_program());
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("none is removed"));
    }
    command = shell;
    Finished::of(command.current_dir(bench.context(""))).assert_well();
    assert!(bench.context("out/x").exists());
}

#[test]
fn a_file_that_a_dockerfile_on_standard_input_does_not_bring() {
    let bench = Bench::new();
    let mut command = bench.kiln();
    let dockerfile = bench.file("dockerfile", "FROM scratch\nCOPY a /\n");
    command
        .args(["build", "-"])
        .stdin(File::open(dockerfile).expect("it is there"));
    let failed = Finished::of(&mut command);
    failed.assert_failed(1, &["/a: not found in the build context -, which"]);
    assert!(!failed.told().contains("store/tmp"), "{}", failed.told());
}

#[test]
fn a_dockerfile_in_latin_1() {
    let bench = Bench::new();
    let text = b"# caf\xe9\nFROM base\nMAINTAINER Jos\xe9\nLABEL a=\"\xe9\"\nRUN true \\\n# \xe9\n && true\n";
    bench.file("Dockerfile", text);
    bench.build("-t old");
    let mut command = bench.kiln();
    let shown = crate::bench::output(command.args(["inspect", "old"]));
    for part in ["Jos\u{fffd}", "\"a\": \"\u{fffd}\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    bench.file(
        "Dockerfile",
        b"FROM base\nRUN <<E cat >/x\n# caf\xe9\nE\nRUM x\n",
    );
    let parts = [
        "Dockerfile:3:6",
        "not UTF-8",
        "3 | # caf\u{fffd}",
        "did you mean RUN?",
    ];
    bench.refused("", 1, &parts);
}

#[test]
fn archives_that_are_broken() {
    let bench = Bench::new();
    bench.shell("seq 100000 >f; tar -czf whole.tar.gz f; rm f");
    let bytes = fs::read(bench.context("whole.tar.gz")).expect("it was made");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let plain = run("gzip", &["-dk", text(&bench.context("whole.tar.gz"))]);
    drop(plain);
    let tar = fs::read(bench.context("whole.tar")).expect("it was unpacked");
    for (name, content) in [
        ("cut.tar.gz", &bytes[..bytes.len() / 2]),
        ("flipped.tar.gz", &flipped),
        ("cut.tar", &tar[..tar.len() / 2]),
    ] {
        bench.file(name, content);
        bench.file("Dockerfile", format!("FROM base\nADD {name} /x/\n"));
        bench.refused("", 1, &[name, ">>> ADD"]);
    }
}

#[test]
fn archives_that_are_refused() {
    let bench = Bench::new();
    bench.shell(
        "truncate -s 1M s; printf end >>s; tar --sparse --format=gnu -cf gnu.tar s; tar --sparse --format=posix -cf posix.tar s; \
         tar --pax-option=comment:=$(head -c 120000 /dev/zero | tr '\\0' c) -cf comment.tar s; rm s",
    );
    let mut nobody = tar::Header::new_gnu();
    nobody.set_path("s").expect("it fits");
    nobody.set_uid(u32::MAX.into());
    for set in [
        tar::Header::set_size,
        tar::Header::set_gid,
        tar::Header::set_mtime,
    ] {
        set(&mut nobody, 0);
    }
    nobody.set_mode(0o644);
    nobody.set_cksum();
    bench.file("nobody.tar", nobody.as_bytes());
    for (name, part) in [
        ("gnu.tar", "s is a sparse file"),
        ("posix.tar", "without --sparse"),
        ("nobody.tar", "s belongs to 4294967295"),
    ] {
        bench.file("Dockerfile", format!("FROM base\nADD {name} /x/\n"));
        bench.refused("", 1, &[name, "refused", part, ">>> ADD"]);
    }
    bench.file("Dockerfile", "FROM base\nADD comment.tar /x/\n");
    bench.build("");
}

/// A copy of the base layout that may be spoilt.
fn copied_base(bench: &Bench) -> PathBuf {
    let layout = bench.path("layout");
    run("cp", &["-r", text(base::small()), text(&layout)]);
    layout
}

fn blobs(layout: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(layout.join("blobs/sha256"))
        .expect("blobs")
        .flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort_by_key(|path| fs::metadata(path).expect("it is there").len());
    paths
}

/// Damages a file.
type Spoil = fn(&Path);

#[test]
fn layouts_that_are_broken() {
    let spoil: [(&str, Spoil); 3] = [
        ("a flipped byte", |path| {
            let mut bytes = fs::read(path).expect("a blob");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("writable");
        }),
        ("cut", |path| {
            let file = File::options().write(true).open(path).expect("a blob");
            let half = file.metadata().expect("its size").len() / 2;
            file.set_len(half).expect("it can be cut");
        }),
        ("gone", |path| fs::remove_file(path).expect("removable")),
    ];
    for (what, spoil) in spoil {
        for which in 0..blobs(base::small()).len() {
            let bench = Bench::with("FROM broken\nRUN true\n");
            let layout = copied_base(&bench);
            let victim = blobs(&layout).swap_remove(which);
            spoil(&victim);
            let digest = victim
                .file_name()
                .and_then(|name| name.to_str())
                .expect("hex");
            let line = format!("--build-context broken=oci-layout://{}", text(&layout));
            let refused = bench.refused(&line, 1, &[&digest[..12]]);
            assert!(
                refused.told().contains("Dockerfile:"),
                "{what}:\n{}",
                refused.told()
            );
        }
    }
}

#[test]
fn a_layout_that_has_not_what_is_asked_for() {
    let bench = Bench::with("FROM other\nRUN true\n");
    let layout = copied_base(&bench);
    let named = |rest: &str| format!("--build-context other=oci-layout://{}{rest}", text(&layout));
    bench.refused(&named(":nosuch"), 1, &["nosuch", text(&layout)]);
    let digest = format!("@sha256:{}", "0".repeat(64));
    bench.refused(&named(&digest), 1, &["sha256:0000"]);
    fs::write(layout.join("index.json"), "{").expect("writable");
    bench.refused(&named(""), 1, &["index.json"]);
    bench.refused(
        "--build-context other=oci-layout:///nowhere",
        1,
        &["/nowhere"],
    );
}

#[test]
fn a_registry_that_is_down() {
    let bench = Bench::with("FROM 127.0.0.1:1/team/app:1\n");
    bench.refused("", 1, &["127.0.0.1:1/", "Dockerfile:1", "refused"]);
}

#[test]
fn a_file_that_may_not_be_read() {
    let bench = Bench::with("FROM scratch\nCOPY . /\n");
    bench.file("open", "x");
    let closed = bench.file("closed", "x");
    fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    let kiln = bench.path("kiln");
    fs::copy(crate::bench::KILN, &kiln).expect("a copy");
    crate::rootless::make_account();
    let home = bench.path("home");
    fs::create_dir(&home).expect("a directory");
    run("chown", &[crate::rootless::ACCOUNT, text(&home)]);
    let mut command = crate::rootless::as_user(&kiln);
    command
        .env("KILN_ROOT", home.join("store"))
        .env("HOME", &home);
    command
        .args(["build", "--progress=rawjson"])
        .arg(bench.context(""));
    let failed = Finished::of(&mut command);
    failed.assert_failed(1, &["closed", "Permission denied"]);
    machine::assert_clean(&home.join("store"));
}

#[test]
fn no_output_is_half_made() {
    let bench = Bench::with("FROM base\nRUN exit 1\n");
    let mut names = Vec::new();
    for (number, kind) in ["oci", "tar", "local"].into_iter().enumerate() {
        let dest = bench.path(&format!("out{number}"));
        bench.refused(
            &format!(
                "--iidfile {}.id -o type={kind},dest={}",
                text(&dest),
                text(&dest)
            ),
            1,
            &[],
        );
        names.push(dest.with_extension("id"));
        names.push(dest);
    }
    for name in names {
        assert!(!name.exists(), "{}", name.display());
    }
    bench.file("Dockerfile", "FROM base\nRUN true\n");
    let nowhere = bench.path("no/such/directory/x.tar");
    bench.refused(
        &format!("-o type=tar,dest={}", text(&nowhere)),
        1,
        &[text(&nowhere)],
    );
}

#[test]
fn a_store_of_another_version() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("");
    let mut version = File::create(bench.store().join("version")).expect("writable");
    version.write_all(b"99\n").expect("writable");
    bench
        .try_build("")
        .assert_failed(1, &["version 99", "--root"]);
}

/// Paths are bytes: a store may have any name.
#[test]
fn a_store_whose_path_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=cache,target=/c --mount=target=/m cat /m/f >/c/f && cat /c/f >/out\nCOPY f /\nRUN cat out f >both\n",
    );
    bench.file("f", "text\n");
    let store = bench
        .path("stores")
        .join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    for _ in 0..2 {
        let mut command = bench.command(&format!("-o {}", bench.path("out").display()));
        Finished::of(command.env("KILN_ROOT", &store)).assert_well();
        let both = std::fs::read_to_string(bench.path("out/both")).expect("it was built");
        assert_eq!(both, "text\ntext\n");
    }
    let mut verify = bench.kiln();
    verify.args(["store", "verify"]).env("KILN_ROOT", &store);
    assert_eq!(Finished::of(&mut verify).code, Some(0));
}

/// Whatever somebody else may have chosen, a name in a Dockerfile or an argument of a script, moves no cursor.
#[test]
fn nothing_that_is_quoted_reaches_the_terminal_raw() {
    let bench =
        Bench::with("FROM base\nRUN --mount=type=cache,target=/c,id=a\x1b[31mX\x07 touch /c/f\n");
    bench.build("");
    let strange = bench.path("d\ne").join("Dock\x1b[32mer");
    std::fs::create_dir(strange.parent().expect("it has one")).expect("writable");
    std::fs::write(&strange, "FROM base\nRUN exit 3\n").expect("writable");
    let passwd = bench.path("passwd");
    std::fs::write(&passwd, format!("secret:\x1b[31m{}", "x\n".repeat(600))).expect("writable");
    let passwd = passwd.display().to_string();
    let strange = strange.to_str().expect("text");
    let cases: [(&[&str], i32, &str); 9] = [
        (
            &["prune", "--verbose", "--dry-run", "--all"],
            0,
            "cache mount aX",
        ),
        (&["cache", "ls"], 0, "aX"),
        (
            &["images", "--filter", "a\x1b[31mX=1"],
            2,
            "'aX=1' for '--filter'",
        ),
        (
            &["prune", "--filter", "a\x1b[31mX=1"],
            2,
            "'aX=1' for '--filter'",
        ),
        (
            &["builds", "ls", "--filter", "name=[\x1b[31mX"],
            2,
            "it is no pattern",
        ),
        (
            &["images", "--filter", "reference=["],
            2,
            "it is no pattern",
        ),
        (&["build", "-t", "a\x1b[31mX", "."], 2, "'aX' for '--tag'"),
        (
            &["build", "--progress", "a\x1b[31mX", "."],
            2,
            "invalid value 'aX'",
        ),
        (&["cache", "import", &passwd], 1, "it is not a tar archive"),
    ];
    for (arguments, code, expected) in cases {
        let mut kiln = bench.kiln();
        let ended = Finished::of(kiln.args(arguments));
        let said = [
            String::from_utf8_lossy(&ended.stdout).as_ref(),
            &ended.stderr,
        ]
        .concat();
        assert_eq!(ended.code, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains(['\x1b', '\x07']), "{arguments:?}: {said:?}");
        assert!(!said.contains("secret"), "{arguments:?}: {said:?}");
    }
    let mut build = bench.command_shown("--progress=plain", "");
    let failed = Finished::of(build.args(["-f", strange]));
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("d e/Docker:2\n"),
        "{}",
        failed.stderr
    );
    assert!(!failed.stderr.contains('\x1b'), "{:?}", failed.stderr);
}
