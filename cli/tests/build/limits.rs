//! What steps may use: `--shm-size`, `--ulimit`, and control groups as far as this machine has them.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::bench::{Bench, text};
use crate::machine;
use crate::wait;

/// Whether this machine has a controller in the first version of control groups.
fn has_legacy(controller: &str) -> bool {
    Path::new("/sys/fs/cgroup")
        .join(controller)
        .join("cgroup.procs")
        .exists()
}

/// Groups of steps that are there.
fn groups() -> Vec<String> {
    let output = std::process::Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-maxdepth",
            "4",
            "-type",
            "d",
            "-name",
            "kiln-step-*",
        ])
        .output();
    let found = String::from_utf8_lossy(&output.expect("find runs").stdout).into_owned();
    found.lines().map(str::to_owned).collect()
}

#[test]
fn limits_of_processes_are_set() {
    let bench = Bench::with(
        "FROM base\nRUN test $(df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2) = 1024\n\
         RUN test $(ulimit -Sn) = 100 && test $(ulimit -Hn) = 200\nRUN test $(ulimit -c) = 0\n\
         USER 1000\nRUN test $(ulimit -Hn) = 200 && ! ulimit -n 300\n",
    );
    bench.build("--shm-size 1m --ulimit nofile=100:200 --ulimit core=0");
    machine::assert_clean(&bench.store());
}

#[test]
fn fewer_open_files_than_kiln_itself_needs() {
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("--ulimit nofile=4");
    machine::assert_clean(&bench.store());
}

#[test]
fn a_limit_that_cannot_be_set_is_named_as_it_was_typed() {
    let bench = Bench::with("FROM base\nRUN true\n");
    let failed = bench.try_build("--ulimit rtprio=99 --ulimit nofile=99999999999");
    failed.assert_failed(1, &["the limit nofile", ">>> RUN true"]);
}

#[test]
fn only_a_limit_that_a_command_can_see_runs_it_again() {
    let bench = Bench::with("FROM base\nRUN ulimit -n >/limit\n");
    assert_eq!(bench.build("").ran().len(), 1);
    for (line, runs) in [
        ("--memory 100m", false),
        ("--cpu-shares 512", false),
        ("--shm-size 1m", true),
        ("--ulimit nofile=100 --ulimit core=0", true),
        ("--ulimit core=0 --ulimit nofile=100", false),
        (
            "--ulimit core=0 --ulimit nofile=1 --ulimit nofile=100",
            false,
        ),
        ("--ulimit nofile=101 --ulimit core=0", true),
    ] {
        assert_eq!(bench.build(line).ran().len(), usize::from(runs), "{line}");
    }
}

