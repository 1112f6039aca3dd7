//! The last moments before a step's program runs: limits, directory, user, capabilities, the filter of system
//! calls, descriptors, and the search for the program. Runs in the process that becomes the program.

use std::ffi::CString;
use std::io;

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::process::{Resource as Kernel, Rlimit, chdir, getrlimit, setrlimit, setsid, umask};
use rustix::thread::{
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::capability;
use super::error::{During, Failure};
use super::landlock;
use super::process;
use super::seccomp::{self, Instruction};
use super::spec::{Command, Limit, Resource, Spec};
use super::user::Account;
use super::wire::Job;

/// Where programs are looked for in a step without `PATH`, as in Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that executing takes, in the kernel's terms.
pub(super) struct Prepared<'a> {
    command: &'a Command,
    account: &'a Account,
    privileged: bool,
    filter: &'a [Instruction],
    args: Vec<CString>,
    env: Vec<CString>,
}

/// Checks the command of `job` for what the kernel cannot be given, before any process of it exists.
pub(super) fn prepare<'a>(
    job: &'a Job<Spec>,
    account: &'a Account,
) -> Result<Prepared<'a>, Failure> {
    let command = &job.spec.command;
    if command.args.first().is_none_or(String::is_empty) {
        return Err(Failure::Invalid {
            what: "the step has no program".into(),
            value: command.args.join(" "),
        });
    }
    let args = command
        .args
        .iter()
        .map(|arg| c_string(arg))
        .collect::<Result<_, _>>()?;
    let mut env = Vec::with_capacity(command.env.len() + 1);
    for (name, value) in &command.env {
        env.push(c_string(&format!("{name}={value}"))?);
    }
    for (name, value) in &command.secret_env {
        env.push(secret_variable(name, &value.0)?);
    }
    if variable(command, "HOME").is_none() {
        env.push(c_string(&format!("HOME={}", account.home))?);
    }
    Ok(Prepared {
        command,
        account,
        privileged: job.spec.privileged,
        filter: &job.filter,
        args,
        env,
    })
}

impl Prepared<'_> {
    /// Becomes the program; returns only if it cannot.
    pub(super) fn execute(&self) -> Failure {
        match self.assume_identity() {
            Err(failure) => failure,
            Ok(()) => Failure::Exec {
                program: self.command.args[0].clone(),
                errno: self.execute_first_found().into(),
            },
        }
    }

    fn assume_identity(&self) -> Result<(), Failure> {
        let Account {
            uid, gid, groups, ..
        } = self.account;
        setsid().during("make a session for", "the step")?;
        process::reset_signals();
        umask(Mode::from_raw_mode(0o022));
        for limit in &self.command.limits {
            match limit.resource {
                Resource::OpenFiles => set_limit(limit.resource, until_the_last_moment(limit))?,
                other => set_limit(other, rlimit(limit))?,
            }
        }
        // As root first, who may pass where the user may not; then as the user, for whom a file
        // system may open what it does not open for root.
        let entered = enter(&self.command.cwd);
        if self.privileged {
            set_keep_capabilities(true).during("keep", "the capabilities")?;
        } else {
            capability::bound().during("bound", "the capabilities")?;
        }
        // While this is still root of the step's user namespace, which what follows ends.
        if !self.privileged {
            landlock::scope_sockets().during("keep from the step", "the host's sockets")?;
        }
        seccomp::install(self.filter).needs(
            "filter the step's system calls",
            "the kernel is made without CONFIG_SECCOMP_FILTER",
        )?;
        let groups: Vec<_> = std::iter::once(gid)
            .chain(groups)
            .map(|&group| Gid::from_raw(group))
            .collect();
        let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
        set_thread_groups(&groups).during("set the groups", "of the step")?;
        set_thread_res_gid(gid, gid, gid).during("become group", gid.as_raw())?;
        set_thread_res_uid(uid, uid, uid).during("become user", uid.as_raw())?;
        if self.privileged {
            capability::pass_all_on().during("keep", "the capabilities")?;
        } else if uid.is_root() {
            capability::keep_default().during("limit", "the capabilities")?;
        }
        entered
            .or_else(|_| chdir(&*self.command.cwd))
            .during("enter the working directory", &self.command.cwd)?;
        stay_inside(&self.command.cwd)?;
        // Only now, because all of the above opens files.
        let limits = self.command.limits.iter();
        for limit in limits.filter(|limit| limit.resource == Resource::OpenFiles) {
            set_limit(limit.resource, rlimit(limit))?;
        }
        close_all_at_exec().during("close", "all descriptors but the first three")
    }

    /// Tries the program in each directory of `PATH`, and says why none would do.
    fn execute_first_found(&self) -> Errno {
        let program = &self.command.args[0];
        if program.contains('/') {
            return self.execute_file(program);
        }
        let path = variable(self.command, "PATH").unwrap_or(DEFAULT_PATH);
        let mut reason = Errno::NOENT;
        for directory in path.split(':') {
            let directory = if directory.is_empty() { "." } else { directory };
            match self.execute_file(&format!("{directory}/{program}")) {
                Errno::NOENT | Errno::NOTDIR => {}
                // A directory or a file without permission; a better one may follow.
                Errno::ACCESS => reason = Errno::ACCESS,
                other => return other,
            }
        }
        reason
    }

    fn execute_file(&self, file: &str) -> Errno {
        let Ok(file) = CString::new(file) else {
            return Errno::INVAL;
        };
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            let ends = std::iter::once(std::ptr::null());
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain(ends)
                .collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: both arrays end with a null pointer and point to C strings that outlive the call.
        unsafe { libc::execve(file.as_ptr(), args.as_ptr(), env.as_ptr()) };
        io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error)
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::Invalid {
        what: "an argument or variable holds a NUL".into(),
        value: text.into(),
    })
}

