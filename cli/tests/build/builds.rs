//! What is kept of builds, and how it is shown.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bench::Bench;

const APP: &str = "FROM base AS first
COPY file /
RUN echo out; echo error >&2; printf 'bytes\\377\\n'
FROM base
COPY --from=first /file /copied
RUN seq 1 20000
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.file("file", "1\n");
    bench
}

/// Runs `kiln builds`, which must end well, and gives what it printed.
#[track_caller]
fn builds(bench: &Bench, line: &str) -> String {
    let output = bench
        .kiln()
        .arg("builds")
        .args(line.split_whitespace())
        .output()
        .expect("kiln runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kiln builds {line}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `kiln builds` says that must be refused.
#[track_caller]
fn refused(bench: &Bench, line: &str, code: i32) -> String {
    let output = bench
        .kiln()
        .arg("builds")
        .args(line.split_whitespace())
        .output()
        .expect("kiln runs");
    assert_eq!(output.status.code(), Some(code), "kiln builds {line}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(bench: &Bench, line: &str) -> Value {
    serde_json::from_str(&builds(bench, line)).expect("JSON")
}

fn rows(bench: &Bench, line: &str) -> Vec<Value> {
    let text = builds(bench, line);
    let rows = text.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>().expect("one object a line")
}

/// The step whose name ends so.
#[track_caller]
fn step<'b>(build: &'b Value, name: &str) -> &'b Value {
    let steps = build["Steps"].as_array().expect("there are steps");
    let is_it = |step: &&Value| {
        step["Name"]
            .as_str()
            .is_some_and(|found| found.ends_with(name))
    };
    steps
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {name} in {build}"))
}

#[test]
fn builds_are_listed_with_hits_and_misses() {
    let bench = app();
    assert_eq!(
        builds(&bench, ""),
        "BUILD ID   NAME      STATUS    CREATED AT   DURATION   HITS      MISSES    SIZE\n"
    );
    bench.build("--tag app:1");
    bench.build("--tag app:2");
    bench.file("file", "2\n");
    bench.build("--target first");
    bench.file("Dockerfile", "FROM base\nRUN exit 3\n");
    bench.refused("--tag broken", 1, &["exit code: 3"]);
    let listed = rows(&bench, "--format json");
    let facts = |row: &Value| {
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        let number = |name: &str| row[name].as_u64().expect("a number");
        (
            text("Name"),
            text("Status"),
            number("Hits"),
            number("Misses"),
        )
    };
    let expected = [
        ("broken", "Failed", 0, 1),
        ("context (first)", "Succeeded", 0, 2),
        ("app:2", "Succeeded", 4, 0),
        ("app:1", "Succeeded", 0, 4),
    ];
    let expected = expected
        .map(|(name, status, hits, misses)| (name.to_owned(), status.to_owned(), hits, misses));
    assert_eq!(listed.iter().map(facts).collect::<Vec<_>>(), expected);
    assert_eq!(listed[2]["Size"], listed[3]["Size"]);
    assert!(listed[3]["Size"].as_str().expect("text").ends_with("MB"));
    // The same in other forms.
    let ids: Vec<&str> = listed
        .iter()
        .map(|row| row["ID"].as_str().expect("text"))
        .collect();
    assert_eq!(builds(&bench, "ls -q").lines().collect::<Vec<_>>(), ids);
    let found = |filter: &str| builds(&bench, &format!("ls -q --filter {filter}"));
    assert_eq!(found("status=failed").trim(), ids[0]);
    assert_eq!(found("name=app:*").lines().collect::<Vec<_>>(), ids[2..]);
    assert_eq!(found("since=1h").lines().count(), 4);
    assert_eq!(found("until=1h"), "");
    assert!(refused(&bench, "--filter stats=failed", 2).contains("did you mean status?"));
    assert!(refused(&bench, "--filter status=fialed", 2).contains("did you mean failed?"));
}

#[test]
fn a_build_is_known_by_what_it_did() {
    let bench = app();
    bench.build("--tag app");
    let build = json(&bench, "inspect --format json");
    assert_eq!(build["Status"], "Succeeded");
    assert_eq!(build["Tags"][0], "app");
    assert_eq!(build["Dockerfile"]["Text"], APP);
    assert!(
        build["Image"]
            .as_str()
            .expect("text")
            .starts_with("sha256:")
    );
    let (copy, run) = (step(&build, "COPY file /"), step(&build, "RUN seq 1 20000"));
    assert_eq!(copy["Stage"], "first");
    assert_eq!(copy["Miss"]["reason"], "new");
    for key in ["DefinitionKey", "ContentKey"] {
        assert!(
            run[key].as_str().expect("text").starts_with("blake3:"),
            "{key}"
        );
    }
    assert!(run["PeakMemory"].as_u64().expect("it ran") > 100_000);
    assert_eq!(run["LogBytes"], 108_894);
    assert_eq!(run["Critical"], true);
    let input = step(&build, "COPY --from=first /file /copied");
    assert_eq!(
        run["Inputs"].as_array().expect("a list"),
        &[input["ID"].clone()]
    );
    let text = builds(&bench, "inspect");
    for part in [
        "Status:       Succeeded",
        "0 from the cache, 4 ran",
        "RUN seq 1 20000",
        "done *",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }

    // From the cache, and by content where the way to it changed.
    bench.build("");
    let build = json(&bench, "inspect --format json");
    assert_eq!(step(&build, "RUN seq 1 20000")["Hit"], "same-definition");
    assert_eq!(step(&build, "COPY file /")["Hit"], "not-needed");
    bench.file("Dockerfile", APP.replace("echo out", "echo other"));
    bench.build("");
    let build = json(&bench, "inspect --format json");
    assert_eq!(
        step(&build, "COPY --from=first /file /copied")["Hit"],
        "same-content"
    );
    bench.build("--no-cache");
    let build = json(&bench, "inspect --format json");
    let run = step(&build, "RUN seq 1 20000");
    assert_eq!(
        (&run["Miss"]["reason"], &run["Result"]),
        (&"forbidden".into(), &"done".into())
    );
}

#[test]
fn logs_are_whole_and_shown_again() {
    let bench = app();
    bench.build("");
    let numbers: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert!(builds(&bench, "logs --step seq") == numbers);
    let output = bench
        .kiln()
        .args(["builds", "logs", "--step", "echo"])
        .output();
    let log = output.expect("kiln runs").stdout;
    for line in [&b"out\n"[..], b"error\n", b"bytes\xff\n"] {
        assert!(
            log.windows(line.len()).any(|window| window == line),
            "{line:?}"
        );
    }
    // The log was long, and is compressed by now.
    let record = json(&bench, "inspect --format json")["Record"].clone();
    let record = std::path::Path::new(record.as_str().expect("text")).to_owned();
    assert!(record.join("logs.jsonl.zst").exists() && !record.join("logs.jsonl").exists());

    let all = builds(&bench, "logs --timestamps");
    assert!(all.contains("] RUN seq 1 20000 <==\n"), "{}", &all[..200]);
    assert!(all.lines().any(|line| line.ends_with(" 20000")));
    let shown = builds(&bench, "show");
    assert!(shown.contains("] RUN seq 1 20000\n"), "{}", &shown[..500]);
    assert!(shown.lines().any(|line| line.ends_with(" 19999")), "plain");
    let raw = builds(&bench, "show --progress rawjson");
    let events = raw.lines().map(serde_json::from_str::<Value>);
    let logs = events.filter(|event| event.as_ref().is_ok_and(|event| event["logs"].is_array()));
    assert!(logs.count() >= 3);
    assert!(refused(&bench, "logs --step nothing", 1).contains("no step of build"));
    assert!(refused(&bench, "logs --step RUN", 1).contains("2 steps are called so"));
}

#[test]
fn a_failure_says_where_its_whole_log_is() {
    let bench = Bench::with("FROM base\nRUN seq 1 30; exit 7\n");
    let failed = bench.refused("", 1, &["exit code: 7"]);
    let told = failed.told();
    let hint = told
        .lines()
        .find_map(|line| line.split_once("all of them: kiln "))
        .expect("a hint");
    let line = hint.1.trim_end_matches(']').trim_start_matches("builds ");
    assert_eq!(builds(&bench, line).lines().count(), 30);
    assert!(builds(&bench, "show").ends_with("exit code: 7\n"));
}

#[test]
fn unknown_builds_are_named() {
    let bench = app();
    assert!(refused(&bench, "inspect", 1).contains("no builds are recorded"));
    bench.build("--tag app");
    let id = builds(&bench, "ls -q").trim().to_owned();
    assert!(builds(&bench, &format!("inspect {}", &id[..3])).contains(&id));
    assert!(refused(&bench, "show ^1", 1).contains("the oldest one recorded is ^0"));
    assert!(
        refused(&bench, "show app", 1).contains(&format!("the last build of that name is {id}"))
    );
    let misspelt = format!("{}u{}", &id[..5], &id[6..]);
    assert!(
        refused(&bench, &format!("show {misspelt}"), 1).contains(&format!("did you mean {id}?"))
    );
    assert!(refused(&bench, "show !", 1).contains("there is no build called !"));
}

#[test]
fn killed_and_interrupted_builds_say_so_and_running_ones_stay() {
    let bench = Bench::with("FROM base\nRUN echo begun; sleep 1000\n");
    let start = || {
        let mut command = bench.command("");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("kiln runs");
        let began = Instant::now();
        while !rows(&bench, "ls --format json")
            .first()
            .is_some_and(|row| row["Status"] == "Running")
            || !builds(&bench, "logs").contains("begun")
        {
            assert!(began.elapsed() < Duration::from_secs(60), "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    };
    let end = |mut child: std::process::Child, signal| {
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        child.wait().expect("it was started");
    };
    let child = start();
    assert!(refused(&bench, "rm ^0", 1).contains("is running"));
    assert_eq!(builds(&bench, "rm --all"), "");
    end(child, Signal::KILL);
    let killed = json(&bench, "inspect --format json");
    assert_eq!(killed["Status"], "Killed");
    let run = step(&killed, "RUN echo begun; sleep 1000");
    assert_eq!(run["Result"], "open");
    assert_eq!(builds(&bench, "logs --step begun"), "begun\n");
    assert!(builds(&bench, "show").contains("the build was killed"));

    end(start(), Signal::INT);
    let canceled = json(&bench, "inspect --format json");
    assert_eq!(canceled["Status"], "Canceled");
    let ids = builds(&bench, "ls -q");
    assert_eq!(ids.lines().count(), 2);
    assert_eq!(
        builds(&bench, "rm ^1"),
        format!("{}\n", ids.lines().nth(1).expect("two"))
    );
    assert_eq!(
        builds(&bench, "rm --all"),
        format!("{}\n", ids.lines().next().expect("two"))
    );
    let left = fs::read_dir(bench.store().join("builds")).expect("it stays");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_trace_has_every_step_on_a_lane_of_its_stage() {
    let bench = app();
    bench.build("--tag app");
    let file = bench.path("trace.json");
    builds(&bench, &format!("trace -o {}", file.display()));
    let trace: Value =
        serde_json::from_slice(&fs::read(file).expect("written")).expect("it is JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    let of_phase = |phase: &str| {
        events
            .iter()
            .filter(|event| event["ph"] == phase)
            .collect::<Vec<_>>()
    };
    let slices = of_phase("X");
    let inspected = json(&bench, "inspect --format json");
    let begun = inspected["Steps"].as_array().expect("a list").iter();
    assert_eq!(
        slices.len(),
        begun.filter(|step| !step["Number"].is_null()).count()
    );
    let lanes: Vec<&str> = of_phase("M")
        .iter()
        .filter_map(|event| event["args"]["name"].as_str())
        .collect();
    for lane in ["internal", "first", "stage-1", "export"] {
        assert!(lanes.contains(&lane), "no {lane} in {lanes:?}");
    }
    let run = slices.iter().find(|event| {
        event["name"]
            .as_str()
            .is_some_and(|name| name.ends_with("RUN seq 1 20000"))
    });
    let run = run.expect("it ran");
    assert_eq!(
        (&run["cat"], &run["args"]["result"]),
        (&"miss".into(), &"done".into())
    );
    // No two slices of one lane overlap.
    let span = |event: &Value| {
        let number = |name: &str| event[name].as_u64().expect("a number");
        (number("tid"), number("ts"), number("ts") + number("dur"))
    };
    let mut spans: Vec<_> = slices.iter().map(|event| span(event)).collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
    }
}
