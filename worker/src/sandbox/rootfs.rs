//! Puts the step's root together in the step's own mount namespace, and moves into it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, Uid, fstat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::device;
use super::error::{During, Failure};
use super::mount::{self, NO_DEVICES, NO_SETUID, READ_ONLY};
use super::network::{self, Wiring};
use super::scratch::Scratch;
use super::spec::{Mount, Source, Spec};
use super::stub::{Kind, Stubs};
use crate::rooted::find_in_root;

/// A root that is being filled.
struct Root<'a> {
    directory: BorrowedFd<'a>,
    scratch: Scratch,
    stubs: &'a mut Stubs,
}

/// Attaches `root`, fills it as `spec` says, and makes it this process's root; `binds` are the mounts
/// that the helper made, in the spec's order. What `stubs` says afterwards must be undone even after an error.
pub(super) fn enter(
    spec: &Spec,
    scratch: Scratch,
    root: &OwnedFd,
    binds: Vec<OwnedFd>,
    wiring: &Wiring,
    stubs: &mut Stubs,
) -> Result<(), Failure> {
    scratch.attach_root(root)?;
    let mut filling = Root {
        directory: root.as_fd(),
        scratch,
        stubs,
    };
    filling.attach_kernel_views(spec)?;
    // Every runtime wants these directories in a root, and BuildKit leaves them there.
    filling.stubs.keep();
    let hosts = network::hosts(spec);
    for (target, content) in [
        ("/etc/hosts", hosts.as_bytes()),
        ("/etc/resolv.conf", &wiring.resolvers()),
    ] {
        // As in BuildKit: what the step mounts there takes its place, and may be a directory.
        if !spec.mounts.iter().any(|mount| mount.target == target) {
            filling.attach_file(target, content)?;
        }
    }
    let mut binds = binds.into_iter();
    for mount in &spec.mounts {
        filling.attach_mount(mount, &mut binds)?;
    }
    pivot(root)
}

impl Root<'_> {
    fn attach_kernel_views(&mut self, spec: &Spec) -> Result<(), Failure> {
        device::add_shared_memory(&self.scratch.dev, spec.shm_size)?;
        for (tree, target) in [
            (self.scratch.dev.as_fd(), "/dev"),
            (self.scratch.proc.as_fd(), "/proc"),
            (self.scratch.sys.as_fd(), "/sys"),
        ] {
            attach(self.directory, self.stubs, tree, target, Kind::Directory)?;
        }
        Ok(())
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
                let mode = self.mode_of(target);
                let options = [("size", &size), ("mode", &mode)];
                let options = options
                    .iter()
                    .filter_map(|(key, value)| Some((*key, value.as_deref()?)));
                let options: Vec<_> = options.collect();
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
                self.scratch.file(&content.0, mode, owner, mount.readonly)?
            }
        };
        let stat = fstat(&tree).during("examine the mount for", target)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        self.attach(&tree, target, kind)
    }

    /// The permission bits of a directory that is there, in octal: memory over it has the same, as with runc.
    fn mode_of(&self, target: &str) -> Option<String> {
        let there = find_in_root(self.directory, target).ok()?;
        let mode = fstat(&there).ok()?.st_mode;
        let is_directory = FileType::from_raw_mode(mode) == FileType::Directory;
        is_directory.then(|| format!("{:o}", mode & 0o7777))
    }

    fn attach_file(&mut self, target: &str, content: &[u8]) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(0o644);
        let owner = (Uid::ROOT, Gid::ROOT);
        let tree = self.scratch.file(content, mode, owner, true)?;
        self.attach(&tree, target, Kind::File)
    }

    fn attach(&mut self, tree: &OwnedFd, target: &str, kind: Kind) -> Result<(), Failure> {
        attach(self.directory, self.stubs, tree.as_fd(), target, kind)
    }
}

fn attach(
    root: BorrowedFd<'_>,
    stubs: &mut Stubs,
    tree: BorrowedFd<'_>,
    target: &str,
    kind: Kind,
) -> Result<(), Failure> {
    let found = stubs.find_or_make(root, target, kind)?;
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

/// Makes `root`, which lies in the scratch memory over the old root, the only one.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    let switch = || {
        rustix::process::fchdir(root)?;
        rustix::process::pivot_root(".", ".")?;
        // Over the new root lie the old one and, over that, the scratch memory.
        for _ in 0..2 {
            unmount(".", UnmountFlags::DETACH)?;
        }
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
