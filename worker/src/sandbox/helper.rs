//! The process between Kiln and a step: Kiln itself, executed anew, with one thread, so that it may fork
//! and change namespaces freely. It makes the step's namespaces and the mounts that need the host's view,
//! then only watches: when Kiln's end of the socket closes, however Kiln ended, the step is killed, and
//! when the helper dies the kernel kills the step. Its mount namespace goes with it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, Pid, Signal, pidfd_send_signal};
use rustix::thread::UnshareFlags;

use super::cgroup::Made;
use super::command;
use super::enclosure::Enclosure;
use super::error::{During, Failure};
use super::identity::{self, Identity};
use super::init;
use super::layers;
use super::network;
use super::process;
use super::rootless::forbidding_setting;
use super::spec::Spec;
use super::wire::{self, Ended, Job, Report};

/// The name under which Kiln is executed to be the helper.
pub(super) const NAME: &str = "kiln-step";

/// How often it is looked at whether the step wanted more processes than it may have.
const PROCESS_COUNT_INTERVAL: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// A step that wants more in each of so many intervals does nothing else any more.
const MOST_INTERVALS_WITHOUT_PROCESSES: u32 = 3;

/// Takes this process over if it was started to be a step's helper; otherwise does nothing.
/// Must be the first thing that `main` does: the helper has one thread.
pub fn run_if_helper() {
    if std::env::args_os().next().is_some_and(|name| name == NAME) {
        std::process::exit(serve());
    }
}

fn serve() -> i32 {
    let report = |engine: &UnixStream| -> Report {
        let enclosure = wire::receive(engine).map_err(|_| Failure::Abandoned)?;
        run(&enclosure, engine)
    };
    let sent = isolate().and_then(|engine| wire::send(&engine, &report(&engine)));
    if sent.is_ok() { 0 } else { 1 }
}

/// Leaves the terminal, the directory and the descriptors of Kiln behind; standard input was the socket
/// to it, and becomes `/dev/null`.
fn isolate() -> std::io::Result<UnixStream> {
    process::close_from(3)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::empty());
    // The step must not reach this process, nor the one that it forks, through /proc.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(socket.into())
}

/// The step's first process, as the helper sees it.
struct Init {
    pid: Pid,
    pidfd: OwnedFd,
    socket: UnixStream,
}

fn run(enclosure: &Enclosure, engine: &UnixStream) -> Report {
    // SAFETY: only the mount namespace is left, which no other thread can depend on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.needs(
        "make a mount namespace",
        "Kiln must be root or have subordinate ids, and a container's root needs CAP_SYS_ADMIN",
    )?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .during("make private", "/")?;
    // Removed when all is over, by whoever made them.
    let groups = enclosure.groups.make()?;
    let init = start_init(enclosure, &groups)?;
    let setup = enclose(&init, enclosure).and_then(|enclosed| {
        let job: Job<Spec> = wire::receive(engine).map_err(|_| Failure::Abandoned)?;
        furnish(&init, enclosure, &enclosed, &job)?;
        Ok(enclosed)
    });
    match &setup {
        Err(_) => init.kill(),
        Ok(_) => init.watch(engine, &groups),
    }
    let ended = process::wait(Some(init.pid)).during("wait for", "the step")?;
    let told: Option<Result<i32, Failure>> = wire::receive(&init.socket).ok();
    match (setup, told) {
        // When both failed, one of them only saw the other's end.
        (Err(failure), None | Some(Ok(_) | Err(Failure::Abandoned))) => Err(failure),
        (_, Some(Ok(status))) => Ok(Ended::new(status, &ended.usage, &groups)),
        (_, Some(Err(failure))) => Err(failure),
        // That is what ended it.
        (Ok(_), None) if groups.processes_refused() > 0 => {
            Ok(Ended::new(ended.status, &ended.usage, &groups))
        }
        (Ok(_), None) => Err(Failure::InitKilled {
            signal: libc::WTERMSIG(ended.status),
        }),
    }
}

fn start_init(enclosure: &Enclosure, groups: &Made) -> Result<Init, Failure> {
    let flags = enclosure.namespaces();
    let (ours, theirs) = UnixStream::pair().during("make", "a socket pair")?;
    let child =
        process::fork(flags as u64).needs("make the step's namespaces", forbidding_setting())?;
    match child {
        Some((pid, pidfd)) => Ok(Init {
            pid,
            pidfd,
            socket: ours,
        }),
        None => {
            drop(ours);
            let result = init::serve(enclosure, &theirs, groups);
            let sent = wire::send(&theirs, &result);
            std::process::exit(if sent.is_ok() { 0 } else { 1 });
        }
    }
}

