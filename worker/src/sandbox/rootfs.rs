//! Puts the step's root together in the step's own mount namespace, and moves into it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::device;
use super::error::{During, Failure};
use super::kernel::{self, Covers};
use super::mount::{self, Attributes, NO_DEVICES, NO_EXEC, NO_SETUID, READ_ONLY};
use super::network::{self, Wiring};
use super::spec::{Mount, Source, Spec};
use super::stub::{Kind, Stubs};
use crate::rooted::find_in_root;

/// A root that is being filled.
struct Root<'a> {
    directory: BorrowedFd<'a>,
    /// Memory that the step never sees as a whole: it holds `/dev` and the files made for the step.
    scratch: OwnedFd,
    files: u32,
    stubs: &'a mut Stubs,
}

/// Attaches `root`, fills it as `spec` says, and makes it this process's root; `binds` are the mounts
/// that the helper made, in the spec's order. What `stubs` says afterwards must be undone even after an error.
pub(super) fn enter(
    spec: &Spec,
    root: &OwnedFd,
    binds: Vec<OwnedFd>,
    wiring: &Wiring,
    stubs: &mut Stubs,
) -> Result<(), Failure> {
    let no_devices = if spec.privileged { 0 } else { NO_DEVICES };
    let scratch = mount::create(
        "tmpfs",
        &[("mode", "0755"), ("size", "64m")],
        NO_SETUID | no_devices,
    )
    .during("make", "scratch memory")?;
    mount::attach_over_root(root).during("attach", "the step's root")?;
    // Only attached mounts can be cloned. It lies over the step's root and is taken off before the switch.
    mount::attach_over_root(&scratch).during("attach", "scratch memory")?;
    let resolvers = wiring.resolvers();

    let mut filling = Root {
        directory: root.as_fd(),
        scratch,
        files: 0,
        stubs,
    };
    filling.attach_kernel_views(spec)?;
    // Every runtime wants these directories in a root, and BuildKit leaves them there.
    filling.stubs.keep();
    filling.attach_file("/etc/hosts", network::hosts(spec).as_bytes())?;
    filling.attach_file("/etc/resolv.conf", &resolvers)?;
    let mut binds = binds.into_iter();
    for mount in &spec.mounts {
        filling.attach_mount(mount, &mut binds)?;
    }
    pivot(root)
}

