//! The end of a step, however it comes: nothing of it may outlive it, nor Kiln.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use kiln_worker::sandbox::{Error, Network, Overlay, Sandbox, Spec, Writable};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::network;

crate::cases![
    what_a_step_leaves_behind_is_killed,
    cancelling_kills_within_a_second,
    dropping_kills_within_a_second,
    killing_kiln_leaves_nothing,
    killing_kiln_at_any_moment_leaves_nothing,
    killing_the_helper_leaves_nothing,
    killing_init_is_reported,
    an_escaped_output_does_not_hold_the_step_up,
];

/// What makes this program run one endless step, so that it can be killed: root, upper and work
/// directories, a mark, and whether another step is made ready meanwhile follow.
pub(crate) const VICTIM: &str = "--victim=";

/// A script that marks itself, ignores what it can, and leaves more processes than one.
fn endless(mark: &str) -> String {
    format!(
        "trap '' TERM INT HUP; setsid sh -c 'sleep 99{mark}' & sleep 98{mark} & sleep 97{mark}; :"
    )
}

/// A process of the machine.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: String,
    pub(crate) uid: u32,
}

fn processes() -> impl Iterator<Item = (Process, String)> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path();
        let command = fs::read(path.join("cmdline")).ok()?;
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let uid = fs::metadata(path.join("ns")).ok()?.uid();
        let uid = fs::metadata(&path).map_or(uid, |metadata| metadata.uid());
        let command = String::from_utf8_lossy(&command).into_owned();
        Some((
            Process {
                pid,
                parent,
                name: name.into(),
                uid,
            },
            command,
        ))
    })
}

/// The processes that have `mark` among their arguments.
pub(crate) fn processes_with(mark: &str) -> Vec<Process> {
    processes()
        .filter(|(_, command)| command.contains(mark))
        .map(|(process, _)| process)
        .collect()
}

/// The helper and init of the step that `process` runs for.
pub(crate) fn children_of(process: u32) -> Vec<i32> {
    processes()
        .filter(|(child, _)| child.parent == process as i32)
        .map(|(child, _)| child.pid)
        .collect()
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process id"), Signal::KILL).expect("kill");
}

/// Waits for something that takes milliseconds, though longer than that where the machine is busy.
#[track_caller]
pub(crate) fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "this does not come about: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn mark(case: &str) -> String {
    let number = case.bytes().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("{}{number}", std::process::id())
}

fn what_a_step_leaves_behind_is_killed(bench: &Bench) {
    let mark = mark("left");
    let script =
        format!("(setsid sleep 99{mark} </dev/null >/dev/null 2>&1 &); sleep 98{mark} & echo done");
    let began = Instant::now();
    assert_eq!(bench.output(&script), "done\n");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(processes_with(&mark).is_empty());
}

fn cancelling_kills_within_a_second(bench: &Bench) {
    let mark = mark("cancel");
    let root = bench.root();
    let spec = bench.script(&root, &endless(&mark));
    let mut asked = None;
    let cancel = async {
        while processes_with(&mark).len() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        asked = Some(Instant::now());
    };
    let result = bench.run_until(&spec, cancel);
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(asked.expect("it was cancelled").elapsed() < Duration::from_secs(1));
    assert!(processes_with(&mark).is_empty());
    assert!(children_of(std::process::id()).is_empty());
    fs::remove_dir_all(&root.upper).expect("nothing is mounted");
}

fn dropping_kills_within_a_second(bench: &Bench) {
    let mark = mark("drop");
    let root = bench.root();
    let spec = bench.script(&root, &endless(&mark));
    bench.block_on(async {
        let step = bench.sandbox.run(&spec, |_, _| {}, std::future::pending());
        let running = async {
            while processes_with(&mark).len() < 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = step => panic!("the step ended"),
            () = running => {}
        }
    });
    soon("the processes are gone", || {
        processes_with(&mark).is_empty()
    });
}

