//! Paths below a directory, through no symbolic link.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_solver::RelPath;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Opens what is at a path. A link on the way, or at its end, is the error `LOOP`.
pub(crate) fn open_beneath(
    root: impl AsFd,
    path: &RelPath,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(root, os_path(path), flags, Mode::empty(), NO_LINKS)
}

/// Opens a file to be read; a named pipe does not block.
pub(crate) fn open_file_beneath(root: impl AsFd, path: &RelPath) -> rustix::io::Result<File> {
    open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from)
}

/// The path for people to read. What is opened by it may be something else.
pub(crate) fn described(root: &Path, path: &RelPath) -> PathBuf {
    match path.is_root() {
        true => root.to_owned(),
        false => root.join(os_path(path)),
    }
}

/// A name in an open directory, for the calls that take neither descriptors nor names in directories: those
/// about extended attributes. Such a call must not follow the name if it is a link's.
pub(crate) fn through(directory: impl AsFd, name: &[u8]) -> PathBuf {
    let directory = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    Path::new(&directory).join(OsStr::from_bytes(name))
}

/// Directories in which entries are made or looked at one after another: the last one stays open.
pub(crate) struct Parents<'r> {
    root: &'r OwnedFd,
    last: Option<(RelPath, Arc<OwnedFd>)>,
}

impl<'r> Parents<'r> {
    pub(crate) fn below(root: &'r OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// The directory that an entry is in, and its name there. The root itself is the entry `.` of itself.
    pub(crate) fn of<'p>(
        &mut self,
        path: &'p RelPath,
    ) -> rustix::io::Result<(Arc<OwnedFd>, &'p [u8])> {
        let parent = path.parent().unwrap_or_default();
        let name = path.file_name().unwrap_or(b".");
        if let Some((known, directory)) = &self.last
            && *known == parent
        {
            return Ok((Arc::clone(directory), name));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = Arc::new(open_beneath(self.root, &parent, flags)?);
        self.last = Some((parent, Arc::clone(&directory)));
        Ok((directory, name))
    }
}

/// The path as the kernel takes it: `.` is the root itself.
fn os_path(path: &RelPath) -> &Path {
    let bytes = if path.is_root() {
        b"."
    } else {
        path.as_bytes()
    };
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("d/e")).expect("directories");
        fs::create_dir(directory.path().join("out")).expect("a directory");
        fs::write(root.join("d/e/f"), "inside").expect("writable");
        fs::write(directory.path().join("out/f"), "outside").expect("writable");
        symlink("../out", root.join("away")).expect("a link");
        symlink("d", root.join("near")).expect("a link");
        symlink("f", root.join("d/e/last")).expect("a link");
        let root = rustix::fs::open(&root, OFlags::PATH, Mode::empty()).expect("it is there");
        let cases = [
            ("d/e/f", Ok(())),
            ("", Ok(())),
            ("away/f", Err(Errno::LOOP)),
            ("near/e/f", Err(Errno::LOOP)),
            ("d/e/last", Err(Errno::LOOP)),
            ("d/none", Err(Errno::NOENT)),
        ];
        for (path, expected) in cases {
            let path = RelPath::parse(path.as_bytes()).expect("a path");
            let opened = open_beneath(&root, &path, OFlags::RDONLY);
            assert_eq!(opened.map(drop), expected, "{path}");
            let mut parents = Parents::below(&root);
            let through_link = matches!(path.as_bytes(), b"away/f" | b"near/e/f");
            assert_eq!(parents.of(&path).is_err(), through_link, "{path}");
        }
    }
}
