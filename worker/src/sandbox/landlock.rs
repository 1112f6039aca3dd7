//! The second wall, where the kernel has it: sockets of the host that no mount namespace hides. A step with the
//! host's network sees the abstract UNIX sockets of the host's programs, which have names but no files and often
//! trust whoever reaches them (CVE-2020-15257); a Landlock domain lets its processes reach their own only.
//!
//! Landlock's rules about files are not used: the step's mount namespace holds nothing that they could take away.

use std::io;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const VERSION: u32 = 1;

/// The first version that knows of abstract sockets, of Linux 6.12.
const SCOPES: libc::c_long = 6;

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`.
const ABSTRACT_UNIX_SOCKET: u64 = 1;

/// struct landlock_ruleset_attr of `linux/landlock.h`.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

/// Whether this kernel can keep steps from the host's abstract sockets.
pub fn can_scope_sockets() -> bool {
    // SAFETY: without attributes the call only tells its version.
    let version = unsafe {
        let nothing = std::ptr::null::<Ruleset>();
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION)
    };
    version >= SCOPES
}

/// Keeps this thread, and all that comes of it, from the abstract sockets of all others; does nothing where the kernel
/// cannot. Needs CAP_SYS_ADMIN in the own user namespace.
pub(super) fn scope_sockets() -> io::Result<()> {
    if !can_scope_sockets() {
        return Ok(());
    }
    let ruleset = Ruleset {
        files: 0,
        network: 0,
        scoped: ABSTRACT_UNIX_SOCKET,
    };
    // SAFETY: the structure has the kernel's layout and its own size; the descriptor is closed when the program starts.
    let result = unsafe {
        let attributes = &raw const ruleset;
        let size = size_of::<Ruleset>();
        let made = libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, 0);
        match made {
            -1 => -1,
            ruleset => libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0),
        }
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