impl Root<'_> {
    fn attach_kernel_views(&mut self, spec: &Spec) -> Result<(), Failure> {
        let dev = self.scratch_directory("dev")?;
        let dev = mount::clone(dev.as_fd(), "", false).during("clone", "/dev")?;
        self.attach(&dev, "/dev", Kind::Directory)?;
        device::fill(&dev, spec.shm_size)?;
        if spec.privileged {
            device::add_privileged(&dev)?;
            self.attach(&kernel::proc()?, "/proc", Kind::Directory)?;
            return self.attach(&kernel::whole_sys()?, "/sys", Kind::Directory);
        }

        let directory = self.scratch_directory("empty")?;
        let file = mount::find_on_host("/dev/null".as_ref()).during("find", "/dev/null")?;
        let covers = Covers {
            directory: directory.as_fd(),
            file: file.as_fd(),
        };
        let proc = kernel::proc()?;
        self.attach(&proc, "/proc", Kind::Directory)?;
        kernel::mask_proc(&proc, &covers)?;
        let sys = kernel::sys()?;
        self.attach(&sys, "/sys", Kind::Directory)?;
        kernel::mask_sys(&sys, &covers)
    }

    fn attach_mount(
        &mut self,
        mount: &Mount,
        binds: &mut impl Iterator<Item = OwnedFd>,
    ) -> Result<(), Failure> {
        let target = &mount.target;
        if !target.starts_with('/') || target.split('/').all(|name| matches!(name, "" | ".")) {
            return Err(Failure::Invalid {
                what: "a mount's target must be an absolute path below the root".into(),
                value: target.clone(),
            });
        }
        if target.split('/').find(|name| !matches!(*name, "" | ".")) == Some("proc") {
            return Err(Failure::Invalid {
                what: "nothing can be mounted in /proc, as in Docker".into(),
                value: target.clone(),
            });
        }
        let tree = match &mount.source {
            Source::Host(_) | Source::Within { .. } | Source::Overlay { .. } => {
                binds.next().expect("the helper sends one mount per bind")
            }
            Source::Tmpfs { size } => {
                let size = size.map(|size| size.to_string());
                let options: Vec<_> = size.iter().map(|size| ("size", &**size)).collect();
                let readonly = if mount.readonly { READ_ONLY } else { 0 };
                mount::create("tmpfs", &options, NO_SETUID | NO_DEVICES | readonly)
                    .during("make memory for", target)?
            }
            Source::File {
                content,
                mode,
                uid,
                gid,
            } => {
                let owner = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                let mode = Mode::from_raw_mode(*mode & 0o7777);
                self.scratch_file(&content.0, mode, owner, mount.readonly)?
            }
        };
        let stat = fstat(&tree).during("examine the mount for", target)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        self.attach(&tree, target, kind)
    }

    fn attach_file(&mut self, target: &str, content: &[u8]) -> Result<(), Failure> {
        let tree = self.scratch_file(
            content,
            Mode::from_raw_mode(0o644),
            (Uid::ROOT, Gid::ROOT),
            true,
        )?;
        self.attach(&tree, target, Kind::File)
    }

    fn attach(&mut self, tree: &OwnedFd, target: &str, kind: Kind) -> Result<(), Failure> {
        let found = self.stubs.find_or_make(self.directory, target, kind)?;
        let stat = fstat(&found).during("examine the mount point", target)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory != (kind == Kind::Directory) {
            let what = match kind {
                Kind::Directory => "a directory cannot be mounted on a file",
                Kind::File => "a file cannot be mounted on a directory",
            };
            return Err(Failure::Invalid {
                what: what.into(),
                value: target.into(),
            });
        }
        mount::attach(tree, found.as_fd()).during("mount at", target)
    }

    fn scratch_directory(&self, name: &str) -> Result<OwnedFd, Failure> {
        mkdirat(&self.scratch, name, Mode::from_raw_mode(0o755)).during("make", name)?;
        find_in_root(self.scratch.as_fd(), name).during("find", name)
    }

    /// A detached mount of a file in memory.
    fn scratch_file(
        &mut self,
        content: &[u8],
        mode: Mode,
        (uid, gid): (Uid, Gid),
        readonly: bool,
    ) -> Result<OwnedFd, Failure> {
        let name = self.files.to_string();
        self.files += 1;
        let make = || -> std::io::Result<OwnedFd> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(&self.scratch, &name, flags, Mode::RUSR)?;
            let mut file = std::fs::File::from(file);
            std::io::Write::write_all(&mut file, content)?;
            chownat(
                &file,
                "",
                Some(uid),
                Some(gid),
                rustix::fs::AtFlags::EMPTY_PATH,
            )?;
            fchmod(&file, mode)?;
            let tree = mount::clone(self.scratch.as_fd(), &name, false)?;
            let readonly = if readonly { READ_ONLY } else { 0 };
            // A heredoc that begins with #! is a program.
            let is_program = mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH);
            let executable = if is_program { 0 } else { NO_EXEC };
            let attributes = Attributes::set(NO_SETUID | NO_DEVICES | executable | readonly);
            mount::set_attributes(tree.as_fd(), &attributes, false)?;
            Ok(tree)
        };
        make().during("make a file in memory", &name)
    }
}

/// Makes `root`, which lies over the old root and under the scratch memory, the only one.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    let switch = || {
        unmount("/", UnmountFlags::DETACH)?;
        rustix::process::fchdir(root)?;
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        // What still lay over the root, such as the old one, would be what `..` leads to.
        match mount::id(&mount::find_on_host("/..".as_ref())?)? == mount::id(root)? {
            true => Ok(()),
            false => Err(Errno::BUSY),
        }
    };
    switch().map_err(|errno| {
        let missing = match errno {
            Errno::PERM => {
                "a filter of system calls forbids pivot_root, as Docker's does in containers without --security-opt \
                 seccomp=unconfined"
            }
            _ => "the old root is an initial ram file system, which cannot be left",
        };
        Failure::Unsupported {
            operation: "change the root".into(),
            missing: missing.into(),
            errno: errno.into(),
        }
    })
}
