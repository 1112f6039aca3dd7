//! A fresh ext4 in a sparse loop file, for one builder's state.
//!
//! An ext4 on which much was deleted is slower, erratically, than a new one; so every cold run gets
//! a new one.

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{UnmountFlags, unmount};

use crate::command;
use crate::interrupt;

/// Sparse: what is not written takes no room.
const DISK_BYTES: u64 = 20 << 30;

/// A mounted disk; unmounted and deleted when dropped.
#[derive(Debug)]
pub(crate) struct StateDisk {
    file: PathBuf,
    mount_point: PathBuf,
}

impl StateDisk {
    /// Makes and mounts an empty disk in `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let mount_point = directory.join("disk");
        fs::create_dir_all(&mount_point).with_context(|| mount_point.display().to_string())?;
        let disk = Self {
            file: directory.join("disk.ext4"),
            mount_point,
        };
        disk.format()?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Whether there is nothing on it but what ext4 puts there.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let path = || self.mount_point.display().to_string();
        for entry in fs::read_dir(&self.mount_point).with_context(path)? {
            if entry.with_context(path)?.file_name() != "lost+found" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn format(&self) -> Result<()> {
        remove_if_there(&self.file)?;
        let size = File::create(&self.file).and_then(|file| file.set_len(DISK_BYTES));
        size.with_context(|| self.file.display().to_string())?;
        let options = ["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"];
        command::run(Command::new("mkfs.ext4").args(options).arg(&self.file))?;
        Ok(())
    }

    fn mount(&self) -> Result<()> {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", "loop,noatime"])
            .arg(&self.file)
            .arg(&self.mount_point);
        command::run(&mut mount)?;
        Ok(())
    }
}

impl Drop for StateDisk {
    fn drop(&mut self) {
        let removed = unmount_below(&self.mount_point).and_then(|()| remove_if_there(&self.file));
        if let Err(error) = removed {
            eprintln!("kiln-bench: cleaning up: {error:#}");
        }
    }
}

fn remove_if_there(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Unmounts `top` and everything that a builder left mounted below it, the newest first.
fn unmount_below(top: &Path) -> Result<()> {
    for mount_point in mounts_below(top)?.iter().rev() {
        if unmount(mount_point, UnmountFlags::empty()).is_err() {
            unmount(mount_point, UnmountFlags::DETACH)
                .with_context(|| format!("unmounting {}", mount_point.display()))?;
        }
    }
    if !mounts_below(top)?.is_empty() {
        bail!("{} is still mounted", top.display());
    }
    Ok(())
}

/// The mount points at or below `top`, in the order in which they were mounted.
fn mounts_below(top: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape);
    Ok(points.filter(|point| point.starts_with(top)).collect())
}

/// Undoes mountinfo's `\ooo` for blanks (proc_pid_mountinfo(5)).
fn unescape(field: &str) -> PathBuf {
    PathBuf::from(
        field
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\134", "\\"),
    )
}

/// Fails if another kiln-bench works in `directory`; the returned file holds the lock.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    interrupt::check()?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => bail!("another kiln-bench works in {}", directory.display()),
    }
}