/// A variable whose value may be any bytes but NUL, and is not quoted in an error.
fn secret_variable(name: &str, value: &[u8]) -> Result<CString, Failure> {
    CString::new([name.as_bytes(), b"=", value].concat()).map_err(|_| Failure::Invalid {
        what: "the secret for a variable holds a NUL".into(),
        value: name.into(),
    })
}

/// The last value given to `name`, which is the one that a shell would keep.
fn variable<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    command
        .env
        .iter()
        .rev()
        .find(|(key, _)| key == name)
        .map(|(_, value)| &**value)
}

/// Goes to a directory. What is missing on the way there is made, as runc does: an image may name a directory
/// that it does not have, and `WORKDIR /a/../b` makes `/b`, but the way leads through `/a`.
fn enter(cwd: &str) -> rustix::io::Result<()> {
    match chdir(cwd) {
        Err(Errno::NOENT) => {
            // Why not shows when it is entered.
            let _ = std::fs::create_dir_all(cwd);
            chdir(cwd)
        }
        result => result,
    }
}

/// A directory that `/proc/self/fd` leads to may lie outside of the root: the kernel then says so in place of its
/// first slash (getcwd(2)). None of ours does; this stands in the way of the one that is opened by mistake.
fn stay_inside(cwd: &str) -> Result<(), Failure> {
    let path = rustix::process::getcwd(Vec::new()).during("find the way to", cwd)?;
    match path.as_bytes().starts_with(b"/") {
        true => Ok(()),
        false => Err(Failure::Invalid {
            what: "the working directory is outside of the step's root".into(),
            value: cwd.into(),
        }),
    }
}

fn close_all_at_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: marks descriptors only; those in use here stay open until the program runs.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_limit(limited: Resource, limit: Rlimit) -> Result<(), Failure> {
    setrlimit(resource(limited), limit).needs(
        &format!("set the limit {}", limited.name()),
        "it is above Kiln's own, which only a process with CAP_SYS_RESOURCE can raise",
    )
}

/// The limit of open files as long as this process opens some itself: raised where that is asked for,
/// which takes root's powers, and not lowered yet.
fn until_the_last_moment(limit: &Limit) -> Rlimit {
    let now = getrlimit(Kernel::Nofile);
    let more = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
    Rlimit {
        current: more(limit.soft, now.current),
        maximum: more(limit.hard, now.maximum),
    }
}

pub(super) fn rlimit(limit: &Limit) -> Rlimit {
    Rlimit {
        current: limit.soft,
        maximum: limit.hard,
    }
}

pub(super) fn resource(resource: Resource) -> Kernel {
    match resource {
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::FileSize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::LockedMemory => Kernel::Memlock,
        Resource::MessageQueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::OpenFiles => Kernel::Nofile,
        Resource::Processes => Kernel::Nproc,
        Resource::ResidentSet => Kernel::Rss,
        Resource::RealtimePriority => Kernel::Rtprio,
        Resource::RealtimeTime => Kernel::Rttime,
        Resource::PendingSignals => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;
    use rustix::thread::UnshareFlags;

    use super::*;
    use crate::sandbox::mount;

    #[test]
    fn a_directory_outside_of_the_root_is_refused() {
        let thread = std::thread::spawn(|| {
            // SAFETY: the thread gets a working directory of its own, which nobody else depends on.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.expect("it may");
            assert_eq!(stay_inside("/"), Ok(()));
            // Only root makes a mount that hangs nowhere.
            if let Ok(detached) = mount::clone(CWD, "/", false) {
                rustix::process::fchdir(detached).expect("a directory");
                assert!(matches!(stay_inside("/x"), Err(Failure::Invalid { .. })));
            }
        });
        thread.join().expect("it ends well");
    }
}
