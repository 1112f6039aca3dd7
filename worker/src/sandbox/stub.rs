//! Mount points that a root lacks: made for the time of the step, and taken away again so that the
//! step's changes show nothing of them. Paths are walked by descriptor, one component at a time.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, mkdirat, mknodat, openat,
    readlinkat, statat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::error::{During, Failure};
use super::mount;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

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
        match mount::find(root, path) {
            Err(Errno::NOENT) => self.walk(root, path, kind),
            result => result,
        }
        .during("find the mount point", path)
    }

    /// Resolves `path` as openat2(2) would with RESOLVE_IN_ROOT, but makes what is missing.
    fn walk(
        &mut self,
        root: BorrowedFd<'_>,
        path: &str,
        kind: Kind,
    ) -> rustix::io::Result<OwnedFd> {
        let mut rest: VecDeque<Vec<u8>> = components(path.as_bytes()).collect();
        // The directories from the root down to where the walk is; `..` goes back up in this list, never
        // in the file system, which another step may be changing through a shared mount.
        let mut trail = vec![rustix::io::fcntl_dupfd_cloexec(root, 0)?];
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == b".." {
                trail.truncate(trail.len().saturating_sub(1).max(1));
                continue;
            }
            let here = trail.last().expect("the root is never taken off");
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(here, &name[..], flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let kind = if rest.is_empty() {
                        kind
                    } else {
                        Kind::Directory
                    };
                    self.make(here.as_fd(), name, kind)?
                }
                result => result?,
            };
            if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&found, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                for name in components(&target).rev() {
                    rest.push_front(name);
                }
            } else {
                trail.push(found);
            }
        }
        trail.pop().ok_or(Errno::NOENT)
    }

    fn make(
        &mut self,
        parent: BorrowedFd<'_>,
        name: Vec<u8>,
        kind: Kind,
    ) -> rustix::io::Result<OwnedFd> {
        let before = mtime(&fstat(parent)?);
        match kind {
            Kind::Directory => mkdirat(parent, &name[..], Mode::from_raw_mode(0o755))?,
            Kind::File => {
                mknodat(
                    parent,
                    &name[..],
                    FileType::RegularFile,
                    Mode::from_raw_mode(0o644),
                    0,
                )?;
            }
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, &name[..], flags, Mode::empty())?;
        self.0.push(Stub {
            parent: rustix::io::fcntl_dupfd_cloexec(parent, 0)?,
            name,
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

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

fn mtime(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    }
}
