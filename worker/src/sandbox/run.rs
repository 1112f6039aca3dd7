//! Runs a step from the engine's side: starts the helper, passes on the output as it comes, and turns
//! the report into an outcome. Knows nothing of namespaces and mounts.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use super::error::{Error, Failure};
use super::helper;
use super::identity::{Identity, is_first_namespace};
use super::network::{self, Filter, Passage, WayOut};
use super::seccomp;
use super::spec::{Network, Spec};
use super::wire::{self, Ended, Job, Report};

/// Which of the two streams of a step's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended itself with this code.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

/// What there was too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Memory that the step may have.
    StepMemory,
    /// Memory of the machine.
    MachineMemory,
    /// Processes that the step may have.
    Processes,
}

/// What became of a step whose command could be run, whether it did well or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the command itself ended.
    pub exit: Exit,
    /// Bytes that the largest process of the step held at most.
    pub peak_memory: u64,
    /// Time on processors in user mode of all processes of the step together.
    pub user_time: Duration,
    /// Time on processors in the kernel, setting the step up included.
    pub system_time: Duration,
    /// Whose ids the step had.
    pub identity: Identity,
    /// How its private network reached what is outside, if it had one.
    pub way_out: Option<WayOut>,
    /// Set if the kernel killed a process of the step because memory ran out, or made none because there were
    /// enough. Of the machine's memory that is
    /// what a killed command suggests; other programs may be what was killed.
    pub shortage: Option<Shortage>,
}

/// Runs steps. Cheap to make; what it learns about the machine serves later steps.
#[derive(Debug)]
pub struct Sandbox {
    program: PathBuf,
    identity: Mutex<Identity>,
    /// How private networks may reach what is outside, the best first; none leaves the host's network.
    ways_out: Mutex<Vec<WayOut>>,
    filter: OnceCell<Option<Filter>>,
    /// How many processes the machine had killed for memory before.
    killed_before: u64,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::with_program("/proc/self/exe")
    }
}

