//! The overlay of a step's layers, mounted detached by the helper before the step's own namespace exists
//! in full: the helper still sees the host's paths and has the rights that overlay asks of its mounter.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsopen};

use super::error::{During, Failure};
use super::mount;
use super::spec::Overlay;

/// An overlay's directories, lowest first, opened by descriptor.
pub(super) struct Directories {
    pub(super) layers: Vec<OwnedFd>,
    /// Upper and work.
    pub(super) writable: Option<(OwnedFd, OwnedFd)>,
}

/// Every directory that `overlay` is made of: layers, then upper, then work.
pub(super) fn paths(overlay: &Overlay) -> impl Iterator<Item = &Path> {
    let writable = overlay
        .writable
        .iter()
        .flat_map(|writable| [&writable.upper, &writable.work]);
    overlay.layers.iter().chain(writable).map(AsRef::as_ref)
}

/// Mounts `directories` over one another. Device nodes that an image brings do not work in it: nothing
/// but the mount's flag stands between a step and the disk that such a node names.
/// A privileged step may have them: `attributes` are those of the mount.
pub(super) fn mount(
    directories: &Directories,
    userxattr: bool,
    attributes: u64,
) -> Result<OwnedFd, Failure> {
    match (&directories.layers[..], &directories.writable) {
        ([], None) => Err(Failure::Invalid {
            what: "an overlay needs a layer or a place for writes".into(),
            value: String::new(),
        }),
        ([], Some((only, _))) => alone(only.as_fd(), attributes),
        ([only], None) => alone(only.as_fd(), attributes | mount::READ_ONLY),
        _ => match configure(directories, userxattr, attributes, add_one_by_one) {
            Err(first @ (_, Errno::INVAL)) => {
                configure(directories, userxattr, attributes, add_joined).map_err(|_| first)
            }
            result => result,
        }
        .map_err(|(message, errno)| Failure::System {
            operation: "mount an overlay of".into(),
            path: format!("{} layers{message}", directories.layers.len()),
            errno: errno.into(),
        }),
    }
}

/// One directory needs no overlay, which would refuse it.
fn alone(directory: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd, Failure> {
    let tree = mount::clone(directory, "", false).during("clone the mount of", "a layer")?;
    let attributes = mount::Attributes::set(attributes);
    mount::set_attributes(tree.as_fd(), &attributes, false)
        .during("set the attributes of", "a layer's mount")?;
    Ok(tree)
}

/// A configured and mounted overlay, or why not: the file system's own words and the error.
fn configure(
    directories: &Directories,
    userxattr: bool,
    attributes: u64,
    add_layers: fn(&OwnedFd, &[OwnedFd]) -> rustix::io::Result<()>,
) -> Result<OwnedFd, (String, Errno)> {
    let context =
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| (String::new(), errno))?;
    let set = || {
        fsconfig_set_string(&context, "source", "overlay")?;
        // Marks that these would leave or obey are not part of a layer's format.
        for (key, value) in [
            ("redirect_dir", "nofollow"),
            ("metacopy", "off"),
            ("index", "off"),
            ("uuid", "off"),
        ] {
            fsconfig_set_string(&context, key, value)?;
        }
        if userxattr {
            fsconfig_set_flag(&context, "userxattr")?;
        }
        add_layers(&context, &directories.layers)?;
        if let Some((upper, work)) = &directories.writable {
            fsconfig_set_string(&context, "upperdir", descriptor_path(upper))?;
            fsconfig_set_string(&context, "workdir", descriptor_path(work))?;
            // A step that is cut off is run again, so nothing in it need reach the disk.
            fsconfig_set_flag(&context, "volatile")?;
        }
        fsconfig_create(&context)?;
        mount::into_mount(&context, attributes)
    };
    set().map_err(|errno| (last_words(&context), errno))
}

/// The way since Linux 6.8, without a limit but the kernel's 500 layers.
fn add_one_by_one(context: &OwnedFd, layers: &[OwnedFd]) -> rustix::io::Result<()> {
    layers
        .iter()
        .rev()
        .try_for_each(|layer| fsconfig_set_string(context, "lowerdir+", descriptor_path(layer)))
}

/// The way before: one option, which fsconfig(2) limits to 255 bytes. Bare descriptor numbers, relative
/// to `/proc/self/fd`, make that enough for 64 layers.
fn add_joined(context: &OwnedFd, layers: &[OwnedFd]) -> rustix::io::Result<()> {
    rustix::process::chdir("/proc/self/fd")?;
    let names: Vec<_> = layers
        .iter()
        .rev()
        .map(|layer| layer.as_raw_fd().to_string())
        .collect();
    let result = fsconfig_set_string(context, "lowerdir", names.join(":"));
    rustix::process::chdir("/")?;
    result
}

/// A path of a few bytes for a directory whose real path may be long, hold colons, or move.
fn descriptor_path(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// What the file system wrote to its context's log, most of the time why it refused.
fn last_words(context: &OwnedFd) -> String {
    let mut line = [0; 512];
    let mut words = String::new();
    while let Ok(length) = rustix::io::read(context, &mut line[..]) {
        let text = String::from_utf8_lossy(&line[..length]);
        words.push_str("; ");
        words.push_str(text.trim_start_matches(['e', 'w', 'i', ' ']).trim_end());
    }
    words
}
