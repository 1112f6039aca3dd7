//! The page of a build, in a real browser.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::browser::Browser;

/// Marks the page if it is ever run.
const MARK: &str = "document.documentElement.dataset.run=1";

/// Instructions, files and logs that want to be more than text.
fn hostile() -> Bench {
    let dockerfile = format!(
        "# </script><script>{MARK}</script> <!--<script>
FROM base AS first
RUN echo '</script><script>{MARK}</script>'; echo \"<img src=x onerror='{MARK}'>\"
RUN printf '\\033[31mred\\033[0m \\033]0;title\\007\\n'; echo '<!--<script>' '{{{{script}}}}' >&2
RUN true '\u{1b}[2J</script><svg onload=\"{MARK}\">'
FROM base AS b\u{2028}d
COPY --from=first /etc/passwd /passwd
RUN seq 1 100000; sleep 0.2
"
    )
    .replace("b\u{2028}d", "second");
    Bench::with(&dockerfile)
}

#[track_caller]
fn page(bench: &Bench) -> PathBuf {
    let page = bench.path("build.html");
    let mut command = bench.kiln();
    command.args(["builds", "html", "-o"]).arg(&page);
    let output = command.output().expect("kiln runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    page
}

#[track_caller]
fn assert_calm(browser: &mut Browser, page: &std::path::Path) {
    assert_eq!(browser.complaints, [Value::Null; 0]);
    let address = format!("file://{}", page.display());
    let others: Vec<_> = browser
        .requests
        .iter()
        .filter(|url| !url.starts_with(&address))
        .collect();
    assert_eq!(others, [""; 0], "nothing else is asked for");
    let elements =
        "document.querySelectorAll('img, iframe, object, link, svg [onload], [onerror]').length";
    assert_eq!(browser.evaluate(elements), 0);
    assert_eq!(browser.evaluate("document.scripts.length"), 2);
    assert_eq!(
        browser.evaluate("document.documentElement.dataset.run ?? 'not run'"),
        "not run"
    );
}

#[test]
fn hostile_text_is_only_shown() {
    let bench = hostile();
    bench.build("--tag app");
    let page = page(&bench);
    let mut browser = Browser::start(1280, 900);
    browser.open(&page, "");
    let inspected = bench
        .kiln()
        .args(["builds", "inspect", "--format=json"])
        .output();
    let build: Value = serde_json::from_slice(&inspected.expect("kiln runs").stdout).expect("JSON");
    let steps = build["Steps"].as_array().expect("a list").iter();
    let begun: Vec<&Value> = steps.filter(|step| !step["Number"].is_null()).collect();
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.step').length"),
        begun.len()
    );
    let critical = begun.iter().filter(|step| step["Critical"] == true);
    let marked = browser.evaluate("document.querySelectorAll('.step .mark').length");
    assert_eq!(marked, critical.count());
    assert_eq!(browser.evaluate("document.title"), "app · Kiln build");

    // All that can be opened is opened.
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    let all_open = "new Promise((done) => { const look = () => \
        [...document.querySelectorAll('details')].every((one) => one.children.length === 2) \
        ? done() : setTimeout(look, 10); look(); })";
    browser.evaluate(all_open);
    let lines = "[...document.querySelectorAll('.text-block span, dd, .step .text')].map((one) => one.textContent)";
    let lines = browser.evaluate(lines);
    let lines: Vec<&str> = lines
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for line in [
        "</script><script>document.documentElement.dataset.run=1</script>",
        "<img src=x onerror='document.documentElement.dataset.run=1'>",
        "# </script><script>document.documentElement.dataset.run=1</script> <!--<script>",
        "RUN true '</script><svg onload=\"document.documentElement.dataset.run=1\">'",
        "<!--<script> {{script}}",
        "red ",
        // The log is longer than a page should be: its beginning and its end are there.
        "1",
        "100000",
    ] {
        assert!(lines.contains(&line), "no {line:?}");
    }
    assert!(lines.iter().any(|line| line.contains("kiln builds logs ")));
    assert!(
        !lines
            .iter()
            .any(|line| line.chars().any(|c| c.is_control() && c != '\n'))
    );
    assert_calm(&mut browser, &page);
}

