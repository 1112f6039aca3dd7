//! `RUN --mount=type=secret`: what a step is shown, and where no trace of it may be.

use std::fs;

use crate::bench::{Bench, text};
use crate::finished::Finished;
use crate::machine;

const VALUE: &str = "hunter2-and-more";

/// Mount options, and a command that ends well if the step is shown what it should be.
const SHOWN: &[(&str, &str)] = &[
    ("id=key", "test $(cat /run/secrets/key) = hunter2-and-more"),
    (
        "id=key",
        "test \"$(stat -c '%a %u:%g' /run/secrets/key)\" = '400 0:0'",
    ),
    (
        "id=key,mode=0644,uid=1000,gid=50",
        "test \"$(stat -c '%a %u:%g' /run/secrets/key)\" = '644 1000:50'",
    ),
    (
        "source=key,target=/etc/made/secret",
        "grep -q hunter2 /etc/made/secret",
    ),
    ("target=/x/key", "grep -q hunter2 /x/key"),
    ("id=key,dst=rel/secret", "grep -q hunter2 /w/rel/secret"),
    (
        "id=key,env=TOKEN",
        "test $TOKEN = hunter2-and-more && ! test -e /run/secrets/key",
    ),
    ("id=key,env=TOKEN,target=/t", "test $TOKEN = $(cat /t)"),
    ("id=key", "! echo x >/run/secrets/key"),
    (
        "id=key",
        "grep ' /run/secrets/key ' /proc/self/mountinfo | grep -q 'ro,.*noexec.* - tmpfs'",
    ),
    ("id=absent", "! test -e /run/secrets/absent"),
    (
        "id=absent,env=TOKEN",
        "test -z \"$TOKEN\" && env | grep -q '^TOKEN=$'",
    ),
    ("id=key,required", "test -s /run/secrets/key"),
];

#[test]
fn steps_are_shown_secrets_as_asked() {
    let bench = Bench::new();
    let secret = bench.path("secret");
    fs::write(&secret, VALUE).expect("writable");
    let steps = SHOWN
        .iter()
        .map(|(options, command)| format!("RUN --mount=type=secret,{options} {command}\n"));
    let dockerfile: String = std::iter::once("FROM base\nWORKDIR /w\n".to_owned())
        .chain(steps)
        .collect();
    bench.file("Dockerfile", dockerfile);
    let out = bench.files("out", &format!("--secret id=key,src={}", text(&secret)));
    for stub in ["run/secrets", "etc/made", "x", "w/rel", "t"] {
        assert!(!out.join(stub).exists(), "{stub}");
    }
    machine::assert_clean(&bench.store());
}

#[test]
fn a_value_comes_from_a_file_a_variable_or_a_pipe() {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=secret,id=key,required cat /run/secrets/key >/value\n",
    );
    fs::write(bench.path("key"), "from a file").expect("writable");
    for (line, expected) in [
        ("--secret id=key,src=key", "from a file"),
        ("--secret id=key", "from a file"),
        ("--secret id=key,env=VALUE", "from a variable"),
        ("--secret type=env,id=key,src=VALUE", "from a variable"),
        ("--secret id=key,env=UNSET", ""),
        (
            "--secret id=key,src=missing --secret id=key,src=key",
            "missing",
        ),
    ] {
        let out = bench.path("out");
        let mut command = bench.command(&format!("--no-cache {line} -o {}", text(&out)));
        let finished = Finished::of(command.env("VALUE", "from a variable").env_remove("UNSET"));
        if expected == "missing" {
            finished.assert_failed(1, &["the secret \"key\"", "missing", "No such file"]);
            continue;
        }
        finished.assert_well();
        assert_eq!(
            fs::read_to_string(out.join("value")).expect("it was written"),
            expected,
            "{line}"
        );
    }
    let script = format!(
        "cd {} && {} build --no-cache --build-context base=oci-layout://{} --secret id=key,src=<(printf piped) -o piped context",
        text(&bench.path("")),
        crate::bench::KILN,
        text(crate::base::small()),
    );
    crate::bench::output(
        std::process::Command::new("bash")
            .args(["-euc", &script])
            .env("KILN_ROOT", bench.store()),
    );
    assert_eq!(
        fs::read_to_string(bench.path("piped/value")).expect("it was written"),
        "piped"
    );
}

#[test]
fn what_is_missing_or_too_large_is_refused() {
    let bench = Bench::with("FROM base\nRUN --mount=type=secret,id=key,required=true true\n");
    bench.refused(
        "",
        1,
        &[
            "the secret \"key\" is required",
            "--secret id=key",
            ">>> RUN --mount",
        ],
    );
    fs::write(bench.path("large"), vec![b'x'; 500 * 1024 + 1]).expect("writable");
    bench.refused(
        "--secret id=key,src=large",
        1,
        &["the secret \"key\" is larger than 512000 bytes"],
    );
    fs::write(bench.path("large"), vec![b'x'; 500 * 1024]).expect("writable");
    bench.build("--secret id=key,src=large");
    bench.file(
        "Dockerfile",
        "FROM base\nRUN --mount=type=secret,id=key,env=KEY true\n",
    );
    fs::write(bench.path("nul"), b"a\0b").expect("writable");
    bench.refused(
        "--secret id=key,src=nul",
        1,
        &["the secret for a variable holds a NUL", "KEY"],
    );
}

#[test]
fn another_value_does_not_run_a_step_again() {
    let bench = Bench::with("FROM base\nRUN --mount=type=secret,id=key,env=KEY test -n \"$KEY\"\n");
    for value in ["one", "two"] {
        let finished = Finished::of(bench.command("--secret id=key,env=KEY").env("KEY", value));
        finished.assert_well();
        let ran = if value == "one" { 1 } else { 0 };
        assert_eq!(finished.ran().len(), ran, "{value}");
    }
}

#[test]
fn nothing_keeps_a_secret() {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=secret,id=key --mount=type=secret,id=key,env=KEY wc -c </run/secrets/key && ls -l /run/secrets && ! cat /proc/1/environ && echo over\n",
    );
    let mut command = bench.command("--secret id=key,env=KEY -o type=oci,tar=false,compression=uncompressed,dest=out --metadata-file meta -t app");
    let finished = Finished::of(command.env("KEY", VALUE));
    finished.assert_well();
    assert!(finished.everything().contains("over"));
    assert!(!finished.everything().contains(VALUE));
    assert!(!finished.stderr.contains(VALUE));
    for place in ["store", "out", "meta"] {
        let found = std::process::Command::new("grep")
            .args(["-rlaF", VALUE])
            .arg(bench.path(place))
            .output();
        assert_eq!(
            String::from_utf8_lossy(&found.expect("grep runs").stdout),
            "",
            "{place}"
        );
    }
}
