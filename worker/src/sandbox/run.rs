//! Runs steps from the engine's side: finds out by whose ids and by which way out that goes on this machine,
//! and turns a helper's report into an outcome. Knows nothing of namespaces and mounts.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::enclosure::Enclosure;
use super::error::{Error, Failure};
use super::identity::{Identity, is_first_namespace};
use super::network::{self, Filter, Passage, WayOut};
use super::seccomp;
use super::spare::Spare;
use super::spec::{Network, Spec};
use super::step::Step;
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
    spare: Spare,
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
            spare: Spare::default(),
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
        let mut identity = self.identity_for(spec);
        let filter: &[_] = match spec.privileged {
            true => &[],
            false => seccomp::filter(),
        };
        let job = wire::frame(&Job { spec, filter })?;
        loop {
            let enclosure = self.enclosure(spec, identity).await;
            let cancelled = cancelled.as_mut();
            // Where an attempt fails so, nothing of the step has run yet, so that another repeats nothing.
            match self.attempt(&enclosure, &job, &mut log, cancelled).await {
                Err(Error::Step(Failure::IdMapRefused { .. })) if identity == Identity::Shifted => {
                    identity = Identity::Same;
                    self.set_identity(identity);
                }
                Err(Error::Step(Failure::Unconnected { way, .. })) => {
                    self.give_up(way);
                }
                result => {
                    return result.map(|ended| Outcome::new(ended, &enclosure, self.killed_before));
                }
            }
        }
    }

    /// Makes ready, while a step runs, for one that is likely to follow and to be surrounded as `spec` is. What
    /// cannot be made ready is made when it is needed.
    pub async fn prepare_another(&self, spec: &Spec) {
        let enclosure = self.enclosure(spec, self.identity_for(spec)).await;
        self.spare
            .fill(&enclosure, || Step::start(&self.program, &enclosure));
    }

    async fn enclosure(&self, spec: &Spec, identity: Identity) -> Enclosure {
        let passage = match spec.network {
            Network::Private => self.passage().await,
            Network::Host | Network::None => None,
        };
        Enclosure::of(spec, identity, passage)
    }

    /// A privileged step has this process's privileges, and so its ids.
    fn identity_for(&self, spec: &Spec) -> Identity {
        match spec.privileged {
            true => Identity::Same,
            false => self.identity(),
        }
    }

    async fn attempt(
        &self,
        enclosure: &Enclosure,
        job: &[u8],
        log: &mut impl FnMut(Stream, &[u8]),
        cancelled: impl Future<Output = ()> + Unpin,
    ) -> Result<Ended, Error> {
        let failed = |(operation, source)| Error::Helper {
            operation,
            program: self.program.clone(),
            source,
        };
        let mut step = match self.spare.take(enclosure) {
            Some(step) => step,
            None => {
                Step::start(&self.program, enclosure).map_err(|error| failed(("start", error)))?
            }
        };
        step.give(job).await;
        match step.report(log, cancelled).await.map_err(failed)? {
            (_, true) => Err(Error::Cancelled),
            (Err(_), false) => Err(Error::Lost),
            (Ok(bytes), false) => Ok(postcard::from_bytes::<Report>(&bytes)??),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Outcome {
    fn new(ended: Ended, enclosure: &Enclosure, killed_before: u64) -> Self {
        let exit = match libc::WIFSIGNALED(ended.status) {
            true => Exit::Signal(libc::WTERMSIG(ended.status)),
            false => Exit::Code(libc::WEXITSTATUS(ended.status) as u8),
        };
        Self {
            exit,
            peak_memory: ended.peak_memory,
            user_time: Duration::from_micros(ended.cpu.0),
            system_time: Duration::from_micros(ended.cpu.1),
            identity: enclosure.identity,
            way_out: enclosure.passage.map(|passage| passage.way),
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
