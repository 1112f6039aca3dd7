//! A mount namespace of the program's own: its mounts are seen by nobody else, and end with it.

use anyhow::{Context, Result};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

/// Leaves the machine's mount namespace. Mounts made later by the machine still arrive here.
pub(crate) fn enter_own_mount_namespace() -> Result<()> {
    // SAFETY: called before any thread is started; a mount namespace shares no memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .context("entering a mount namespace (kiln-bench needs root)")?;
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", propagation).context("keeping mounts from the machine's own namespace")
}
