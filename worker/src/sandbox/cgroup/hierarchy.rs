//! The hierarchies of control groups that this machine has mounted, and what may be made in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::write;

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    root: PathBuf,
    /// Whether it is the second version's one hierarchy.
    pub(super) is_unified: bool,
    controllers: Vec<String>,
}

/// All of them.
pub(super) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Those that this process sees.
    pub(super) fn of_this_machine() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut found: Vec<Hierarchy> = mounts.lines().filter_map(parse).collect();
        for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.is_unified) {
            let file = hierarchy.root.join("cgroup.controllers");
            let names = fs::read_to_string(file).unwrap_or_default();
            hierarchy.controllers = names.split_whitespace().map(str::to_owned).collect();
        }
        Self(found)
    }

    /// Those that groups can be made in for no particular reason.
    pub(super) fn all(&self) -> impl Iterator<Item = &Hierarchy> {
        self.0.iter()
    }

    /// The one that has a controller.
    pub(super) fn with(&self, controller: &str) -> Result<&Hierarchy, String> {
        let has =
            |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|name| name == controller);
        self.0
            .iter()
            .find(has)
            .ok_or_else(|| match self.0.is_empty() {
                true => "no control groups are mounted here".to_owned(),
                false => format!("this machine has no control groups for {controller}"),
            })
    }
}

impl Hierarchy {
    /// Makes `parent` if need be, and lets groups in it have a controller. An ordinary user's lies in his
    /// own group, which must have been delegated to him.
    pub(super) fn prepare(
        &self,
        parent: &str,
        controller: Option<&str>,
    ) -> Result<PathBuf, String> {
        let mut path = match super::super::identity::is_first_namespace() {
            true => self.root.clone(),
            false => self.own()?,
        };
        let names = parent
            .split('/')
            .filter(|name| !matches!(*name, "" | "." | ".."));
        for name in names {
            self.delegate(&path, controller)?;
            let child = path.join(name);
            let is_new = match fs::create_dir(&child) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => return Err(refused("make", &child, &error)),
            };
            if is_new {
                inherit_processors(&path, &child);
            }
            path = child;
        }
        self.delegate(&path, controller)?;
        Ok(path)
    }

    /// In the second version a group's children have those controllers that it says.
    fn delegate(&self, group: &Path, controller: Option<&str>) -> Result<(), String> {
        let (true, Some(controller)) = (self.is_unified, controller) else {
            return Ok(());
        };
        let file = group.join("cgroup.subtree_control");
        let active = fs::read_to_string(&file).unwrap_or_default();
        if active.split_whitespace().any(|name| name == controller) {
            return Ok(());
        }
        let enable = || write(&file, &format!("+{controller}"));
        let enabled = match enable() {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && has_us(group) => {
                step_aside(group).and_then(|()| enable())
            }
            result => result,
        };
        enabled.map_err(|error| refused("write to", &file, &error))
    }

    /// This process's own group.
    fn own(&self) -> Result<PathBuf, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            let is_it = match self.is_unified {
                true => names.is_empty(),
                false => names
                    .split(',')
                    .any(|name| self.controllers.iter().any(|c| c == name)),
            };
            is_it.then(|| path.trim_start_matches('/').to_owned())
        });
        own.map(|path| self.root.join(path))
            .ok_or_else(|| "this process is in no control group".to_owned())
    }
}

/// A group whose children have controllers has no processes of its own: this one goes to a child, as whoever
/// delegates a group to a program expects it to.
fn step_aside(group: &Path) -> io::Result<()> {
    let child = group.join("kiln-main");
    match fs::create_dir(&child) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => write(&child.join("cgroup.procs"), "0"),
    }
}

fn has_us(group: &Path) -> bool {
    let own = std::process::id().to_string();
    let members = fs::read_to_string(group.join("cgroup.procs"));
    members.is_ok_and(|members| members.lines().any(|member| member == own))
}

fn refused(action: &str, path: &Path, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the container that Kiln runs in must have /sys/fs/cgroup mounted writable"
        }
        io::ErrorKind::PermissionDenied => {
            "; an ordinary user needs control groups of his own, as from systemd-run --user --scope -p Delegate=yes"
        }
        _ => "",
    };
    format!("cannot {action} {}: {error}{why}", path.display())
}

/// In the first version a new group has no processors and no memory nodes, and takes nobody in until it
/// is given some.
pub(super) fn inherit_processors(parent: &Path, child: &Path) {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let is_legacy = child.join("cpuset.cpu_exclusive").exists();
        if let (true, Ok(value)) = (is_legacy, fs::read_to_string(parent.join(name))) {
            // What is missing shows when the group is used.
            let _ = write(&child.join(name), value.trim());
        }
    }
}

/// A line of `/proc/self/mountinfo`, if it is a hierarchy (proc_pid_mountinfo(5)). The controllers of the
/// second version's are found elsewhere.
fn parse(line: &str) -> Option<Hierarchy> {
    let (mount, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let is_unified = match system.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = system.nth(1)?;
    let controllers = match is_unified {
        true => Vec::new(),
        false => options.split(',').map(str::to_owned).collect(),
    };
    Some(Hierarchy {
        root: PathBuf::from(mount.split(' ').nth(4)?),
        is_unified,
        controllers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_among_other_mounts() {
        let legacy =
            "31 24 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory";
        let unified = "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate";
        let other = "25 1 8:1 / / rw - ext4 /dev/sda1 rw";
        let expected = |root: &str, is_unified, controllers: &[&str]| Hierarchy {
            root: root.into(),
            is_unified,
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(
            parse(legacy),
            Some(expected("/sys/fs/cgroup/memory", false, &["rw", "memory"]))
        );
        assert_eq!(
            parse(unified),
            Some(expected("/sys/fs/cgroup/unified", true, &[]))
        );
        assert_eq!(parse(other), None);
    }
}
