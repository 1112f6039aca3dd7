//! The step's `/dev`: memory with six device nodes of the host's bound into it (a user namespace may
//! make none), its own terminals, shared memory and message queues.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat, symlinkat};

use super::error::{During, Failure};
use super::mount::{self, NO_DEVICES, NO_EXEC, NO_SETUID};

const NODES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// The group `tty`, by a convention older than Linux.
const TTY_GROUP: &str = "5";

/// Fills `dev`, an empty directory in memory that is attached in the step's mount namespace, while the
/// host's `/dev` can still be reached.
pub(super) fn fill(dev: &OwnedFd, shm_size: u64) -> Result<(), Failure> {
    for name in NODES {
        mknodat(
            dev,
            name,
            FileType::RegularFile,
            Mode::from_raw_mode(0o666),
            0,
        )
        .during("make /dev/", name)?;
        let node = mount::clone(CWD, &format!("/dev/{name}"), false)
            .during("clone the host's /dev/", name)?;
        attach(dev, name, &node)?;
    }
    for (target, name) in LINKS {
        symlinkat(target, dev, name).during("link /dev/", name)?;
    }
    let size = shm_size.to_string();
    let shm = mount::create(
        "tmpfs",
        &[("mode", "1777"), ("size", &size)],
        NO_SETUID | NO_DEVICES | NO_EXEC,
    );
    for (name, made) in [
        ("pts", terminals()),
        ("shm", shm),
        (
            "mqueue",
            mount::create("mqueue", &[], NO_SETUID | NO_DEVICES | NO_EXEC),
        ),
    ] {
        mkdirat(dev, name, Mode::from_raw_mode(0o755)).during("make /dev/", name)?;
        attach(dev, name, &made.during("mount a new /dev/", name)?)?;
    }
    Ok(())
}

/// Terminals of the step's own; without the group if the step has no such id.
fn terminals() -> rustix::io::Result<OwnedFd> {
    let options = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", TTY_GROUP),
    ];
    let attributes = NO_SETUID | NO_EXEC;
    mount::create("devpts", &options, attributes)
        .or_else(|_| mount::create("devpts", &options[..3], attributes))
}

fn attach(dev: &OwnedFd, name: &str, made: &OwnedFd) -> Result<(), Failure> {
    let target = mount::find(dev.as_fd(), name).during("find /dev/", name)?;
    mount::attach(made, target.as_fd()).during("attach /dev/", name)
}
