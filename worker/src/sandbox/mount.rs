//! Mounts as descriptors: made or cloned detached, given their attributes, then attached to a
//! directory that is itself a descriptor. No path from outside is ever joined to another here.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// struct mount_attr of mount_setattr(2).
#[repr(C)]
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) set: u64,
    pub(super) clear: u64,
    pub(super) propagation: u64,
    pub(super) user_namespace: u64,
}

pub(super) const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;
pub(super) const NO_DEVICES: u64 = MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64;
pub(super) const NO_SETUID: u64 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64;
pub(super) const NO_EXEC: u64 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64;
const ID_MAPPED: u64 = MountAttrFlags::MOUNT_ATTR_IDMAP.bits() as u64;

impl Attributes {
    pub(super) fn set(flags: u64) -> Self {
        Self {
            set: flags,
            ..Self::default()
        }
    }

    /// Shows the mount with the owners that `namespace` maps those on disk to.
    pub(super) fn mapped_by(mut self, namespace: BorrowedFd<'_>) -> Self {
        self.set |= ID_MAPPED;
        self.user_namespace = namespace.as_raw_fd() as u64;
        self
    }
}

/// mount_setattr(2), which rustix does not have.
pub(super) fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: &Attributes,
    recursive: bool,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and the structure has the kernel's layout and its own size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A new, detached file system of `kind`; an option without a value is a flag.
pub(super) fn create(
    kind: &str,
    options: &[(&str, &str)],
    attributes: u64,
) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", kind)?;
    for (key, value) in options {
        match value.is_empty() {
            true => fsconfig_set_flag(&context, *key)?,
            false => fsconfig_set_string(&context, *key, *value)?,
        }
    }
    fsconfig_create(&context)?;
    into_mount(&context, attributes)
}

/// The detached mount of a configured file system.
pub(super) fn into_mount(context: &OwnedFd, attributes: u64) -> rustix::io::Result<OwnedFd> {
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A detached second mount of what `path` under `directory` names; an empty path is `directory` itself.
pub(super) fn clone(
    directory: BorrowedFd<'_>,
    path: &str,
    recursive: bool,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(directory, path, flags)
}

/// Attaches a detached mount on top of whatever `target` is.
pub(super) fn attach(mount: impl AsFd, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Attaches a detached mount over this process's root directory, where it can be reached through
/// its descriptor only: paths go on beginning below it.
pub(super) fn attach_over_root(mount: impl AsFd) -> rustix::io::Result<()> {
    move_mount(mount, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Finds what a path of the host's names, without opening it for anything.
pub(super) fn find_on_host(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The number of the mount that `file` is on.
pub(super) fn id(file: &OwnedFd) -> rustix::io::Result<u64> {
    statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id)
}
