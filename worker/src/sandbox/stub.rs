//! Mount points that a root lacks: made for the time of the step, and taken away again so that the
//! step's changes show nothing of them. Paths are walked by descriptor, one component at a time.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, mkdirat, mknodat, openat,
    statat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::error::{During, Failure};
use crate::rooted::{find_in_root, walk_in_root};

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// The mount points that were made for a step, oldest first.
#[derive(Default)]
pub(super) struct Stubs(Vec<Stub>);

struct Stub {
    parent: OwnedFd,
    name: Vec<u8>,
    kind: Kind,
    inode: u64,
    /// The parent's mtime before the stub was made and right after.
    before: Timespec,
    after: Timespec,
}

impl Stubs {
    /// What `path` names within `root`; what is missing of it is made, parents too.
    pub(super) fn find_or_make(
        &mut self,
        root: BorrowedFd<'_>,
        path: &str,
        kind: Kind,
    ) -> Result<OwnedFd, Failure> {
        match find_in_root(root, path) {
            Err(Errno::NOENT) => {
                let mut make = |parent: BorrowedFd<'_>, name: &[u8], is_last| match is_last {
                    true => self.make(parent, name, kind),
                    false => self.make(parent, name, Kind::Directory),
                };
                walk_in_root(root, path, OFlags::PATH, &mut make)
            }
            result => result,
        }
        .during("find the mount point", path)
    }

    fn make(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        kind: Kind,
    ) -> rustix::io::Result<OwnedFd> {
        let before = mtime(&fstat(parent)?);
        match kind {
            Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755))?,
            Kind::File => {
                mknodat(
                    parent,
                    name,
                    FileType::RegularFile,
                    Mode::from_raw_mode(0o644),
                    0,
                )?;
            }
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, name, flags, Mode::empty())?;
        self.0.push(Stub {
            parent: rustix::io::fcntl_dupfd_cloexec(parent, 0)?,
            name: name.to_owned(),
            kind,
            inode: fstat(&made)?.st_ino,
            before,
            after: mtime(&fstat(parent)?),
        });
        Ok(made)
    }

    /// Lets what was made so far stay.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }

    /// Takes away the stubs that are as they were made. Called when no process of the step is left, in
    /// the step's root and mount namespace.
    pub(super) fn remove(self) -> Result<(), Failure> {
        for stub in self.0.into_iter().rev() {
            let name = String::from_utf8_lossy(&stub.name).into_owned();
            stub.remove().during("remove the mount point", name)?;
        }
        Ok(())
    }
}

impl Stub {
    fn remove(self) -> rustix::io::Result<()> {
        let name = &self.name[..];
        self.uncover()?;
        let parent = mtime(&fstat(&self.parent)?);
        let stat = match statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            result => result?,
        };
        if stat.st_ino != self.inode {
            return Ok(());
        }
        let removed = match self.kind {
            Kind::Directory => unlinkat(&self.parent, name, AtFlags::REMOVEDIR),
            Kind::File if stat.st_size == 0 => unlinkat(&self.parent, name, AtFlags::empty()),
            Kind::File => return Ok(()),
        };
        match removed {
            Err(Errno::NOTEMPTY) => return Ok(()),
            result => result?,
        }
        // The step's own changes to the directory keep their time; only ours is undone.
        let time = if parent == self.after {
            self.before
        } else {
            parent
        };
        let omit = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        };
        let times = Timestamps {
            last_access: omit,
            last_modification: time,
        };
        utimensat(&self.parent, "", &times, AtFlags::EMPTY_PATH)
    }

    /// Takes off all that is mounted on the stub.
    fn uncover(&self) -> rustix::io::Result<()> {
        rustix::process::fchdir(&self.parent)?;
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        loop {
            match unmount(&self.name[..], flags) {
                Ok(()) => {}
                // Not, or no longer, a mount point.
                Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn mtime(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    }
}
