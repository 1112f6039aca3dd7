//! Runs one step of a build: a command in namespaces of its own, on an overlay of layer directories, as
//! root of a user namespace that is nobody on the host. What it starts ends with it, and all of it
//! ends with Kiln. It knows nothing of Dockerfiles, keys and the store.
//!
//! Four processes take part: the engine ([`Sandbox`]), the helper that it executes anew (`helper`), the
//! first process of the step's namespaces (`init`), and the command. Each watches the one before.

mod capability;
mod cgroup;
mod command;
mod device;
mod enclosure;
mod error;
mod helper;
mod identity;
mod init;
mod kernel;
mod landlock;
mod layers;
mod mount;
mod network;
mod overlay;
mod path_bytes;
mod probe;
mod process;
mod rootfs;
mod rootless;
mod run;
mod scratch;
mod seccomp;
mod spare;
mod spec;
mod step;
mod stub;
mod user;
mod wire;

pub use cgroup::{Groups, Resources, Shortfall, versions as cgroup_versions};
pub use error::{Errno, Error, Failure};
pub use helper::run_if_helper;
pub use identity::{Identity, mapped_ids};
pub use landlock::can_scope_sockets;
pub use network::WayOut;
pub use probe::try_step;
pub use rootless::{MapperError, RootlessError, enter_user_namespace_if_needed};
pub use run::{Exit, Outcome, Sandbox, Shortage, Stream};
pub use seccomp::has_filter as has_system_call_filter;
pub use spec::{
    Command, DEFAULT_HOSTNAME, Host, Limit, Mount, Network, Overlay, Resource, Source, Spec,
    Writable,
};
