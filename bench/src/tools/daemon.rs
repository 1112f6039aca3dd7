//! A daemon that this program started, or one that was there already.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::last_lines;
use crate::interrupt;
use crate::process::ProcessId;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(50);

/// A daemon; one that was started here is stopped when dropped.
#[derive(Debug)]
pub(crate) enum Daemon {
    Started(Child),
    Foreign(ProcessId),
}

impl Daemon {
    /// Starts a daemon whose output goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let errors = output
            .try_clone()
            .with_context(|| log.display().to_string())?;
        let program = command.get_program().to_string_lossy().into_owned();
        // A group of its own, for it must outlive a Ctrl-C until its clients are gone.
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        Ok(Self::Started(child))
    }

    /// Starts a daemon and waits until it listens on `socket`.
    pub(crate) fn start_on_socket(
        command: &mut Command,
        socket: &Path,
        log: &Path,
    ) -> Result<Self> {
        if socket.exists() {
            fs::remove_file(socket).with_context(|| socket.display().to_string())?;
        }
        let mut daemon = Self::start(command, log)?;
        let start = Instant::now();
        while UnixStream::connect(socket).is_err() {
            if daemon.has_ended() || start.elapsed() > START_LIMIT {
                let printed = fs::read_to_string(log).unwrap_or_default();
                bail!("the daemon does not listen: {}", last_lines(&printed, 5));
            }
            interrupt::sleep(TICK)?;
        }
        Ok(daemon)
    }

    /// The daemon's process.
    pub(crate) fn process(&self) -> ProcessId {
        match self {
            Self::Started(child) => child.id(),
            Self::Foreign(process) => *process,
        }
    }

    fn has_ended(&mut self) -> bool {
        match self {
            Self::Started(child) => !matches!(child.try_wait(), Ok(None)),
            Self::Foreign(_) => false,
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self, Self::Foreign(_)) {
            return;
        }
        let start = Instant::now();
        while !self.has_ended() {
            let Self::Started(child) = self else { return };
            let signal = if start.elapsed() > STOP_LIMIT {
                Signal::KILL
            } else {
                Signal::TERM
            };
            // It may end between the question and the signal; it is not reaped until asked again.
            if start.elapsed() < TICK || signal == Signal::KILL {
                let _ = kill_process(Pid::from_child(child), signal);
            }
            thread::sleep(TICK);
        }
    }
}