#[test]
fn the_page_is_used_by_mouse_and_keyboard() {
    let bench = hostile();
    bench.build("");
    bench.file("Dockerfile", "FROM base\nRUN echo one && echo 2 >&2\n");
    bench.build("");
    bench.file(
        "Dockerfile",
        "FROM base AS first\nRUN echo one && echo two >&2\nFROM first\nRUN exit 9\n",
    );
    bench.refused("", 1, &["exit code: 9"]);
    let page = page(&bench);
    let mut browser = Browser::start(1280, 900);
    browser.open(&page, "");
    let badge = browser.evaluate("document.querySelector('.badge').textContent");
    assert_eq!(badge, "Failed");

    let echo = browser.evaluate(
        "[...document.querySelectorAll('.step')].find((one) => one.textContent.includes('echo one')).id",
    );
    let echo = echo.as_str().expect("the step is there").to_owned();
    browser.click(&format!("#{echo} summary"));
    let text = browser.evaluate(&format!("document.getElementById('{echo}').innerText"));
    let text = text.as_str().expect("text");
    for part in [
        "Definition key",
        "Peak memory",
        "RUN echo one && echo two",
        "one",
        "the command was",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.stderr').length"),
        1
    );

    // Only what failed.
    let press_choice = "[...document.querySelectorAll('.choices button')]\
        .find((one) => one.textContent.startsWith('Failed')).click()";
    browser.evaluate(press_choice);
    let shown = "[...document.querySelectorAll('.step')].filter((one) => one.offsetParent).length";
    assert_eq!(browser.evaluate(shown), 1);
    browser.evaluate("document.querySelector('.choices button').click()");

    // A closer look and back.
    let scale = "document.documentElement.style.getPropertyValue('--k')";
    let whole = browser.evaluate(scale);
    browser.evaluate(&format!("document.querySelector('#{echo} button').click()"));
    assert_ne!(browser.evaluate(scale), whole);
    browser.press("Escape");
    assert_eq!(browser.evaluate(scale), whole);

    // By keys alone: search, tab to the steps, move, open.
    browser.evaluate("document.activeElement.blur()");
    browser.press("/");
    for key in ["R", "U", "N"] {
        browser.press(key);
    }
    assert_eq!(
        browser.evaluate("document.querySelector('input').value"),
        "RUN"
    );
    assert_eq!(browser.evaluate(shown), 2);
    for _ in 0..20 {
        browser.press("Tab");
        if browser.evaluate("document.activeElement.tagName") == "SUMMARY" {
            break;
        }
    }
    browser.press("End");
    browser.press("Enter");
    let opened = browser.evaluate("document.activeElement.parentElement.innerText");
    let opened = opened.as_str().expect("text");
    assert!(opened.contains("exit code: 9"), "{opened}");
    assert_calm(&mut browser, &page);
}

#[test]
fn the_page_fits_a_phone_and_the_dark() {
    let bench = hostile();
    bench.build("--tag registry.example.org/a/rather/long/name/for/an/image:with-a-tag");
    let page = page(&bench);
    let mut browser = Browser::start(360, 740);
    browser.prefer("light");
    browser.open(&page, "#step-4");
    let opened = "document.querySelectorAll('.step details[open] .facts').length";
    assert_eq!(browser.evaluate(opened), 1, "the address names a step");
    let root = "document.documentElement";
    let overflow = format!("{root}.scrollWidth - {root}.clientWidth");
    assert_eq!(browser.evaluate(&overflow), 0);
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(paper);
    browser.prefer("dark");
    assert_ne!(browser.evaluate(paper), light);
    assert_calm(&mut browser, &page);
}

#[test]
fn thousands_of_steps_are_shown() {
    let bench = Bench::with("FROM scratch\n");
    let count = 5_000;
    // Only Kiln makes stores.
    let listed = bench.kiln().args(["builds", "ls"]).output();
    assert!(listed.expect("it runs").status.success());
    let directory = bench
        .store()
        .join("builds/20261121T100359.123456-0123456789ab");
    fs::create_dir_all(&directory).expect("a directory");
    let mut record = concat!(
        r#"{"kiln-build":1,"id":"0123456789ab","kiln":"0.1.0","started":"2026-11-21T10:03:59Z","#,
        r#""arguments":[],"directory":"/","context":"."}"#,
        "\n"
    )
    .to_owned();
    let mut add = |at: usize, step: usize, event: Value| {
        record += &format!("{}\n", json!({ "at": at, "step": step, "event": event }));
    };
    for step in 0..count {
        let inputs = if step < 8 { vec![] } else { vec![step - 8] };
        let name = format!("[stage-{} {step}/{count}] RUN step {step}", step % 8);
        add(
            step * 3 + 1,
            step,
            json!({ "announced": { "name": name, "inputs": inputs } }),
        );
    }
    for step in 0..count {
        let at = 20_000 + (step / 8) * 10_000 + step % 8;
        add(at, step, json!("started"));
        add(
            at + 1,
            step,
            json!({ "missed": { "inputs": [], "reason": "new" } }),
        );
        add(at + 9_000, step, json!("finished"));
    }
    fs::write(directory.join("record.jsonl"), record).expect("writable");
    let page = page(&bench);
    let mut browser = Browser::start(1280, 900);
    browser.open(&page, "#step-5000");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.step').length"),
        count
    );
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.stage').length"),
        8
    );
    assert_eq!(
        browser.evaluate("document.querySelector('.most').textContent"),
        "8 at once"
    );
    let chain = count / 8;
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.mark').length"),
        chain
    );
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.facts').length"),
        1
    );
    assert_calm(&mut browser, &page);
}
