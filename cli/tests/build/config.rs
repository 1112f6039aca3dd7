//! The image's config and history, and what it does to a child.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, text};

/// The config of the image that a build yields.
fn config(bench: &Bench, line: &str) -> Value {
    let layout = bench.path("layout");
    bench.build(&format!(
        "{line} -o type=oci,tar=false,dest={}",
        text(&layout)
    ));
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON")
    };
    let blob = |digest: &Value| {
        let digest = digest.as_str().expect("a digest").replace(':', "/");
        read(&layout.join("blobs").join(digest))
    };
    let index = read(&layout.join("index.json"));
    let manifest = blob(&index["manifests"][0]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    fs::remove_dir_all(&layout).expect("removable");
    config
}

const EVERYTHING: &str = r#"ARG VERSION=1
FROM base
MAINTAINER somebody
ARG VERSION
ENV A=a B="b c" PATH=/own:/bin
ENV LEGACY some value
LABEL one=1 "two words"='2 2'
EXPOSE 80 8000-8001/udp 443/tcp
VOLUME /data /other
VOLUME ["/more"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=2m --retries=3 CMD check it
SHELL ["/bin/bash", "-c"]
USER app:staff
WORKDIR /srv
WORKDIR sub
COPY file .
ONBUILD COPY file /onbuild
ONBUILD ENV FROM_TRIGGER=$VERSION
ENTRYPOINT ["/entry", "$A"]
CMD run $A
"#;

#[test]
fn every_instruction_has_its_place() {
    let bench = Bench::with(EVERYTHING);
    bench.file("file", "x");
    let image = config(&bench, "--label three=3");
    let config = &image["config"];
    assert_eq!(image["author"], "somebody");
    assert_eq!(image["os"], "linux");
    assert_eq!(
        config["Env"],
        json!(["PATH=/own:/bin", "A=a", "B=b c", "LEGACY=some value"])
    );
    assert_eq!(
        config["Labels"],
        json!({"one": "1", "two words": "2 2", "three": "3"})
    );
    assert_eq!(
        config["ExposedPorts"],
        json!({"80/tcp": {}, "443/tcp": {}, "8000/udp": {}, "8001/udp": {}})
    );
    assert_eq!(
        config["Volumes"],
        json!({"/data": {}, "/other": {}, "/more": {}})
    );
    assert_eq!(config["StopSignal"], "SIGQUIT");
    let check = json!({"Test": ["CMD-SHELL", "check it"], "Interval": 5_000_000_000_i64, "Timeout": 120_000_000_000_i64, "Retries": 3});
    assert_eq!(config["Healthcheck"], check);
    assert_eq!(config["Shell"], json!(["/bin/bash", "-c"]));
    assert_eq!(config["User"], "app:staff");
    assert_eq!(config["WorkingDir"], "/srv/sub");
    assert_eq!(
        config["OnBuild"],
        json!(["COPY file /onbuild", "ENV FROM_TRIGGER=$VERSION"])
    );
    assert_eq!(config["Entrypoint"], json!(["/entry", "$A"]));
    assert_eq!(config["Cmd"], json!(["/bin/bash", "-c", "run $A"]));
}

#[test]
fn history_tells_every_instruction() {
    let bench = Bench::with(
        "FROM base\nARG V=1\nENV A=a\nRUN true\nWORKDIR /w\nCOPY file /f\nUSER app\nCMD [\"x\"]\n",
    );
    bench.file("file", "x");
    let image = config(&bench, "--build-arg V=2");
    let history = image["history"].as_array().expect("a history");
    let told: Vec<(&str, bool)> = history
        .iter()
        .map(|entry| {
            (
                entry["created_by"].as_str().expect("text"),
                entry["empty_layer"] == true,
            )
        })
        .collect();
    let own = &told[told.len() - 7..];
    let expected = [
        ("ARG V=2", true),
        ("ENV A=a", true),
        ("RUN |1 V=2 /bin/sh -c true # buildkit", false),
        ("WORKDIR /w", false),
        ("COPY file /f # buildkit", false),
        ("USER app", true),
        ("CMD [\"x\"]", true),
    ];
    assert_eq!(own, expected);
    let layers = told.iter().filter(|(_, is_empty)| !is_empty).count();
    assert_eq!(
        image["rootfs"]["diff_ids"].as_array().map(Vec::len),
        Some(layers)
    );
    for entry in history {
        assert!(entry["created"].is_string(), "{entry}");
    }
    assert_eq!(
        history.last().expect("entries")["comment"],
        "buildkit.dockerfile.v0"
    );
}

#[test]
fn children_inherit() {
    let bench = Bench::with(EVERYTHING);
    bench.file("file", "x");
    bench.build("-t parent");
    bench.file(
        "Dockerfile",
        "FROM parent\nENV C=$A\nENTRYPOINT [\"/other\"]\n",
    );
    let image = config(&bench, "");
    let child = &image["config"];
    assert_eq!(
        child["Cmd"],
        Value::Null,
        "an ENTRYPOINT clears an inherited CMD"
    );
    assert_eq!(child["OnBuild"], Value::Null);
    let env = child["Env"].as_array().expect("variables");
    assert!(
        env.contains(&json!("C=a")) && env.contains(&json!("FROM_TRIGGER=")),
        "{env:?}"
    );
    assert_eq!(child["WorkingDir"], "/srv/sub");
    assert_eq!(child["Labels"]["one"], "1");
    assert!(bench.files("out", "").join("onbuild").exists());
}

#[test]
fn triggers_run_in_the_child_only() {
    let bench = Bench::with(
        "FROM base\nONBUILD COPY file /from-child\nONBUILD RUN test -e /from-child && echo ran >/trigger\n",
    );
    bench.file("file", "parent's");
    let parent = bench.build("-t localhost/parent:1");
    assert_eq!(parent.ran(), [""; 0]);
    bench.file(
        "Dockerfile",
        "FROM localhost/parent:1 AS child\nRUN cat /trigger /from-child >/both\n",
    );
    bench.file("file", "child's");
    assert_eq!(bench.text("both", ""), "ran\nchild's");
    bench.file(
        "Dockerfile",
        "FROM localhost/parent:1 AS child\nFROM child\nRUN cat /trigger\n",
    );
    let grandchild = config(&bench, "");
    assert_eq!(grandchild["config"]["OnBuild"], Value::Null);
}

#[test]
fn steps_see_what_the_config_says() {
    let bench = Bench::with(
        "FROM base
ARG A=inner
ENV A=outer PATH=/extra:/bin
ARG ONLY=\"two words\"
WORKDIR /made/here
USER app:staff
SHELL [\"/bin/sh\", \"-ec\"]
RUN { echo $A; echo $ONLY; echo $PATH; pwd; id -u; id -g; echo $HOME; hostname; } >/tmp/seen
",
    );
    let seen = bench.text("tmp/seen", "--build-arg A=given");
    assert_eq!(
        seen,
        "outer\ntwo words\n/extra:/bin\n/made/here\n1000\n50\n/home/app\nbuildkitsandbox\n"
    );
    bench.file("Dockerfile", "FROM base\nRUN { env; } >/tmp/seen\n");
    let seen = bench.text("tmp/seen", "");
    assert!(
        seen.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        "{seen}"
    );
    assert!(seen.contains("HOME=/root\n"), "{seen}");
}

#[test]
fn an_epoch_bounds_all_times() {
    let bench = Bench::with("FROM scratch\nCOPY file /f\nLABEL a=b\n");
    bench.file("file", "x");
    let image = config(&bench, "--build-arg SOURCE_DATE_EPOCH=1000000000");
    assert_eq!(image["created"], "2001-09-09T01:46:40Z");
    for entry in image["history"].as_array().expect("a history") {
        assert_eq!(entry["created"], "2001-09-09T01:46:40Z");
    }
}
