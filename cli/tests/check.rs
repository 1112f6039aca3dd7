//! `kiln check` and `kiln build --call`: what programs and people are told, and the exit codes.
//!
//! What is said about `testdata/outline` was recorded from buildx (`testdata/rules/record`).

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use kiln_frontend::limits;
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a Dockerfile.
fn context(dockerfile: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("Dockerfile"), dockerfile).expect("writable");
    directory
}

/// Runs `kiln` in a directory; the exit code, and what it wrote to standard output.
fn kiln(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::cargo_bin("kiln")
        .expect("the program is built")
        .args(arguments)
        .current_dir(directory)
        .env("KILN_ROOT", directory.join("store"))
        .output()
        .expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code().expect("an exit code"), text)
}

const BAD: &str = "FROM scratch AS Base\nCOPY $missing /x\n";
const BROKEN: &str = "FROM scratch AS Base\nCOPPY a /x\nCOPY --form=a b /c\nUSER ${a:?no}\n";

#[test]
fn exit_codes_suit_scripts() {
    let clean = context("FROM scratch\nCOPY a /x\n");
    let (bad, broken) = (context(BAD), context(BROKEN));
    let cases: [(&TempDir, &[&str], i32); 12] = [
        (&clean, &["check"], 0),
        (&bad, &["check"], 1),
        (&broken, &["check"], 1),
        (&bad, &["check", "--fail-on", "error"], 0),
        (&broken, &["check", "--fail-on", "error"], 1),
        (&broken, &["check", "--fail-on", "never"], 0),
        (
            &bad,
            &["check", "--skip", "StageNameCasing,UndefinedVar"],
            0,
        ),
        (&bad, &["check", "--skip", "NoSuchRule"], 2),
        (&bad, &["build", "--check", "."], 1),
        (&bad, &["build", "--call=check,ignorestatus", "."], 0),
        (&broken, &["build", "--call=targets", "."], 1),
        (&clean, &["check", "nowhere"], 1),
    ];
    for (directory, arguments, expected) in cases {
        let (code, text) = kiln(directory.path(), arguments);
        assert_eq!(code, expected, "{arguments:?}: {text}");
    }
}

#[test]
fn all_errors_and_warnings_come_at_once() {
    let (_, text) = kiln(context(BROKEN).path(), &["check"]);
    insta::assert_snapshot!(text);
}

#[test]
fn only_an_error_of_the_file_fails_a_build() {
    let strict = context("# check=error=true\nFROM scratch AS Base\nCOPY Dockerfile /\n");
    assert_eq!(kiln(strict.path(), &["build", "-o", "out", "."]).0, 1);
    assert!(!strict.path().join("out").exists());
    let lenient = context("FROM scratch AS Base\nCOPY Dockerfile /\n");
    assert_eq!(kiln(lenient.path(), &["build", "-o", "out", "."]).0, 0);
    assert!(lenient.path().join("out/Dockerfile").exists());
}

#[test]
fn findings_have_the_form_of_buildkits_answer() {
    let directory = context(BROKEN);
    let (_, text) = kiln(
        directory.path(),
        &["build", "--call=check,format=json", "."],
    );
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let warning = &answer["warnings"][0];
    assert_eq!(warning["ruleName"], "StageNameCasing");
    assert!(
        warning["url"]
            .as_str()
            .is_some_and(|url| url.ends_with("/stage-name-casing/"))
    );
    assert_eq!(warning["location"]["ranges"][0]["start"]["line"], 1);
    assert_eq!(answer["sources"][0]["filename"], "Dockerfile");
    assert_eq!(
        answer["buildError"]["location"]["ranges"][0]["start"]["line"],
        2
    );
    assert_eq!(answer["buildErrors"].as_array().map(Vec::len), Some(3));
    let (_, same) = kiln(directory.path(), &["check", "--format", "json"]);
    assert_eq!(text, same);
}

#[test]
fn very_many_findings_are_told_in_part() {
    let many = "MAINTAINER x\n".repeat(2 * limits::FINDINGS);
    let directory = context(&format!("FROM scratch\n{many}RUM x\n"));
    let told = limits::FINDINGS;
    let check = |format| kiln(directory.path(), &["check", "--format", format]);
    let (code, text) = check("text");
    assert_eq!(code, 1);
    assert_eq!(
        text.matches("warning[MaintainerDeprecated]").count(),
        told - 1
    );
    assert!(text.contains("error[unknown-instruction]"));
    assert!(text.contains("warning[more-findings]: there are 1001 findings more"));
    assert!(text.ends_with("Dockerfile: 1 error, 2000 warnings\n"));
    let (code, json) = check("json");
    let answer: Value = serde_json::from_str(&json).expect("JSON");
    let warnings = answer["warnings"].as_array().expect("warnings");
    let last = warnings.last().expect("a warning");
    assert_eq!((code, warnings.len()), (1, told));
    assert_eq!(last["detail"], "there are 1001 findings more");
    assert_eq!(answer["buildErrors"].as_array().map(Vec::len), Some(1));
    let (code, sarif) = check("sarif");
    let log: Value = serde_json::from_str(&sarif).expect("JSON");
    let results = log["runs"][0]["results"].as_array().map(Vec::len);
    assert_eq!((code, results), (1, Some(told + 1)));
    let lenient = ["check", "--fail-on=error", "--format=sarif"];
    assert_eq!(kiln(directory.path(), &lenient).0, 1);
}