#[test]
fn groups_limit_a_step_and_go_with_it() {
    if !has_legacy("memory") || !has_legacy("cpu") || !has_legacy("cpuset") {
        let bench = Bench::with("FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n");
        let finished = bench.try_build("--memory 50m --memory-swap 50m");
        let told = finished.told();
        assert!(told.contains("out of memory") || told.contains("--memory has no effect"));
        return;
    }
    let bench = Bench::with("FROM base\nRUN cat /proc/self/cgroup && sleep 1000\n");
    let line = "--memory 50m --memory-swap 50m --cpu-shares 512 --cpu-quota 50000 --cpu-period 200000 --cpuset-cpus 0 --cpuset-mems 0 --cgroup-parent kiln-test/inner";
    let mut running = bench
        .command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kiln runs");
    let ours = |controller: &str| {
        let parent = Path::new("/sys/fs/cgroup")
            .join(controller)
            .join("kiln-test/inner");
        fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                let inside = fs::read_to_string(path.join("cgroup.procs"));
                path.is_dir() && inside.is_ok_and(|inside| inside.lines().count() >= 2)
            })
    };
    wait::until(|| ours("memory").is_some());
    let value = |controller: &str, file: &str| {
        let group = ours(controller).expect("it is running");
        fs::read_to_string(group.join(file))
            .expect(file)
            .trim()
            .to_owned()
    };
    assert_eq!(value("memory", "memory.limit_in_bytes"), "52428800");
    assert_eq!(value("memory", "memory.memsw.limit_in_bytes"), "52428800");
    assert_eq!(value("cpu", "cpu.shares"), "512");
    assert_eq!(value("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(value("cpu", "cpu.cfs_period_us"), "200000");
    assert_eq!(value("cpuset", "cpuset.cpus"), "0");
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    // The helper sees its parent's end, and takes the groups away.
    wait::until(|| {
        ours("memory").is_none() && !groups().iter().any(|path| path.contains("kiln-test"))
    });
    bench.file(
        "Dockerfile",
        "FROM base\nRUN cat /proc/self/cgroup && grep -q ':memory:/$' /proc/self/cgroup\n",
    );
    bench.build(line);
    bench.file(
        "Dockerfile",
        "FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n",
    );
    bench.build("");
    let why = "out of memory: it took more than its limit of 52428800 bytes";
    bench.refused(&format!("--no-cache {line}"), 1, &[">>> RUN dd", why]);
    // A command that does well in spite of it has done well; one that fails without it is not out of memory.
    bench.file(
        "Dockerfile",
        "FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1; true\n",
    );
    bench.build(&format!("--no-cache {line}"));
    bench.file("Dockerfile", "FROM base\nRUN kill -9 $$\n");
    bench.refused(&format!("--no-cache {line}"), 1, &["killed by signal 9"]);
    assert_eq!(
        groups()
            .iter()
            .filter(|path| path.contains("kiln-test"))
            .count(),
        0
    );
}

/// A limit that is not Kiln's, as a service manager may set it for all that Kiln does.
#[test]
fn memory_that_runs_out_elsewhere_is_told_as_well() {
    if !has_legacy("memory") {
        return;
    }
    let parent = Path::new("/sys/fs/cgroup/memory/kiln-test-tight");
    fs::create_dir_all(parent).expect("a group");
    fs::write(parent.join("memory.limit_in_bytes"), "50m").expect("a limit");
    let bench = Bench::with("FROM base\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n");
    let line = "--cgroup-parent kiln-test-tight";
    bench.refused(line, 1, &["out of memory: there was no more for it"]);
    fs::remove_dir(parent).expect("it is empty");
}

#[test]
fn what_a_killed_helper_left_is_removed_by_the_next_step() {
    if !has_legacy("memory") {
        return;
    }
    let parent = Path::new("/sys/fs/cgroup/memory/kiln-test-left");
    let left = parent.join("kiln-step-4194305-00");
    fs::create_dir_all(&left).expect("a group");
    let bench = Bench::with("FROM base\nRUN true\n");
    bench.build("--memory 50m --cgroup-parent kiln-test-left");
    assert!(!left.exists());
    fs::remove_dir(parent).expect("it is empty");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let bench = Bench::with("FROM base\nRUN true\n");
    for (line, part) in [
        ("--memory 512x", "write it as in --memory 512m"),
        ("--shm-size nothing", "it is not a size"),
        ("--ulimit nofiles=1", "did you mean nofile?"),
        ("--ulimit nofile=2:1", "above the hard one"),
        ("--memory-swap 1g", "it needs --memory"),
        ("--cpu-shares 0", "--cpu-shares"),
        ("--cpuset-cpus 3-1", "not a list of numbers"),
        ("--allow network-host", "did you mean network.host?"),
        ("--provenance=true", "not supported yet"),
        ("--sbom true", "not supported yet"),
        ("--attest type=sbom", "not supported yet"),
        ("--annotation a", "there is no ="),
        ("--annotation index:a=b", "no index to annotate"),
        ("--no-cache --no-cache-filter a", "cannot be used with"),
    ] {
        bench.try_build(line).assert_failed(2, &[part]);
    }
    bench.build("--provenance=false --sbom=false --attest type=sbom,disabled=true");
}

#[test]
fn a_user_without_groups_of_his_own_is_told() {
    let user = crate::rootless::User::new(crate::base::small(), "FROM base\nRUN true\n");
    let finished = user.build("--memory 100m --cpu-shares 512 --shm-size 1m --ulimit nofile=100");
    finished.assert_well();
    for part in [
        "WARNING: --memory has no effect",
        "WARNING: --cpu-shares has no effect",
    ] {
        assert!(finished.told().contains(part), "{}", finished.told());
    }
    machine::assert_clean(&user.store());
    assert!(text(&user.store()).contains("home"));
}

/// The step ends with the limit's name, and a build beside it that does not reach it goes on.
fn ends_alone(bench: &Bench, limits: &str, step: &str, told: &str) {
    bench.file("Dockerfile", format!("FROM base\nRUN {step}\n"));
    bench.file("Beside", "FROM base\nRUN sleep 1 && echo well >/well\n");
    let beside = format!("-f {} {limits}", text(&bench.context("Beside")));
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| bench.try_build(&beside));
        bench.try_build(limits).assert_failed(1, &[told, ">>> RUN"]);
        beside.join().expect("it ends").assert_well();
    });
    machine::assert_clean(&bench.store());
}

#[test]
fn a_step_that_fills_the_disk_ends_alone() {
    let bench = Bench::new();
    let step = "while true; do cat /dev/zero | head -c 1m >>/big; done";
    ends_alone(
        &bench,
        "--max-step-disk 50m",
        step,
        "too much on disk: it was ended when it had written more than 52428800 bytes (--max-step-disk)",
    );
    let many = "i=0; while true; do mkdir /d$i; i=$((i+1)); done";
    ends_alone(&bench, "--max-step-disk 2m", many, "(--max-step-disk)");
}

#[test]
fn a_step_that_logs_without_end_ends_alone() {
    let bench = Bench::new();
    let told = "too much output: it was ended when it had written more than 5242880 bytes";
    ends_alone(&bench, "--max-step-log 5m", "yes", told);
    // What is just enough is no fault.
    bench.file("Dockerfile", "FROM base\nRUN head -c 1000 /dev/zero\n");
    bench.build("--max-step-log 1000");
    bench.file("Dockerfile", "FROM base\nRUN head -c 1001 /dev/zero\n");
    bench.refused("--max-step-log 1000", 1, &["more than 1000 bytes"]);
}

#[test]
fn a_fork_bomb_ends_alone() {
    if !has_legacy("pids") {
        return;
    }
    let bench = Bench::new();
    let told = "too many processes: it had reached its limit of 50 (--pids-limit)";
    // One that gives up, and one that never does.
    ends_alone(
        &bench,
        "--pids-limit 50",
        "for i in $(seq 99); do sleep 99 & done",
        told,
    );
    let bomb = "bomb() { while true; do bomb & done 2>/dev/null; }; bomb";
    ends_alone(&bench, "--pids-limit 50", bomb, told);
    bench.file("Dockerfile", "FROM base\nRUN sleep 0.1 & sleep 0.1\n");
    bench.build("--pids-limit 50");
}
