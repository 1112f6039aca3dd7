//! One measured run of a builder's client: wall time, CPU time and peak memory.

use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Serialize;

use crate::command::last_lines;
use crate::interrupt;
use crate::process::{self, ProcessId, Usage};
use crate::settle::CpuTicks;

/// How long a daemon may go on tidying up after its client's end; its CPU time is still counted.
const DAEMON_AFTERWORK: Duration = Duration::from_millis(100);

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// From the client's start to its end.
    pub(crate) wall_seconds: f64,
    /// Of the client and the children that it has waited for.
    pub(crate) client_cpu_seconds: f64,
    /// Of the daemon and its children, to the clock tick.
    pub(crate) daemon_cpu_seconds: f64,
    /// The peak of the largest process among the client and the children that it has waited for.
    pub(crate) client_peak_bytes: u64,
    /// The sum of the peaks of the daemon's processes that outlive the build.
    pub(crate) daemon_peak_bytes: u64,
    /// The largest single process, of the client's or the daemon's.
    pub(crate) largest_process_bytes: u64,
    /// The CPU seconds used meanwhile by everything else: the kernel's threads, and other people.
    pub(crate) other_cpu_seconds: f64,
    /// Size of what was exported.
    pub(crate) output_bytes: Option<u64>,
    /// Whether the CPUs were idle before the run.
    pub(crate) settled: bool,
}

impl Sample {
    /// CPU seconds of client and daemon.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.client_cpu_seconds + self.daemon_cpu_seconds
    }

    /// Peak memory of client and daemon together.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.client_peak_bytes + self.daemon_peak_bytes
    }
}

/// Runs `client` to its end, its output going to `log`, and measures it and `daemon`.
///
/// A client that fails or takes longer than `limit` is an error that ends with what it printed last.
pub(crate) fn run(
    client: &mut Command,
    daemon: Option<ProcessId>,
    log: &Path,
    limit: Duration,
) -> Result<Sample> {
    let daemon_before = prepare(daemon)?;
    let machine_before = CpuTicks::now()?;
    let start = Instant::now();
    let child = spawn(client, log)?;
    let finished = wait(&child, limit)?;
    let wall = start.elapsed();
    if !finished.status.success() {
        let printed = fs::read_to_string(log).unwrap_or_default();
        bail!("{}: {}", finished.status, last_lines(&printed, 8));
    }
    thread::sleep(if daemon.is_some() {
        DAEMON_AFTERWORK
    } else {
        Duration::ZERO
    });
    let daemon_after = usage(daemon)?;
    let machine = CpuTicks::now()?.busy_seconds_since(machine_before);
    Ok(sample(
        wall,
        &finished,
        daemon_before,
        daemon_after,
        machine,
    ))
}

fn sample(wall: Duration, client: &Finished, before: Usage, after: Usage, machine: f64) -> Sample {
    let daemon_cpu_seconds = (after.cpu_seconds - before.cpu_seconds).max(0.0);
    Sample {
        wall_seconds: wall.as_secs_f64(),
        client_cpu_seconds: client.cpu_seconds,
        daemon_cpu_seconds,
        client_peak_bytes: client.peak_bytes,
        daemon_peak_bytes: after.sum_of_peaks_bytes,
        largest_process_bytes: client.peak_bytes.max(after.largest_peak_bytes),
        other_cpu_seconds: (machine - client.cpu_seconds - daemon_cpu_seconds).max(0.0),
        output_bytes: None,
        settled: true,
    }
}

/// Resets the peaks. This program's own as well: a child's peak begins with that of its parent,
/// whose memory it has between clone and exec.
fn prepare(daemon: Option<ProcessId>) -> Result<Usage> {
    process::reset_peak(std::process::id())?;
    if let Some(daemon) = daemon {
        process::reset_peaks(daemon)?;
    }
    usage(daemon)
}

fn usage(daemon: Option<ProcessId>) -> Result<Usage> {
    daemon.map_or_else(|| Ok(Usage::default()), process::usage_of_tree)
}

fn spawn(client: &mut Command, log: &Path) -> Result<Child> {
    let output = File::create(log).with_context(|| log.display().to_string())?;
    let errors = output
        .try_clone()
        .with_context(|| log.display().to_string())?;
    let program = client.get_program().to_string_lossy().into_owned();
    // A group of its own: Ctrl-C is ours to pass on, and the client's children end with it.
    client
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0);
    client
        .spawn()
        .with_context(|| format!("starting {program}"))
}

/// How a client ended, and what it and its children used.
struct Finished {
    status: ExitStatus,
    cpu_seconds: f64,
    peak_bytes: u64,
}

fn wait(child: &Child, limit: Duration) -> Result<Finished> {
    let ended = wait_until_ended(child, limit);
    if ended.is_err() {
        // Nothing is lost if it has ended meanwhile.
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let finished = reap(child);
    ended?;
    finished.context("waiting for the client")
}

fn wait_until_ended(child: &Child, limit: Duration) -> Result<()> {
    let descriptor = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .context("opening the client's pidfd")?;
    let end = Instant::now() + limit;
    let tick = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    loop {
        interrupt::check()?;
        if Instant::now() >= end {
            bail!("took longer than {} s", limit.as_secs());
        }
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error).context("waiting for the client"),
        }
    }
}

/// Waits for a client with wait4(2), which alone tells the usage of one child and its children.
fn reap(child: &Child) -> io::Result<Finished> {
    let process = Pid::from_child(child).as_raw_nonzero().get();
    let mut status: libc::c_int = 0;
    loop {
        // SAFETY: an all-zero rusage is valid, and both pointers outlive the call.
        let (result, usage) = unsafe {
            let mut usage: libc::rusage = mem::zeroed();
            (libc::wait4(process, &mut status, 0, &mut usage), usage)
        };
        if result == process {
            return Ok(finished(status, &usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn finished(status: libc::c_int, usage: &libc::rusage) -> Finished {
    Finished {
        status: ExitStatus::from_raw(status),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}
