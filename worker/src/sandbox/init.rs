//! The first process of a step's process namespace. It builds the root, starts the command, reaps whatever
//! is left to it, and, once the command has ended, ends all others and takes the mount points away.
//!
//! It keeps root's rights in the step's namespaces, which the command does not have; the command cannot
//! reach it: it is not dumpable, so that nobody without rights in Kiln's own namespace may trace it or
//! open its `/proc` files, and the kernel keeps a namespace's own signals from its first process.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{Gid, Uid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::cgroup::Made;
use super::command;
use super::enclosure::Enclosure;
use super::error::{During, Failure};
use super::identity::Identity;
use super::network::Wiring;
use super::process;
use super::rootfs;
use super::scratch::Scratch;
use super::spec::Spec;
use super::stub::Stubs;
use super::user;
use super::wire::{self, Job};

/// Its own, which it may open without CAP_SYS_PTRACE, unlike its parent.
const USER_NAMESPACE: &str = "/proc/self/ns/user";

/// Serves as the step's first process; `helper` leads to the process that made it.
/// What it returns is how the command ended, as wait(2) gives it.
pub(super) fn serve(
    enclosure: &Enclosure,
    helper: &UnixStream,
    groups: &Made,
) -> Result<i32, Failure> {
    if enclosure.identity == Identity::Shifted {
        let namespace = File::open(USER_NAMESPACE).during("open", USER_NAMESPACE)?;
        wire::send_descriptor(helper, namespace.as_fd()).map_err(|_| Failure::Abandoned)?;
    }
    // The helper says by this that the ids of the namespace are there, and the way out of its network.
    let wiring: Wiring = wire::receive(helper).map_err(|_| Failure::Abandoned)?;
    become_root()?;
    enter_groups(groups)?;
    join_new_keyring();
    wiring.bring_up(enclosure)?;
    let scratch = Scratch::prepare(enclosure.privileged)?;

    let job: Job<Spec> = wire::receive(helper).map_err(|_| Failure::Abandoned)?;
    let spec = &job.spec;
    let root = wire::receive_descriptor(helper).map_err(|_| Failure::Abandoned)?;
    let binds = spec.mounts.iter().filter(|mount| mount.source.is_bind());
    let binds = binds
        .map(|_| wire::receive_descriptor(helper))
        .collect::<Result<_, _>>();
    let binds = binds.map_err(|_| Failure::Abandoned)?;

    rustix::system::sethostname(spec.hostname.as_bytes())
        .during("set the hostname", &spec.hostname)?;
    let mut stubs = Stubs::default();
    let result = rootfs::enter(spec, scratch, &root, binds, &wiring, &mut stubs)
        .and_then(|()| run(&job, &root));
    end_all_others();
    let removed = stubs.remove();
    let status = result?;
    removed.map(|()| status)
}

/// Root of the new user namespace, with all rights in it, and doomed to die with the helper.
fn become_root() -> Result<(), Failure> {
    set_thread_groups(&[]).needs(
        "leave Kiln's groups in the step's user namespace",
        "the namespace that Kiln runs in forbids it (/proc/self/setgroups), as those with a single id do; \
         one that newuidmap and newgidmap have mapped does not",
    )?;
    let become_id = || {
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        // Both are lost when ids change. The helper has one thread, so its death is never that of
        // a mere thread; if it died before this, the next message does not come.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        set_parent_process_death_signal(Some(Signal::KILL))
    };
    become_id().during("become root of", "the step's user namespace")
}

/// Goes into the step's control groups, and makes them the tops that the step sees.
fn enter_groups(groups: &Made) -> Result<(), Failure> {
    if groups.is_empty() {
        return Ok(());
    }
    groups.enter()?;
    // SAFETY: this process has one thread, and no file descriptors are unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
        .during("make a namespace of", "control groups")
}

/// Leaves the keys of whoever started Kiln behind. A kernel without keyrings has none to leave.
fn join_new_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        );
    }
}

/// Runs the command to its end, reaping what is left to us meanwhile.
fn run(job: &Job<Spec>, root: &OwnedFd) -> Result<i32, Failure> {
    let account = user::look_up(root.as_fd(), &job.spec.command.user)?;
    let prepared = command::prepare(job, &account)?;
    give_output_to(&account)?;
    // Closed by a successful exec; anything in it is why there was none.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).during("make", "a pipe")?;
    let child = process::fork(0).during("fork", "the command")?;
    let Some((child, _)) = child else {
        let failure = prepared.execute();
        let sent = wire::send(File::from(writer), &failure);
        std::process::exit(if sent.is_ok() { 0 } else { 1 });
    };
    drop(writer);
    let mut refusal = Vec::new();
    File::from(reader)
        .read_to_end(&mut refusal)
        .during("read", "a pipe")?;
    let status = reap_until(child)?;
    match refusal.is_empty() {
        true => Ok(status),
        false => Err(wire::receive(&refusal[..]).during("read", "the command's refusal")?),
    }
}

/// Lets the user open `/dev/stdout` and `/dev/stderr` anew, which the kernel allows the owner of a pipe only.
fn give_output_to(account: &user::Account) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        rustix::fs::fchown(output, Some(uid), Some(gid)).during("give away", "the output")?;
    }
    Ok(())
}

fn reap_until(child: Pid) -> Result<i32, Failure> {
    loop {
        let ended = process::wait(None).during("wait for", "the command")?;
        if ended.pid == child {
            return Ok(ended.status);
        }
    }
}

/// Ends every other process of the namespace and waits until they are gone.
fn end_all_others() {
    process::kill_all_others();
    while process::wait(None).is_ok() {}
}
