//! Making and ending processes, for the single-threaded processes of a step: what fork(2) cannot say
//! (new namespaces, a pidfd) goes through clone3(2) or clone(2).

use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;

/// What wait4(2) tells of an ended child.
pub(super) struct Ended {
    pub(super) pid: Pid,
    pub(super) status: i32,
    pub(super) usage: libc::rusage,
}

/// Forks with the `flags` of clone3(2) that clone(2) has, too; `None` is the child.
///
/// Only for processes with one thread: the child goes on with a copy of the heap's locks.
pub(super) fn fork(flags: u64) -> io::Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields are integers for which zero means "not given".
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    // SAFETY: without CLONE_VM and without a stack this is fork(2): the child has its own copy of
    // memory and returns here; `args` and `pidfd` outlive the call.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    if pid == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        // Docker's filter denies that there is clone3, since it cannot look at its flags. These fit into the older
        // call as well.
        let flags = args.flags | args.exit_signal;
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as above.
        pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
    }
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // SAFETY: the kernel has just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some((pid.expect("clone3 returns a process id"), pidfd)))
        }
    }
}

/// Waits for `pid`, or for any child.
pub(super) fn wait(pid: Option<Pid>) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: rusage is made of integers only.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right types.
        let raw = unsafe {
            libc::wait4(
                pid.map_or(-1, |pid| pid.as_raw_nonzero().get()),
                &raw mut status,
                0,
                &raw mut usage,
            )
        };
        if raw > 0 {
            let pid = Pid::from_raw(raw).expect("wait4 returns a process id");
            return Ok(Ended { pid, status, usage });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Kills every process of this process namespace but the caller, its first.
pub(super) fn kill_all_others() {
    // SAFETY: no memory is involved. That there is nobody left to kill is no error to us.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: called before this process has opened anything of its own.
    match unsafe { libc::close_range(first, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives every signal its default effect and lets it through, whatever Kiln was started with: what is
/// ignored or blocked would stay so in the program.
pub(super) fn reset_signals() {
    // The kernel's own structures: a C library hides two signals that it needs, and they too may
    // have been ignored by whoever started Kiln. Zero is SIG_DFL, no flags, an empty mask.
    const SET_SIZE: usize = 8;
    let zero = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the action is large enough on every 64-bit architecture. The two signals that
        // cannot be changed are refused.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                zero.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_SIZE,
            );
        }
    }
    // SAFETY: reads one set of the size given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            zero.as_ptr(),
            std::ptr::null_mut::<u64>(),
            SET_SIZE,
        );
    }
}