#[test]
fn an_empty_continuation_is_on_buildkits_line() {
    let directory = context("FROM scratch\nLABEL a=b \\\n\n  c=d \\\n  e=f\n");
    let (code, text) = kiln(directory.path(), &["check", "--format", "json"]);
    assert_eq!(code, 1);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let ranges = &answer["warnings"][0]["location"]["ranges"];
    assert_eq!(ranges.as_array().map(Vec::len), Some(1), "{ranges}");
    assert_eq!(ranges[0]["start"]["line"], 5);
}

#[test]
fn bytes_that_are_no_text_are_an_error_among_others() {
    let directory = context("");
    let text = b"FROM scratch\n# Jos\xe9\nMAINTAINER Jos\xe9\nRUM x\nENV a=\"caf\xe9\"\n";
    fs::write(directory.path().join("Dockerfile"), text).expect("writable");
    let (code, shown) = kiln(directory.path(), &["check", "--skip=MaintainerDeprecated"]);
    assert_eq!(code, 1);
    for part in [
        "Dockerfile:4:1",
        "did you mean RUN?",
        "error[not-utf-8]",
        "Dockerfile:5:11",
        "5 | ENV a=\"caf\u{fffd}\"",
        "the byte 0xE9",
        "Dockerfile: 2 errors",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let (_, json) = kiln(directory.path(), &["check", "--format=json"]);
    let answer: Value = serde_json::from_str(&json).expect("JSON");
    let lines = |error: &Value| error["location"]["ranges"][0]["start"]["line"].as_u64();
    let errors = answer["buildErrors"].as_array().expect("errors");
    let lines: Vec<_> = errors.iter().filter_map(lines).collect();
    assert_eq!(lines, [4, 5]);
    let (_, sarif) = kiln(directory.path(), &["check", "--format=sarif"]);
    let log: Value = serde_json::from_str(&sarif).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert!(
        results.iter().any(|found| found["ruleId"] == "not-utf-8"),
        "{sarif}"
    );
}

#[test]
fn sarif_points_to_characters() {
    let directory = context("FROM scratch AS b\nLABEL é=$é\n");
    let (code, text) = kiln(directory.path(), &["check", "--format=sarif"]);
    assert_eq!(code, 1);
    let log: Value = serde_json::from_str(&text).expect("JSON");
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "UndefinedVar");
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "UndefinedVar");
    assert_eq!(result["ruleIndex"], 0);
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startColumn"], 9);
    assert_eq!(region["endColumn"], 11);
}

#[test]
fn outlines_and_targets_are_those_of_buildx() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/outline");
    let entries = fs::read_dir(&cases).expect("the cases");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut count = 0;
    for path in paths.filter(|path| path.extension().is_some_and(|e| e == "dockerfile")) {
        count += 1;
        let directory = context(&fs::read_to_string(&path).expect("a Dockerfile"));
        let options: Value = match fs::read_to_string(path.with_extension("json")) {
            Ok(json) => serde_json::from_str(&json).expect("options"),
            Err(_) => Value::Null,
        };
        let mut flags: Vec<String> = Vec::new();
        if let Some(target) = options["target"].as_str() {
            flags.push(format!("--target={target}"));
        }
        for (name, value) in options["build_args"].as_object().into_iter().flatten() {
            flags.push(format!(
                "--build-arg={name}={}",
                value.as_str().expect("a text")
            ));
        }
        for call in ["outline", "targets"] {
            let ask = |form: &str| {
                let call = format!("--call={call},format={form}");
                let mut arguments = vec!["build", call.as_str(), "."];
                arguments.extend(flags.iter().map(String::as_str));
                let (code, text) = kiln(directory.path(), &arguments);
                assert_eq!(code, 0, "{}: {text}", path.display());
                text
            };
            let recorded = |form: &str| {
                let path = path.with_extension(format!("{call}.{form}"));
                fs::read_to_string(path).expect("a recorded answer")
            };
            assert_eq!(ask("text"), recorded("text"), "{}", path.display());
            let parse = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
            assert_eq!(
                parse(ask("json")),
                parse(recorded("json")),
                "{}",
                path.display()
            );
        }
    }
    assert!(count >= 4);
}

#[test]
fn rules_explain_themselves() {
    let directory = context(BAD);
    let (_, list) = kiln(directory.path(), &["check", "--list-rules"]);
    for line in list.lines() {
        let name = line.split(' ').next().expect("a name");
        let (code, page) = kiln(directory.path(), &["check", "--explain", name]);
        assert_eq!(code, 0);
        assert!(page.contains("Better:"), "{page}");
    }
}
