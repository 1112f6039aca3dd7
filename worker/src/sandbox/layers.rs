//! From a spec's host paths to detached mounts: directories are opened, shown with the step's owners
//! where ids are shifted, put over one another, and bind mounts cloned. Runs in the helper, as the
//! user that Kiln is, in a mount namespace that dies with it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

use super::error::{During, Failure};
use super::mount::{self, Attributes};
use super::overlay::{self, Directories};
use super::spec::{Overlay, Source, Spec};
use crate::rooted::find_in_root;

/// What the helper mounts for a step: the root, and per mount of the spec what needs the host.
pub(super) struct Mounts {
    pub(super) root: OwnedFd,
    /// One for each mount that [is a bind](Source::is_bind), in the spec's order.
    pub(super) binds: Vec<OwnedFd>,
}

/// Mounts all that `spec` takes from the host; with `shift`, through mounts that this user
/// namespace maps.
pub(super) fn mount(
    spec: &Spec,
    shift: Option<BorrowedFd<'_>>,
    userxattr: bool,
) -> Result<Mounts, Failure> {
    // Before the id-mapped mounts, which cover what lies under them.
    let hosts = spec.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Host(path) => Some(bind_host(path, "", mount.readonly, shift)),
        Source::Within { directory, path } => {
            Some(bind_host(directory, path, mount.readonly, shift))
        }
        Source::Overlay { .. } | Source::Tmpfs { .. } | Source::File { .. } => None,
    });
    let mut hosts = hosts.collect::<Result<Vec<_>, _>>()?.into_iter();

    let overlays: Vec<_> = std::iter::once(&spec.root)
        .chain(spec.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Overlay { overlay, .. } => Some(overlay),
            _ => None,
        }))
        .collect();
    let mut overlays = open_all(&overlays, shift)?.into_iter();
    let attributes = if spec.privileged {
        0
    } else {
        mount::NO_DEVICES
    };
    let mut next_overlay = || {
        let directories = overlays.next().expect("one set of directories per overlay");
        overlay::mount(&directories, userxattr, attributes)
    };

    let root = next_overlay()?;
    let mut binds = Vec::new();
    for mount in &spec.mounts {
        match &mount.source {
            Source::Host(_) | Source::Within { .. } => binds.extend(hosts.next()),
            Source::Overlay { path, .. } => {
                binds.push(bind_within(&next_overlay()?, path, mount.readonly)?);
            }
            Source::Tmpfs { .. } | Source::File { .. } => {}
        }
    }
    Ok(Mounts { root, binds })
}

