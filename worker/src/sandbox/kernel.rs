//! The step's `/proc` and `/sys`, with what Docker hides in them hidden: for a step whose ids are the
//! host's, these files are all that stands between it and the machine's memory and settings.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatFs, openat2, statfs};
use rustix::io::Errno;

use super::error::{During, Failure};
use super::mount::{self, Attributes, NO_DEVICES, NO_EXEC, NO_SETUID, READ_ONLY};

const HIDDEN: u64 = NO_SETUID | NO_DEVICES | NO_EXEC;

/// Shown empty: they tell of the host, or let one steer it.
const PROC_MASKED: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const SYS_MASKED: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// What covers a masked path.
pub(super) struct Covers<'a> {
    /// An empty directory of a mount in this namespace.
    pub(super) directory: BorrowedFd<'a>,
    /// A file that reads as empty.
    pub(super) file: BorrowedFd<'a>,
}

/// A `/proc` of the step's process ids.
pub(super) fn proc() -> Result<OwnedFd, Failure> {
    mount::create("proc", &[], HIDDEN).needs(
        "mount the step's /proc",
        "the kernel allows it only where the whole of /proc is visible, which in a container takes \
         --security-opt systempaths=unconfined (Docker) or procMount: Unmasked (Kubernetes)",
    )
}

/// Hides what Docker hides, after `proc` has been attached.
pub(super) fn mask_proc(proc: &OwnedFd, covers: &Covers<'_>) -> Result<(), Failure> {
    for name in PROC_MASKED {
        cover(proc, name, covers)?;
    }
    for name in PROC_READ_ONLY {
        let Some(found) = find(proc, name)? else {
            continue;
        };
        let tree = mount::clone(found.as_fd(), "", false).during("clone /proc/", name)?;
        mount::set_attributes(tree.as_fd(), &Attributes::set(HIDDEN | READ_ONLY), false)
            .during("make read-only /proc/", name)?;
        mount::attach(tree, found.as_fd()).during("attach /proc/", name)?;
    }
    Ok(())
}

/// A new `/sys` where the step has a network of its own, else the host's, read-only.
pub(super) fn sys() -> Result<OwnedFd, Failure> {
    match mount::create("sysfs", &[], HIDDEN | READ_ONLY) {
        Err(Errno::PERM) => {
            let tree = mount::clone(CWD, "/sys", true).during("clone", "/sys")?;
            mount::set_attributes(tree.as_fd(), &Attributes::set(HIDDEN | READ_ONLY), true)
                .during("make read-only", "/sys")?;
            Ok(tree)
        }
        result => result.during("mount", "/sys"),
    }
}

/// The host's `/sys` with all that is mounted in it, to be written to.
pub(super) fn whole_sys() -> Result<OwnedFd, Failure> {
    mount::clone(CWD, "/sys", true).during("clone", "/sys")
}

/// Hides what Docker hides, and shows the step's own part of the control groups, after `sys` has been attached.
pub(super) fn mask_sys(sys: &OwnedFd, covers: &Covers<'_>) -> Result<(), Failure> {
    for name in SYS_MASKED {
        cover(sys, name, covers)?;
    }
    let Some(found) = find(sys, "fs/cgroup")? else {
        return Ok(());
    };
    match control_groups() {
        Ok(groups) => mount::attach(groups, found.as_fd()).during("attach", "/sys/fs/cgroup"),
        Err(_) => cover(sys, "fs/cgroup", covers),
    }
}

/// The unified hierarchy from the step's own group down; where the host mixes both kinds there is little to show.
fn control_groups() -> rustix::io::Result<OwnedFd> {
    let StatFs { f_type, .. } = statfs("/sys/fs/cgroup")?;
    if f_type as u64 != libc::CGROUP2_SUPER_MAGIC as u64 {
        return Err(Errno::NODEV);
    }
    mount::create("cgroup2", &[], HIDDEN | READ_ONLY)
}

fn cover(tree: &OwnedFd, name: &str, covers: &Covers<'_>) -> Result<(), Failure> {
    let Some(found) = find(tree, name)? else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&found).during("examine", name)?;
    let (cover, attributes) = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => (covers.directory, HIDDEN | READ_ONLY),
        _ => (covers.file, HIDDEN | READ_ONLY),
    };
    let cover = mount::clone(cover, "", false).during("clone the cover of", name)?;
    mount::set_attributes(cover.as_fd(), &Attributes::set(attributes), false)
        .during("make read-only the cover of", name)?;
    mount::attach(cover, found.as_fd()).during("cover", name)
}

/// No link is followed: the kernel's own file or nothing.
fn find(tree: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(tree, name, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // A directory of the host's that only its own root may search hides enough.
        Err(Errno::NOENT | Errno::ACCESS) => Ok(None),
        result => result.map(Some).during("find", name),
    }
}
