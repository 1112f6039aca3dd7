//! The filter of a step's system calls: Docker's default profile, for Docker's default capabilities. What the
//! kernel offers beyond it (keyrings, BPF programs, performance counters, new namespaces, asynchronous rings)
//! a step never needs, and most ways out of a sandbox begin there.

mod policy;
mod program;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::LazyLock;

pub(super) use program::Instruction;

/// The filter of steps on this machine, made once a process; empty on processors without a table of calls.
pub(super) fn filter() -> &'static [Instruction] {
    static FILTER: LazyLock<Vec<Instruction>> =
        LazyLock::new(|| program::compile(std::env::consts::ARCH));
    &FILTER
}

/// Whether steps on this processor have a filter.
pub fn has_filter() -> bool {
    !filter().is_empty()
}

/// Subjects this thread, and all that comes of it, to `filter`. Needs CAP_SYS_ADMIN in the own user namespace: without
/// that, a filter is for those who can gain no privileges, and a step may.
pub(super) fn install(filter: &[Instruction]) -> io::Result<()> {
    if filter.is_empty() {
        return Ok(());
    }
    let length = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // The flag keeps kernels before 5.16 from slowing all of the step down against Spectre.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel copies the program, whose instructions have the layout of its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