/// What an enclosure has that only the helper could make.
struct Enclosed {
    /// The user namespace that mounts of layers are shown through, where ids are shifted.
    shift: Option<OwnedFd>,
    /// Must be kept while the step runs.
    _network: network::Guard,
}

/// Gives the step's namespaces what only the helper can before it knows the job: ids, output, and a way out.
fn enclose(init: &Init, enclosure: &Enclosure) -> Result<Enclosed, Failure> {
    let identity = enclosure.identity;
    if !enclosure.privileged {
        identity.write_maps(init.pid)?;
    }
    give_output_to_root(identity)?;
    let shift = match identity {
        Identity::Shifted => {
            Some(wire::receive_descriptor(&init.socket).map_err(|_| Failure::Abandoned)?)
        }
        Identity::Same => None,
    };
    let (wiring, guard) = network::connect(enclosure.network, enclosure.passage, init.pid)?;
    wire::send(&init.socket, &wiring).map_err(|_| Failure::Abandoned)?;
    Ok(Enclosed {
        shift,
        _network: guard,
    })
}

/// Gives an enclosed step what its job takes of the host: higher limits, and mounts of the host's files.
fn furnish(
    init: &Init,
    enclosure: &Enclosure,
    enclosed: &Enclosed,
    job: &Job<Spec>,
) -> Result<(), Failure> {
    raise_limits(init.pid, &job.spec);
    wire::send(&init.socket, job).map_err(|_| Failure::Abandoned)?;
    enclosure.identity.assume_for_files()?;
    let mounts = layers::mount(
        &job.spec,
        enclosed.shift.as_ref().map(AsFd::as_fd),
        !identity::is_first_namespace(),
    )?;
    for mount in std::iter::once(&mounts.root).chain(&mounts.binds) {
        wire::send_descriptor(&init.socket, mount.as_fd()).map_err(|_| Failure::Abandoned)?;
    }
    Ok(())
}

/// Makes the step's root the owner of the output pipes, so that it can give them to its user.
fn give_output_to_root(identity: Identity) -> Result<(), Failure> {
    let root = identity.root();
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        rustix::fs::fchown(output, Some(Uid::from_raw(root)), Some(Gid::from_raw(root)))
            .during("give away", "the output")?;
    }
    Ok(())
}

/// Raises the hard limits of the step's first process where the step asks for more than Kiln has: in its user
/// namespace nobody can. Where we may not either, setting the limit says so later.
fn raise_limits(init: Pid, spec: &Spec) {
    for limit in &spec.command.limits {
        let resource = command::resource(limit.resource);
        let mut now = rustix::process::getrlimit(resource);
        let hard = limit.hard.unwrap_or(u64::MAX);
        if now.maximum.is_some_and(|maximum| maximum < hard) {
            now.maximum = limit.hard;
            let _ = rustix::process::prlimit(Some(init), resource, now);
        }
    }
}

impl Init {
    fn kill(&self) {
        // It fails only if the process is dead already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Returns when init has ended: by itself, because Kiln has, or because the step goes on and on to make
    /// more processes than it may have.
    fn watch(&self, engine: &UnixStream, groups: &Made) {
        let interval = groups.count_processes().then_some(PROCESS_COUNT_INTERVAL);
        let (mut refused, mut times) = (0, 0);
        let mut watched = [
            PollFd::new(&self.pidfd, PollFlags::IN),
            PollFd::new(engine, PollFlags::IN | PollFlags::RDHUP),
        ];
        loop {
            let ready = poll(&mut watched, interval.as_ref());
            if !watched[0].revents().is_empty() {
                return;
            }
            // Kiln never writes after the job: whatever happens on its socket means the end.
            if ready.is_ok() && !watched[1].revents().is_empty() {
                return self.kill();
            }
            if interval.is_some() {
                let now = groups.processes_refused();
                times = if now > refused { times + 1 } else { 0 };
                refused = now;
                if times == MOST_INTERVALS_WITHOUT_PROCESSES {
                    return self.kill();
                }
            }
        }
    }
}

impl Ended {
    fn new(status: i32, usage: &libc::rusage, groups: &Made) -> Self {
        let micros = |time: libc::timeval| (time.tv_sec as u64) * 1_000_000 + time.tv_usec as u64;
        Self {
            status,
            cpu: (micros(usage.ru_utime), micros(usage.ru_stime)),
            peak_memory: (usage.ru_maxrss as u64) << 10,
            memory_ran_out: groups.killed_for_memory() > 0,
            processes_ran_out: groups.processes_refused() > 0,
        }
    }
}