impl Sandbox {
    /// A sandbox whose helper is `program` rather than the running one: it must begin with
    /// [`run_if_helper`](super::run_if_helper).
    pub fn with_program(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            identity: Mutex::new(Identity::of_this_process()),
            ways_out: Mutex::new(WayOut::all(
                rustix::process::geteuid().is_root() && is_first_namespace(),
            )),
            filter: OnceCell::new(),
            killed_before: killed_for_memory(),
        }
    }

    /// Runs steps with these ids from now on, whatever this machine is capable of.
    pub fn set_identity(&self, identity: Identity) {
        *locked(&self.identity) = identity;
    }

    /// Whose ids the next step will have.
    pub fn identity(&self) -> Identity {
        *locked(&self.identity)
    }

    /// Lets private networks reach what is outside by these ways only, the best first.
    pub fn set_ways_out(&self, ways: Vec<WayOut>) {
        *locked(&self.ways_out) = ways;
    }

    /// How the private network of the next step will reach what is outside; `None` if it is the host's.
    pub fn way_out(&self) -> Option<WayOut> {
        locked(&self.ways_out).first().copied()
    }

    /// The best way out that there is, with what has to be there before a step can go it.
    async fn passage(&self) -> Option<Passage> {
        loop {
            let way = self.way_out()?;
            let range = match way {
                WayOut::Pasta | WayOut::Slirp4netns => Ipv4Addr::UNSPECIFIED,
                WayOut::Routed => match self.filter().await {
                    Some(filter) => filter.range,
                    None => {
                        self.give_up(way);
                        continue;
                    }
                },
            };
            return Some(Passage { way, range });
        }
    }

    /// The filter of all steps, made when the first one needs it; `None` if it cannot be.
    async fn filter(&self) -> Option<&Filter> {
        let establish = || async {
            let made = tokio::task::spawn_blocking(network::establish_filter).await;
            made.ok()?.ok()
        };
        self.filter.get_or_init(establish).await.as_ref()
    }

    fn give_up(&self, way: WayOut) {
        locked(&self.ways_out).retain(|other| *other != way);
    }

    /// Runs `spec` to its end; `log` gets the output in the pieces in which it comes.
    ///
    /// A command that fails is an [`Outcome`]; an error means that it could not be run. When this
    /// returns, no process of the step is left. When `cancelled` is ready first, or the future is
    /// dropped, all of them are killed; only in the first case is that waited for.
    pub async fn run(
        &self,
        spec: &Spec,
        mut log: impl FnMut(Stream, &[u8]),
        cancelled: impl Future<Output = ()>,
    ) -> Result<Outcome, Error> {
        let mut cancelled = std::pin::pin!(cancelled);
        // Privileges are this process's own, and so are the ids.
        let mut identity = match spec.privileged {
            true => Identity::Same,
            false => self.identity(),
        };
        let filter: &[_] = match spec.privileged {
            true => &[],
            false => seccomp::filter(),
        };
        loop {
            let passage = match spec.network {
                Network::Private => self.passage().await,
                Network::Host | Network::None => None,
            };
            let job = Job {
                spec,
                identity,
                passage,
                filter,
            };
            // Where an attempt fails so, nothing of the step has run yet, so that another repeats nothing.
            match self.attempt(&job, &mut log, cancelled.as_mut()).await {
                Err(Error::Step(Failure::IdMapRefused { .. })) if identity == Identity::Shifted => {
                    identity = Identity::Same;
                    self.set_identity(identity);
                }
                Err(Error::Step(Failure::Unconnected { way, .. })) => {
                    self.give_up(way);
                }
                result => return result,
            }
        }
    }

    async fn attempt(
        &self,
        job: &Job<&Spec, &[seccomp::Instruction]>,
        log: &mut impl FnMut(Stream, &[u8]),
        mut cancelled: impl Future<Output = ()> + Unpin,
    ) -> Result<Outcome, Error> {
        let frame = wire::frame(job)?;
        let failed = |operation| {
            move |source| Error::Helper {
                operation,
                program: self.program.clone(),
                source,
            }
        };
        let Step {
            mut helper,
            socket,
            lifeline,
            mut stdout,
            mut stderr,
        } = self.start().map_err(failed("start"))?;
        let mut stopped = false;
        let mut report = std::pin::pin!(exchange(socket, &frame));
        let report = loop {
            tokio::select! {
                report = &mut report => break report,
                length = stdout.read(), if stdout.open => stdout.pass_on(length, log),
                length = stderr.read(), if stderr.open => stderr.pass_on(length, log),
                () = &mut cancelled, if !stopped => {
                    stopped = true;
                    lifeline.shutdown(Shutdown::Write).map_err(failed("stop"))?;
                }
            }
        };
        if report.is_err() {
            // Without a helper to wait for, the end of the output tells that the step is gone.
            let ends = async {
                while stdout.open || stderr.open {
                    tokio::select! {
                        length = stdout.read(), if stdout.open => stdout.pass_on(length, log),
                        length = stderr.read(), if stderr.open => stderr.pass_on(length, log),
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), ends).await;
        }
        stdout.drain(log);
        stderr.drain(log);
        helper.wait().await.map_err(failed("wait for"))?;
        match report {
            _ if stopped => Err(Error::Cancelled),
            Err(_) => Err(Error::Lost),
            Ok(bytes) => {
                let ended = postcard::from_bytes::<Report>(&bytes)??;
                Ok(Outcome::new(ended, job, self.killed_before))
            }
        }
    }

    fn start(&self) -> io::Result<Step> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        // Everything else of ours closes itself on exec, so that the helper alone holds its ends.
        let helper = Command::new(&self.program)
            .arg0(helper::NAME)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(stdout_writer)
            .stderr(stderr_writer)
            .spawn()?;
        ours.set_nonblocking(true)?;
        Ok(Step {
            helper,
            lifeline: ours.try_clone()?,
            socket: UnixStream::from_std(ours)?,
            stdout: Output::new(Stream::Stdout, stdout.into())?,
            stderr: Output::new(Stream::Stderr, stderr.into())?,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A started helper. Dropping it closes the socket, which ends the step.
struct Step {
    helper: Child,
    socket: UnixStream,
    /// The same socket, to close it for writing while the report is awaited.
    lifeline: std::os::unix::net::UnixStream,
    stdout: Output,
    stderr: Output,
}

/// Sends the job and waits for the report.
async fn exchange(mut socket: UnixStream, job: &[u8]) -> io::Result<Vec<u8>> {
    socket.write_all(job).await?;
    let length = socket.read_u32_le().await?;
    let mut report = vec![0; length as usize];
    socket.read_exact(&mut report).await?;
    Ok(report)
}

/// Our end of one of the step's output pipes.
struct Output {
    stream: Stream,
    pipe: Receiver,
    open: bool,
    buffer: Vec<u8>,
}

impl Output {
    fn new(stream: Stream, pipe: OwnedFd) -> io::Result<Self> {
        let pipe = Receiver::from_owned_fd(pipe)?;
        Ok(Self {
            stream,
            pipe,
            open: true,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Reads what comes next; nothing is the end.
    async fn read(&mut self) -> usize {
        self.pipe.read(&mut self.buffer).await.unwrap_or(0)
    }

    fn pass_on(&mut self, length: usize, log: &mut impl FnMut(Stream, &[u8])) {
        match length {
            0 => self.open = false,
            length => log(self.stream, &self.buffer[..length]),
        }
    }

    /// Passes on what is left, without waiting for the end: a descriptor that the step handed to some
    /// process outside could keep that from coming.
    fn drain(&mut self, log: &mut impl FnMut(Stream, &[u8])) {
        // Not by the runtime, which would not look before it has been told that there is something.
        while let Ok(length @ 1..) = rustix::io::read(&self.pipe, &mut self.buffer[..]) {
            log(self.stream, &self.buffer[..length]);
        }
    }
}

impl Outcome {
    fn new<F>(ended: Ended, job: &Job<&Spec, F>, killed_before: u64) -> Self {
        let exit = match libc::WIFSIGNALED(ended.status) {
            true => Exit::Signal(libc::WTERMSIG(ended.status)),
            false => Exit::Code(libc::WEXITSTATUS(ended.status) as u8),
        };
        Self {
            exit,
            peak_memory: ended.peak_memory,
            user_time: Duration::from_micros(ended.cpu.0),
            system_time: Duration::from_micros(ended.cpu.1),
            identity: job.identity,
            way_out: job.passage.map(|passage| passage.way),
            shortage: match exit {
                _ if ended.memory_ran_out => Some(Shortage::StepMemory),
                _ if ended.processes_ran_out => Some(Shortage::Processes),
                // The second is how shells tell of it.
                Exit::Signal(libc::SIGKILL) | Exit::Code(137)
                    if killed_for_memory() > killed_before =>
                {
                    Some(Shortage::MachineMemory)
                }
                _ => None,
            },
        }
    }
}

/// How many processes the kernel has killed for memory since the machine started.
fn killed_for_memory() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let mut lines = counters.lines();
    let count = lines.find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
