//! Whose ids a step's ids are on the host, and how its user namespace is told.

use std::fmt::Write as _;
use std::fs;

use rustix::process::Pid;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use super::error::{During, Failure};

/// Whose ids a step's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Those of a range that no account of the host has; layers are shown through id-mapped mounts.
    /// Needs root and a file system that can be id-mapped.
    Shifted,
    /// Those of the user namespace that Kiln itself runs in: for an ordinary user that is his own
    /// and his subordinate ids, for root it is the host's.
    Same,
}

/// Where [`Identity::Shifted`] begins and how far it goes. The range lies behind the one that systemd
/// gives to containers and before the one that it keeps for foreign images
/// (<https://systemd.io/UIDS-GIDS/>), and below 2^31, above which some programs see negative numbers.
const SHIFTED: Extent = Extent {
    inside: 0,
    outside: 0x7000_0000,
    count: 0x0ffe_0000,
};

/// The map of the first user namespace.
const WHOLE: Extent = Extent {
    inside: 0,
    outside: 0,
    count: u32::MAX,
};

const _: () = {
    assert!(
        SHIFTED.outside > 0x6fff_ffff,
        "systemd's containers end there"
    );
    assert!(
        SHIFTED.outside + SHIFTED.count <= 0x7ffe_0000,
        "systemd's foreign images begin there"
    );
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    count: u32,
}

impl Identity {
    /// What suits this process best: shifted ids if it is root of the whole machine.
    pub fn of_this_process() -> Self {
        match rustix::process::geteuid().is_root() && is_first_namespace() {
            true => Self::Shifted,
            false => Self::Same,
        }
    }

    /// The id that root in the step has in the namespace that Kiln runs in.
    pub(super) fn root(self) -> u32 {
        match self {
            Self::Shifted => SHIFTED.outside,
            Self::Same => 0,
        }
    }

    /// Makes this process create files as the step's root, with the rights that it has. Overlay keeps these
    /// credentials of its mounter, and a shifted layer has no place for a file of the host's root.
    pub(super) fn assume_for_files(self) -> Result<(), Failure> {
        let root = self.root();
        // SAFETY: no memory is involved. Both return the former id whether they work or not; if they did
        // not, the capabilities are still ours and the mount fails later.
        unsafe {
            libc::setfsgid(root);
            libc::setfsuid(root);
        }
        // Leaving uid 0 took the capabilities about files out of the effective set.
        let keep = || {
            let sets = capabilities(None)?;
            set_capabilities(
                None,
                CapabilitySets {
                    effective: sets.permitted,
                    ..sets
                },
            )
        };
        keep().during("keep", "the capabilities")
    }

    /// Gives the new user namespace of `pid` its maps.
    pub(super) fn write_maps(self, pid: Pid) -> Result<(), Failure> {
        for kind in ["uid_map", "gid_map"] {
            let map = match self {
                Self::Shifted => vec![SHIFTED],
                Self::Same => own_map(kind)?
                    .into_iter()
                    .map(|extent| Extent {
                        outside: extent.inside,
                        ..extent
                    })
                    .collect(),
            };
            let path = format!("/proc/{}/{kind}", pid.as_raw_nonzero());
            fs::write(&path, render(&map))
                .needs("map the step's users", "this process may not map user ids")?;
        }
        Ok(())
    }
}

/// Whether this process is in the machine's first user namespace, where overlay marks may be
/// `trusted.` attributes and device nodes work.
pub(super) fn is_first_namespace() -> bool {
    own_map("uid_map").is_ok_and(|map| map == [WHOLE])
}

/// How many user ids this process can give to files: those that its user namespace maps.
pub fn mapped_ids() -> u64 {
    let map = own_map("uid_map").unwrap_or_default();
    map.iter().map(|extent| u64::from(extent.count)).sum()
}

fn own_map(kind: &str) -> Result<Vec<Extent>, Failure> {
    let path = format!("/proc/self/{kind}");
    let text = fs::read_to_string(&path).during("read", &path)?;
    Ok(text.lines().filter_map(parse_extent).collect())
}

fn parse_extent(line: &str) -> Option<Extent> {
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Extent {
        inside: next()?,
        outside: next()?,
        count: next()?,
    })
}

fn render(map: &[Extent]) -> String {
    map.iter().fold(
        String::new(),
        |mut text,
         Extent {
             inside,
             outside,
             count,
         }| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{inside} {outside} {count}");
            text
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_survive_the_kernels_padding() {
        let line = "         0       1000          1";
        let extent = Extent {
            inside: 0,
            outside: 1000,
            count: 1,
        };
        assert_eq!(parse_extent(line), Some(extent));
        assert_eq!(render(&[extent]), "0 1000 1\n");
        assert_eq!(parse_extent("0 1000"), None);
    }
}