fn bind_host(
    host: &Path,
    path: &str,
    readonly: bool,
    shift: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Failure> {
    let mut found = mount::find_on_host(host).during("open", host.display())?;
    if !path.is_empty() {
        found = find_in_root(found.as_fd(), path).during("find, in what a mount shows,", path)?;
    }
    let tree =
        mount::clone(found.as_fd(), "", false).during("clone the mount of", host.display())?;
    if let Some(namespace) = shift {
        shift_owners(&tree, namespace, host)?;
    }
    finish_bind(tree, readonly)
}

/// A part of an overlay; the overlay is attached first because a clone is made of attached mounts only.
fn bind_within(overlay: &OwnedFd, path: &str, readonly: bool) -> Result<OwnedFd, Failure> {
    mount::attach_over_root(overlay).during("attach", "an overlay")?;
    let found = find_in_root(overlay.as_fd(), path).during("find, in what a mount shows,", path)?;
    let tree = mount::clone(found.as_fd(), "", false).during("clone the mount of", path)?;
    finish_bind(tree, readonly)
}

fn finish_bind(tree: OwnedFd, readonly: bool) -> Result<OwnedFd, Failure> {
    let readonly = if readonly { mount::READ_ONLY } else { 0 };
    mount::set_attributes(
        tree.as_fd(),
        &Attributes::set(mount::NO_DEVICES | readonly),
        false,
    )
    .during("set the attributes of", "a bind mount")?;
    Ok(tree)
}

fn shift_owners(tree: &OwnedFd, namespace: BorrowedFd<'_>, path: &Path) -> Result<(), Failure> {
    let attributes = Attributes::default().mapped_by(namespace);
    mount::set_attributes(tree.as_fd(), &attributes, false).map_err(|error| Failure::IdMapRefused {
        path: path.display().to_string(),
        errno: error.into(),
    })
}

/// A directory as it was found on the host.
struct Found {
    directory: OwnedFd,
    /// Free of links.
    path: PathBuf,
    mount: u64,
}

/// Opens all directories of `overlays`.
fn open_all(
    overlays: &[&Overlay],
    shift: Option<BorrowedFd<'_>>,
) -> Result<Vec<Directories>, Failure> {
    let opened = overlays
        .iter()
        .flat_map(|overlay| overlay::paths(overlay))
        .map(open_directory);
    let mut directories: Vec<_> = opened.collect::<Result<_, _>>()?;
    if let Some(namespace) = shift {
        directories = show_shifted(directories, namespace)?;
    }
    let mut directories = directories.into_iter();
    let mut next = || directories.next().expect("one directory per path");
    Ok(overlays
        .iter()
        .map(|overlay| Directories {
            layers: overlay.layers.iter().map(|_| next()).collect(),
            writable: overlay.writable.as_ref().map(|_| (next(), next())),
        })
        .collect())
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during("open the directory", path.display())
}

/// The same directories seen through id-mapped mounts, one for all that lie on the same mount: a mount
/// for each would cost three system calls a layer, and upper and work must share theirs.
fn show_shifted(
    directories: Vec<OwnedFd>,
    namespace: BorrowedFd<'_>,
) -> Result<Vec<OwnedFd>, Failure> {
    let found = directories
        .into_iter()
        .map(locate)
        .collect::<Result<Vec<_>, _>>()?;
    let mut ancestors: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for Found { path, mount, .. } in &found {
        let ancestor = ancestors.entry(*mount).or_insert_with(|| path.clone());
        *ancestor = common_ancestor(ancestor, path);
    }
    let mut trees = BTreeMap::new();
    for (&mount, path) in &ancestors {
        let ancestor = open_directory(path)?;
        if mount::id(&ancestor).during("examine", path.display())? != mount {
            // Another mount lies over the common ancestor.
            return Err(Failure::IdMapRefused {
                path: path.display().to_string(),
                errno: Errno::XDEV.into(),
            });
        }
        let tree = mount::clone(ancestor.as_fd(), "", false)
            .during("clone the mount of", path.display())?;
        shift_owners(&tree, namespace, path)?;
        // Overlay takes directories of attached mounts only, before Linux 6.15.
        mount::attach(&tree, ancestor.as_fd()).during("attach", path.display())?;
        trees.insert(mount, tree);
    }
    let reopen = |Found {
                      path,
                      mount,
                      directory,
                  }: Found| {
        drop(directory);
        let relative = path
            .strip_prefix(&ancestors[&mount])
            .expect("an ancestor is a prefix");
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&trees[&mount], relative, flags, Mode::empty(), resolve)
            .during("open the layer", path.display())
    };
    found.into_iter().map(reopen).collect()
}

fn locate(directory: OwnedFd) -> Result<Found, Failure> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = readlinkat(rustix::fs::CWD, &link, Vec::new()).during("read the path of", &link)?;
    let path = PathBuf::from(
        <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(path.into_bytes()),
    );
    let mount = mount::id(&directory).during("examine", path.display())?;
    Ok(Found {
        directory,
        path,
        mount,
    })
}

fn common_ancestor(one: &Path, other: &Path) -> PathBuf {
    one.components()
        .zip(other.components())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_end_at_whole_components() {
        let cases = [
            ("/a/b", "/a/b", "/a/b"),
            ("/a/b", "/a/bc", "/a"),
            ("/a/b/c", "/a/b", "/a/b"),
            ("/a", "/b", "/"),
        ];
        for (one, other, expected) in cases {
            assert_eq!(
                common_ancestor(one.as_ref(), other.as_ref()),
                Path::new(expected)
            );
        }
    }
}