/// A copy of this program that is about to run an endless step.
fn spawn_victim(bench: &Bench, upper: &Path, mark: &str, prepares: bool) -> std::process::Child {
    let directory = upper.parent().expect("a parent");
    let argument = format!(
        "{VICTIM}{}:{}:{mark}:{prepares}",
        bench.debian.display(),
        directory.display()
    );
    Command::new("/proc/self/exe")
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// The same, once the step has begun.
fn start_victim(bench: &Bench, upper: &Path, mark: &str) -> std::process::Child {
    let victim = spawn_victim(bench, upper, mark, false);
    let began = Instant::now();
    while processes_with(&format!("98{mark}")).len() < 2 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the victim's step does not begin"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    victim
}

/// What the program does when it is to be killed.
pub(crate) fn be_victim(argument: &str) -> ExitCode {
    let parts: Vec<_> = argument.split(':').collect();
    let [debian, directory, mark, prepares] = parts[..] else {
        return ExitCode::FAILURE;
    };
    let directory = Path::new(directory);
    let writable = Writable {
        upper: directory.join("upper"),
        work: directory.join("work"),
    };
    let root = Overlay {
        layers: vec![debian.into()],
        writable: Some(writable),
    };
    let mut spec = Spec::new(root, ["/bin/sh", "-c", &endless(mark)]);
    spec.network = Network::Private;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let sandbox = Sandbox::default();
    let result = runtime.block_on(async {
        let run = sandbox.run(&spec, |_, _| {}, std::future::pending());
        let prepare = async {
            if prepares == "true" {
                sandbox.prepare_another(&spec).await;
            }
        };
        tokio::join!(run, prepare).0
    });
    match result {
        Err(Error::Lost) => ExitCode::from(77),
        Err(Error::Step(error)) if error.to_string().contains("killed by signal 9") => {
            ExitCode::from(78)
        }
        _ => ExitCode::FAILURE,
    }
}

/// The mounts of this machine that show a directory, or lie in it.
fn mounts_of(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().expect("tests use plain names");
    fs::read_to_string("/proc/self/mountinfo")
        .expect("mounts")
        .lines()
        .filter(|line| line.contains(directory))
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn nothing_is_left(mark: &str, upper: &Path) {
    soon("the processes are gone", || processes_with(mark).is_empty());
    soon("the network is gone", || network::leftovers().is_empty());
    let directory = upper.parent().expect("a parent");
    assert_eq!(mounts_of(directory), [""; 0]);
    // What is mounted cannot be removed. A helper that was just being started may still write.
    soon("nothing is mounted", || {
        fs::remove_dir_all(directory).is_ok()
    });
}

fn killing_kiln_leaves_nothing(bench: &Bench) {
    let (mark, root) = (mark("kiln"), bench.root());
    let mut victim = start_victim(bench, &root.upper, &mark);
    let helpers = children_of(victim.id());
    assert_eq!(helpers.len(), 1);
    victim.kill().expect("kill");
    victim.wait().expect("wait");
    soon("the helper is gone", || {
        fs::read_to_string(format!("/proc/{}/stat", helpers[0]))
            .map_or(true, |stat| stat.contains(") Z "))
    });
    nothing_is_left(&mark, &root.upper);
}

fn killing_kiln_at_any_moment_leaves_nothing(bench: &Bench) {
    // The helper and init bear no mark, but a name.
    let helpers = || processes_with("kiln-step").len();
    let (mark, helpers_before) = (mark("any"), helpers());
    for quarter_milliseconds in 0..80 {
        let root = bench.root();
        let prepares = quarter_milliseconds % 2 == 1;
        let mut victim = spawn_victim(bench, &root.upper, &mark, prepares);
        std::thread::sleep(Duration::from_micros(250 * quarter_milliseconds));
        victim.kill().expect("kill");
        victim.wait().expect("wait");
        soon("the helper is gone", || helpers() == helpers_before);
        nothing_is_left(&mark, &root.upper);
    }
}

fn killing_the_helper_leaves_nothing(bench: &Bench) {
    let (mark, root) = (mark("helper"), bench.root());
    let mut victim = start_victim(bench, &root.upper, &mark);
    kill(children_of(victim.id())[0]);
    assert_eq!(victim.wait().expect("wait").code(), Some(77));
    nothing_is_left(&mark, &root.upper);
}

fn killing_init_is_reported(bench: &Bench) {
    let (mark, root) = (mark("init"), bench.root());
    let mut victim = start_victim(bench, &root.upper, &mark);
    let helper = children_of(victim.id())[0];
    kill(children_of(helper as u32)[0]);
    assert_eq!(victim.wait().expect("wait").code(), Some(78));
    nothing_is_left(&mark, &root.upper);
}

/// A process outside may get hold of the pipe, here by opening it through /proc.
fn an_escaped_output_does_not_hold_the_step_up(bench: &Bench) {
    let mark = mark("escape");
    let root = bench.root();
    let spec = bench.script(&root, &format!("echo before; sleep 0.5{mark}; echo after"));
    let held = std::sync::Mutex::new(None);
    let hold = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let sleeping = processes_with(&mark)
                .into_iter()
                .find(|process| process.name == "sleep");
            let Some(process) = sleeping else { continue };
            let path = format!("/proc/{}/fd/1", process.pid);
            *held.lock().expect("lock") = fs::OpenOptions::new().write(true).open(path).ok();
            break std::future::pending::<()>().await;
        }
    };
    let done = bench.run_until(&spec, hold).expect("it runs");
    assert!(held.into_inner().expect("lock").is_some());
    assert_eq!(done.text(), "before\nafter\n");
}
