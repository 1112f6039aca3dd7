//! The step's `/dev`: memory with six device nodes of the host's bound into it (a user namespace may
//! make none), its own terminals, shared memory and message queues.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;

use super::error::{During, Failure};
use super::mount::{self, NO_DEVICES, NO_EXEC, NO_SETUID};
use crate::rooted::find_in_root;

const NODES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Names and numbers (Linux's list of allocated devices, `admin-guide/devices.txt`).
const PRIVILEGED: [(&str, u32, u32); 6] = [
    ("kmsg", 1, 11),
    ("cuse", 10, 203),
    ("fuse", 10, 229),
    ("kvm", 10, 232),
    ("net/tun", 10, 200),
    ("loop-control", 10, 237),
];

const LOOP_MAJOR: u32 = 7;

/// How many loop devices there are beyond those that the host has.
const SPARE_LOOPS: u32 = 8;

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
pub(super) fn fill(dev: &OwnedFd) -> Result<(), Failure> {
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
    mount_on_new(dev, "pts", terminals())?;
    let queues = mount::create("mqueue", &[], NO_SETUID | NO_DEVICES | NO_EXEC);
    mount_on_new(dev, "mqueue", queues)
}

/// Adds what processes of the step share, at most `size` bytes.
pub(super) fn add_shared_memory(dev: &OwnedFd, size: u64) -> Result<(), Failure> {
    let options = [("mode", "1777"), ("size", &size.to_string())];
    let memory = mount::create("tmpfs", &options, NO_SETUID | NO_DEVICES | NO_EXEC);
    mount_on_new(dev, "shm", memory)
}

fn mount_on_new(
    dev: &OwnedFd,
    name: &str,
    made: rustix::io::Result<OwnedFd>,
) -> Result<(), Failure> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755)).during("make /dev/", name)?;
    attach(dev, name, &made.during("mount a new /dev/", name)?)
}

/// Devices that only a privileged step sees, as with BuildKit: those of the host where it has them, else made
/// by their numbers, by which drivers that are loaded later find them.
pub(super) fn add_privileged(dev: &OwnedFd) -> Result<(), Failure> {
    mkdirat(dev, "net", Mode::from_raw_mode(0o755)).during("make /dev/", "net")?;
    for (name, major, minor) in PRIVILEGED {
        add(dev, name, FileType::CharacterDevice, (major, minor))?;
    }
    let is_loop = |name: &str| name.strip_prefix("loop")?.parse::<u32>().ok();
    let names = fs::read_dir("/dev").into_iter().flatten().flatten();
    let loops = names.filter_map(|entry| is_loop(entry.file_name().to_str()?));
    let last = loops.max().map_or(0, |highest| highest + 1) + SPARE_LOOPS;
    (0..last).try_for_each(|number| {
        let name = format!("loop{number}");
        add(dev, &name, FileType::BlockDevice, (LOOP_MAJOR, number))
    })
}

fn add(
    dev: &OwnedFd,
    name: &str,
    kind: FileType,
    (major, minor): (u32, u32),
) -> Result<(), Failure> {
    let mode = Mode::from_raw_mode(0o660);
    match mknodat(dev, name, kind, mode, rustix::fs::makedev(major, minor)) {
        // Nobody but the machine's root makes devices; others have those that there are.
        Err(Errno::PERM) => {}
        result => return result.during("make /dev/", name),
    }
    let Ok(node) = mount::clone(CWD, &format!("/dev/{name}"), false) else {
        return Ok(());
    };
    mknodat(dev, name, FileType::RegularFile, mode, 0).during("make /dev/", name)?;
    attach(dev, name, &node)
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
    let target = find_in_root(dev.as_fd(), name).during("find /dev/", name)?;
    mount::attach(made, target.as_fd()).during("attach /dev/", name)
}
