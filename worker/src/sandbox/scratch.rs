//! What a step's root is furnished with, made before there is a root: the kernel's views `/dev`, `/proc` and
//! `/sys`, and memory for the files that are made for the step.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid, chownat, fchmod, mkdirat, openat};

use super::device;
use super::error::{During, Failure};
use super::kernel::{self, Covers};
use super::mount::{self, Attributes, NO_DEVICES, NO_EXEC, NO_SETUID, READ_ONLY};
use crate::rooted::find_in_root;

/// Memory that lies over the old root, where only its descriptor leads; the step never sees it as a whole.
pub(super) struct Scratch {
    memory: OwnedFd,
    files: u32,
    /// Mounts in the memory, complete, to be moved to where they belong.
    pub(super) dev: OwnedFd,
    pub(super) proc: OwnedFd,
    pub(super) sys: OwnedFd,
}

impl Scratch {
    /// Makes it in this process's mount namespace; a privileged step sees more of the machine.
    pub(super) fn prepare(privileged: bool) -> Result<Self, Failure> {
        let no_devices = if privileged { 0 } else { NO_DEVICES };
        let memory = mount::create(
            "tmpfs",
            &[("mode", "0755"), ("size", "64m")],
            NO_SETUID | no_devices,
        )
        .during("make", "scratch memory")?;
        // Only attached mounts can be cloned, or have something mounted in them.
        mount::attach_over_root(&memory).during("attach", "scratch memory")?;
        let dev = directory(&memory, "dev")?;
        let dev = mount::clone(dev.as_fd(), "", false).during("clone", "/dev")?;
        attach(&memory, "dev", &dev)?;
        device::fill(&dev)?;
        let proc = kernel::proc()?;
        directory(&memory, "proc")?;
        attach(&memory, "proc", &proc)?;
        let sys = if privileged {
            kernel::whole_sys()
        } else {
            kernel::sys()
        }?;
        directory(&memory, "sys")?;
        attach(&memory, "sys", &sys)?;
        if privileged {
            device::add_privileged(&dev)?;
        } else {
            let directory = directory(&memory, "empty")?;
            let file = mount::find_on_host("/dev/null".as_ref()).during("find", "/dev/null")?;
            let covers = Covers {
                directory: directory.as_fd(),
                file: file.as_fd(),
            };
            kernel::mask_proc(&proc, &covers)?;
            kernel::mask_sys(&sys, &covers)?;
        }
        Ok(Self {
            memory,
            files: 0,
            dev,
            proc,
            sys,
        })
    }

    /// Attaches the step's root, so that more can be attached to it.
    pub(super) fn attach_root(&self, root: &OwnedFd) -> Result<(), Failure> {
        directory(&self.memory, "root")?;
        attach(&self.memory, "root", root)
    }

    /// A detached mount of a new file in memory.
    pub(super) fn file(
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
            let file = openat(&self.memory, &name, flags, Mode::RUSR)?;
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
            let tree = mount::clone(self.memory.as_fd(), &name, false)?;
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

fn directory(memory: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    mkdirat(memory, name, Mode::from_raw_mode(0o755)).during("make", name)?;
    find_in_root(memory.as_fd(), name).during("find", name)
}

fn attach(memory: &OwnedFd, name: &str, tree: &OwnedFd) -> Result<(), Failure> {
    let place = find_in_root(memory.as_fd(), name).during("find", name)?;
    mount::attach(tree, place.as_fd()).during("attach", name)
}
