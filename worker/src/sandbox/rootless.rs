//! Kiln for an ordinary user: the process executes itself anew in a user namespace in which the user is root
//! and his subordinate ids follow, so that all that is written afterwards can have any owner.

use std::env;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Pid, Uid, getegid, geteuid, getpid};
use rustix::thread::{UnshareFlags, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use super::process;
use super::wire;

/// Why the namespace of an ordinary user could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// The administrator has given this user no ids beside his own.
    #[error(
        "user {user} has no subordinate ids in {file}: an administrator can give him some with \
         `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`"
    )]
    NoSubordinateIds {
        /// The user's name, or his id if he has none.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// The programs that may map subordinate ids would not do it.
    #[error(transparent)]
    Mapper(#[from] MapperError),
    /// The kernel or its settings forbid user namespaces.
    #[error("an ordinary user cannot make a user namespace here: {missing} ({source})")]
    Forbidden {
        /// The setting at fault.
        missing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something else went wrong.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why subordinate ids could not be mapped.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum MapperError {
    /// The program is not there.
    #[error("{0} is not installed; Debian and Ubuntu have it in the package `uidmap`")]
    Missing(String),
    /// The program refused; what it printed follows.
    #[error("{0} failed: {1}")]
    Refused(String, String),
    /// The program may not, though it is set-uid: in a container without CAP_SYS_ADMIN the kernel lets the owner
    /// of a namespace map it, and nobody else.
    #[error(
        "{program} failed: {message}; in a container it must run as who calls it: \
         `chmod u-s {program}; setcap {capability}=ep {program}`"
    )]
    NotTheOwner {
        /// Its name.
        program: String,
        /// What it printed.
        message: String,
        /// What it needs in place of the set-uid bit.
        capability: String,
    },
}

/// Makes sure that this process is root of some user namespace with many ids.
///
/// For root that is the case and nothing happens. For anybody else the process is replaced by itself
/// with the same arguments, and this call, made again there, returns. To be called by `main` before
/// it starts a thread or reads arguments.
pub fn enter_user_namespace_if_needed() -> Result<(), RootlessError> {
    match geteuid().is_root() {
        true => Ok(()),
        false => enter(),
    }
}

fn enter() -> Result<(), RootlessError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let user = account_name(uid).unwrap_or_else(|| uid.to_string());
    let uids = map(uid, &user, "/etc/subuid")?;
    let gids = map(gid, &user, "/etc/subgid")?;
    let (ours, theirs) = UnixStream::pair().map_err(failed("make a socket pair"))?;
    // The mapping programs must run outside the namespace that they map; the child stays there.
    let parent = getpid();
    let Some((child, _)) = process::fork(0).map_err(failed("fork"))? else {
        drop(ours);
        let mapped = wire::receive_go(&theirs).map(|()| {
            run_mapper("newuidmap", parent, &uids)
                .and_then(|()| run_mapper("newgidmap", parent, &gids))
        });
        let told = mapped.and_then(|result| wire::send(&theirs, &result));
        std::process::exit(if told.is_ok() { 0 } else { 1 });
    };
    drop(theirs);
    // SAFETY: the caller has one thread, and no file descriptors are unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(|errno| {
        RootlessError::Forbidden {
            missing: forbidding_setting(),
            source: errno.into(),
        }
    })?;
    let mapped: Result<(), MapperError> = wire::send_go(&ours)
        .and_then(|()| wire::receive(&ours))
        .map_err(failed("hear of the mapping of ids"))?;
    process::wait(Some(child)).map_err(failed("wait for the mapping of ids"))?;
    mapped?;
    become_root().map_err(failed("become root of the new user namespace"))?;
    Err(failed("execute Kiln anew")(execute_self()))
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> RootlessError {
    move |source| RootlessError::System { operation, source }
}

/// The arguments of newuidmap(1) after the process: the user's own id becomes 0, his subordinate
/// ones follow without gaps.
fn map(own: u32, user: &str, file: &'static str) -> Result<Vec<u32>, RootlessError> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let ranges = subordinate_ranges(&text, user, geteuid().as_raw());
    if ranges.is_empty() {
        return Err(RootlessError::NoSubordinateIds {
            user: user.into(),
            file,
        });
    }
    let mut map = vec![0, own, 1];
    let mut inside = 1_u32;
    for (first, count) in ranges {
        let Some(next) = inside.checked_add(count) else {
            break;
        };
        map.extend([inside, first, count]);
        inside = next;
    }
    Ok(map)
}

/// First id and count of each of the user's lines in `/etc/subuid`, which may call him by name or by id.
fn subordinate_ranges(text: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) =
            (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let own = owner == user || owner.parse() == Ok(uid);
        (own && count > 0).then_some((first, count))
    };
    text.lines().filter_map(parse).collect()
}

fn run_mapper(program: &str, target: Pid, map: &[u32]) -> Result<(), MapperError> {
    let output = Command::new(program)
        .arg(target.as_raw_nonzero().to_string())
        .args(map.iter().map(u32::to_string))
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(refusal(program, message))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(MapperError::Missing(program.into()))
        }
        Err(error) => Err(MapperError::Refused(program.into(), error.to_string())),
    }
}

fn refusal(program: &str, message: String) -> MapperError {
    let program = program.to_owned();
    // As newuidmap(1) and newgidmap(1) say that the kernel refused, not they.
    match message.ends_with("_map failed: Operation not permitted") {
        false => MapperError::Refused(program, message),
        true => MapperError::NotTheOwner {
            capability: match program.contains('g') {
                true => "cap_setgid".into(),
                false => "cap_setuid".into(),
            },
            program,
            message,
        },
    }
}

fn become_root() -> io::Result<()> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    Ok(())
}

/// Returns only if it fails.
fn execute_self() -> io::Error {
    let mut args = env::args_os();
    let name = args.next().unwrap_or_default();
    Command::new("/proc/self/exe").arg0(name).args(args).exec()
}

/// The setting that most likely forbids user namespaces, and what it should be, as one clause.
pub(super) fn forbidding_setting() -> &'static str {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|is| is.trim() == value);
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone is 0 and must be 1"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces is 0; 15000 is usual"
    } else if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "sysctl kernel.apparmor_restrict_unprivileged_userns is 1 and must be 0"
    } else {
        "user namespaces may be used up (sysctl user.max_user_namespaces), or forbidden by the container that \
         Kiln runs in (Docker allows them with --security-opt seccomp=unconfined)"
    }
}

/// The name of an account, wherever the machine keeps its accounts.
fn account_name(uid: u32) -> Option<String> {
    let mut buffer = vec![0_u8; 16 << 10];
    let mut found = std::ptr::null_mut();
    // SAFETY: passwd is made of integers and pointers, which the call fills in.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer has the length given, and all pointers are to live variables.
    unsafe {
        libc::getpwuid_r(
            uid,
            &raw mut entry,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        );
    }
    if found.is_null() {
        return None;
    }
    // SAFETY: on success the name is a C string inside the buffer, which is still alive.
    let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
    name.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_id() {
        let text = "ann:100000:65536\nbob:200000:65536\n1001:300000:10\nbob:x:1\nbob:5:0\n";
        assert_eq!(
            subordinate_ranges(text, "bob", 1001),
            [(200_000, 65536), (300_000, 10)]
        );
        assert_eq!(subordinate_ranges(text, "eve", 1002), []);
    }
}
