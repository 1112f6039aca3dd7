//! What surrounds a step and can be there before it is known what the step is: namespaces, the ids in them,
//! the network, the control groups, and the kernel's views of it all. Most steps of a build want the same,
//! so that it can be made for the next one while one runs.

use serde::{Deserialize, Serialize};

use super::cgroup::Groups;
use super::identity::Identity;
use super::network::Passage;
use super::spec::{Network, Spec};

/// What Kiln sends to the helper first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Enclosure {
    pub(super) identity: Identity,
    pub(super) network: Network,
    /// How a private network reaches what is outside; without it, that is the host's.
    pub(super) passage: Option<Passage>,
    pub(super) groups: Groups,
    /// As in [`Spec`].
    pub(super) privileged: bool,
}

impl Enclosure {
    /// What `spec` wants to be in, with these ids and this way out.
    pub(super) fn of(spec: &Spec, identity: Identity, passage: Option<Passage>) -> Self {
        Self {
            identity,
            network: spec.network,
            passage,
            groups: spec.groups.clone(),
            privileged: spec.privileged,
        }
    }

    /// Whether it has a network namespace of its own.
    pub(super) fn has_own_network(&self) -> bool {
        match self.network {
            Network::Host => false,
            Network::None => true,
            Network::Private => self.passage.is_some(),
        }
    }

    /// The namespaces that its first process is made in, as flags of clone(2).
    pub(super) fn namespaces(&self) -> libc::c_int {
        let mut flags =
            libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        if !self.privileged {
            flags |= libc::CLONE_NEWUSER;
        }
        // A namespace of control groups begins at the group that its maker is in: where the step has one of
        // its own, it makes the namespace once it is there.
        if self.groups.is_empty() {
            flags |= libc::CLONE_NEWCGROUP;
        }
        if self.has_own_network() {
            flags |= libc::CLONE_NEWNET;
        }
        flags
    }
}
