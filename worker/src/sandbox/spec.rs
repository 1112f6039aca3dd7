//! What one step is: its root, command, mounts and surroundings. Pure data, no system call is made here;
//! the same value crosses a socket to the process that sets the step up.

use std::net::IpAddr;
use std::path::PathBuf;

pub use kiln_solver::op::{DEFAULT_HOSTNAME, Limit, Resource};
use serde::{Deserialize, Serialize};

use super::cgroup::Groups;
use super::path_bytes;
use crate::secret::Secret;

/// One step, complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub root: Overlay,
    /// The program and how it is started.
    pub command: Command,
    /// Mounted in this order, after `/proc`, `/dev` and `/sys`: a parent must come before its child.
    pub mounts: Vec<Mount>,
    /// What the step sees of the network.
    pub network: Network,
    /// The name that the step's UTS namespace carries.
    pub hostname: String,
    /// Lines of `/etc/hosts` beside those for localhost.
    pub hosts: Vec<Host>,
    /// Bytes that `/dev/shm` may hold.
    pub shm_size: u64,
    /// What the step's processes may use together.
    pub groups: Groups,
    /// Whether the step has all privileges of this process: no user namespace of its own, all
    /// capabilities, devices, and nothing of `/proc` and `/sys` hidden.
    pub privileged: bool,
}

impl Spec {
    /// A step on `root` with Docker's defaults for all that is not given.
    pub fn new(root: Overlay, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            root,
            command: Command {
                args: args.into_iter().map(Into::into).collect(),
                env: Vec::new(),
                secret_env: Vec::new(),
                cwd: "/".into(),
                user: String::new(),
                limits: Vec::new(),
            },
            mounts: Vec::new(),
            network: Network::Host,
            hostname: DEFAULT_HOSTNAME.into(),
            hosts: Vec::new(),
            shm_size: 64 << 20,
            groups: Groups::default(),
            privileged: false,
        }
    }
}

/// Layer directories put over one another, in the overlay file system's own format:
/// a whiteout is a character device 0/0, an opaque directory carries the opaque xattr.
///
/// Files carry the step's ids on disk: what root in the step owns is owned by uid 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overlay {
    /// Lowest first. May be empty when `writable` is given.
    #[serde(with = "path_bytes::list")]
    pub layers: Vec<PathBuf>,
    /// Where writes go; without it the whole is read-only.
    pub writable: Option<Writable>,
}

/// The two directories of an overlay's upper layer; they must be empty, apart, and on one mount.
///
/// `upper`'s own mode, owner and mtime become those of the root directory.
/// The overlay is mounted volatile: `work` serves one mount only, and what `upper` holds is not
/// on the disk until the caller syncs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Writable {
    /// Receives the changes.
    #[serde(with = "path_bytes")]
    pub upper: PathBuf,
    /// The overlay's own scratch directory.
    #[serde(with = "path_bytes")]
    pub work: PathBuf,
}

/// The program of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments; a program without a slash is looked for in the step's `PATH`.
    pub args: Vec<String>,
    /// The whole environment. `HOME` is added from `/etc/passwd` when it is not here.
    pub env: Vec<(String, String)>,
    /// More of it, which debug output does not show.
    pub secret_env: Vec<(String, Secret)>,
    /// An existing directory of the root.
    pub cwd: String,
    /// As in `USER`: empty for root, else `name`, `uid`, `name:group`, `uid:gid` or a mixture.
    pub user: String,
    /// Resource limits that differ from Kiln's own.
    pub limits: Vec<Limit>,
}

/// Something mounted into the step's root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// An absolute path in the root, symlinks followed within the root; made for the time of the step if missing.
    pub target: String,
    /// What is mounted.
    pub source: Source,
    /// Whether writes are refused.
    pub readonly: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Source {
    /// A directory or file that has the step's ids on disk and that Kiln itself named: a cache mount.
    Host(#[serde(with = "path_bytes")] PathBuf),
    /// The same, where others had a hand in the path: a part of a context, or of a cache mount.
    Within {
        /// The directory that Kiln named.
        #[serde(with = "path_bytes")]
        directory: PathBuf,
        /// What of it is shown, a directory or a file; symlinks are followed within it.
        path: String,
    },
    /// A path in an overlay of its own: another stage's root, with throw-away writes if it is writable.
    Overlay {
        /// The layers.
        overlay: Overlay,
        /// What of them is shown; symlinks are followed within them.
        path: String,
    },
    /// Empty memory; `size` in bytes, half of the machine's memory when it is not given.
    Tmpfs {
        /// The most that it holds.
        size: Option<u64>,
    },
    /// A file in memory that never touches a disk.
    File {
        /// The bytes.
        content: Secret,
        /// Permission bits.
        mode: u32,
        /// Owner, as the step sees it.
        uid: u32,
        /// Group, as the step sees it.
        gid: u32,
    },
}

impl Source {
    /// Whether the host's files are shown, so that the mount is made outside the step's namespaces.
    pub(super) fn is_bind(&self) -> bool {
        match self {
            Self::Host(_) | Self::Within { .. } | Self::Overlay { .. } => true,
            Self::Tmpfs { .. } | Self::File { .. } => false,
        }
    }
}

/// What a step sees of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// One of its own, from which it reaches what the host reaches; the host's where this machine has no
    /// way to make one.
    Private,
    /// A loopback interface of its own.
    None,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}
