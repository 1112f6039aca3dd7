//! The capabilities of a step: Docker's fourteen, all of them relative to the step's user namespace, or
//! all that Kiln has for a privileged step.

use rustix::io::{self, Errno};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The names of the default set, without `CAP_`.
#[cfg(test)]
pub(super) fn names_of_default() -> impl Iterator<Item = &'static str> {
    DEFAULT.iter_names().map(|(name, _)| name)
}

/// Makes the default set the most that this process and what it executes can ever have.
pub(super) fn bound() -> io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if DEFAULT.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives up all but the default set. Nothing is inheritable: a program gains capabilities by being
/// run as root or by its file, as Docker has it since CVE-2022-24769.
pub(super) fn keep_default() -> io::Result<()> {
    let sets = CapabilitySets {
        effective: DEFAULT,
        permitted: DEFAULT,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}

/// Lets the program have all that this process has, whoever it runs as.
pub(super) fn pass_all_on() -> io::Result<()> {
    let all = capabilities(None)?.permitted;
    let sets = CapabilitySets {
        effective: all,
        permitted: all,
        inheritable: all,
    };
    set_capabilities(None, sets)?;
    all.iter()
        .try_for_each(|capability| configure_capability_in_ambient_set(capability, true))
}
