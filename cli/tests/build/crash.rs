//! Builds that are killed or interrupted: nothing stays mounted, running or locked, and the next build
//! is right.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::machine;

/// A build of a bit of everything, whose steps are seen in a shared cache mount.
const APP: &str = "FROM base AS one
COPY many /many
RUN --mount=type=cache,target=/c touch /c/began; cat /many/* >/all; sleep 0.2
FROM base AS two
ADD many.tar /many
RUN sleep 0.1; for n in 1 2 3; do echo $n >/n$n; done; (sleep 1000 &)
FROM base
COPY --from=one /all /all
COPY --from=two /many /many
RUN cat /all /many/* | sha256sum >/sum; mkdir -p /var/d; rm -r /var/lib
";

fn app() -> Bench {
    let bench = Bench::with(APP);
    bench.shell("mkdir many; for n in $(seq 200); do seq $n 2000 >many/f$n; done; tar -C many -cf many.tar .");
    bench
}

fn start(bench: &Bench, line: &str) -> Child {
    let mut command = bench.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("kiln runs")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    // It may have ended before.
    let _ = kill_process(pid, signal);
}

/// Waits for what the kernel does by itself once a process is gone.
#[track_caller]
fn assert_gone(bench: &Bench) {
    let store = bench.store();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        if machine::mounts(&store).is_empty() && machine::processes(&store).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!(
        "{:?}\n{:?}",
        machine::mounts(&store),
        machine::processes(&store)
    );
}

#[test]
fn a_killed_build_leaves_a_store_that_the_next_one_uses() {
    let bench = app();
    let expected = {
        let undisturbed = app();
        undisturbed.text("sum", "")
    };
    let began = Instant::now();
    bench.build("");
    let whole = began.elapsed();
    fs::remove_dir_all(bench.store()).expect("removable");
    // Instants all over a build, in an order that jumps about; the store keeps what came of each.
    let count = 15;
    for number in 0..count {
        let at = whole * ((number * 7) % count) / count;
        let mut child = start(&bench, "--no-cache");
        std::thread::sleep(at);
        signal(&child, Signal::KILL);
        child.wait().expect("it was started");
        assert_gone(&bench);
        if number % 5 == 4 {
            assert_eq!(bench.text("sum", ""), expected, "after {at:?}");
        }
    }
    assert_eq!(bench.text("sum", ""), expected);
    assert_eq!(bench.build("").ran(), [""; 0]);
    machine::assert_clean(&bench.store());
}

#[test]
fn builds_that_are_killed_disturb_no_others() {
    let bench = app();
    let mut other = bench.command("");
    let other = other.stdout(Stdio::null()).stderr(Stdio::piped());
    let other = other.spawn().expect("kiln runs");
    for _ in 0..3 {
        let mut victim = start(&bench, "--no-cache");
        std::thread::sleep(Duration::from_millis(150));
        signal(&victim, Signal::KILL);
        victim.wait().expect("it was started");
    }
    let other = other.wait_with_output().expect("it was started");
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.success(), "{said}");
    assert_gone(&bench);
    bench.build("");
    machine::assert_clean(&bench.store());
}

fn interrupted(by: Signal) {
    let bench = Bench::with(
        "FROM base\nRUN --mount=type=cache,target=/c echo x >/c/began; trap '' INT TERM; sleep 1000 & sleep 1000\n",
    );
    let mut child = start(&bench, "-t never:1");
    let began = |entry: fs::DirEntry| entry.path().join("files/began").exists();
    for _ in 0..3000 {
        let caches = fs::read_dir(bench.store().join("cache-mounts"));
        if caches.into_iter().flatten().flatten().any(began) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let at = Instant::now();
    signal(&child, by);
    let status = child.wait().expect("it was started");
    assert!(at.elapsed() < Duration::from_secs(10), "{:?}", at.elapsed());
    assert_eq!(status.code(), Some(128 + by.as_raw()));
    assert_gone(&bench);
    machine::assert_clean(&bench.store());
    let images = bench
        .kiln()
        .arg("images")
        .arg("-q")
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&images.stdout), "");
}

#[test]
fn ctrl_c_ends_a_build() {
    interrupted(Signal::INT);
}

#[test]
fn a_request_to_terminate_ends_a_build() {
    interrupted(Signal::TERM);
}

/// What a step leaves in the background ends with it.
#[test]
fn nothing_outlives_its_step() {
    let bench = Bench::with(
        "FROM base\nRUN (sleep 1000 &) ; (setsid sleep 1000 </dev/null >/dev/null 2>&1 &) ; true\n",
    );
    bench.build("");
    machine::assert_clean(&bench.store());
}

/// A terminal sends its signal to the whole group, the steps' helpers included.
#[test]
fn ctrl_c_on_a_terminal_ends_a_build() {
    let bench = Bench::with("FROM base\nRUN echo begun-it; sleep 1000\n");
    let session = format!("kiln-test-{}-{:p}", std::process::id(), &bench);
    let tmux = |arguments: &[&str]| {
        let mut command = Command::new("tmux");
        command.args(["-L", &session]).args(arguments);
        let output = command.output().expect("tmux runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let build = bench.command("");
    let words = build.get_args().map(|word| word.to_str().expect("plain"));
    let words: Vec<&str> = words.filter(|word| *word != "--progress=rawjson").collect();
    let line = format!(
        "export KILN_ROOT={}; {} {}; echo code=$?",
        bench.store().display(),
        crate::bench::KILN,
        words.join(" ")
    );
    tmux(&["new-session", "-d", "-x", "120", "-y", "40", "sh"]);
    tmux(&["send-keys", "-l", &line]);
    tmux(&["send-keys", "Enter"]);
    let shows = |text: &str| {
        (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let screen = tmux(&["capture-pane", "-p"]);
            screen
                .lines()
                .any(|line| line.contains(text) && !line.contains("sleep") && !line.contains("$?"))
        })
    };
    let began = shows("begun-it");
    tmux(&["send-keys", "C-c"]);
    let ended = shows("code=130");
    let screen = tmux(&["capture-pane", "-p"]);
    tmux(&["kill-server"]);
    assert!(began && ended, "{screen}");
    assert!(screen.contains("canceled"), "{screen}");
    assert_gone(&bench);
    machine::assert_clean(&bench.store());
}
