//! Control groups of a step: what it may use of memory, processors and processes. Both versions of the kernel's
//! interface are served, also side by side, as hybrid machines have them.
//!
//! [`Groups::plan`] finds out once what this machine can do; the helper makes the groups of each step
//! and removes them when the step is over. What a killed helper left is removed by the next one.

mod hierarchy;
mod settings;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use settings::Resources;

use hierarchy::Hierarchies;
use settings::Setting;

use super::error::{During, Failure};
use super::path_bytes;

/// What the names of steps' groups begin with; the number of the helper's process follows.
const PREFIX: &str = "kiln-step-";

/// The group under which those of steps are made unless another is asked for.
const DEFAULT_PARENT: &str = "kiln";

/// The control groups that each step gets, one for each hierarchy that is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups(Vec<Group>);

/// A step's part of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    #[serde(with = "path_bytes")]
    parent: PathBuf,
    /// Files of the group and what is written to them, in this order.
    settings: Vec<(String, String)>,
}

/// Something asked for that this machine cannot do, as one sentence.
pub type Shortfall = String;

impl Groups {
    /// What of `resources` this process can give to steps, each tried once, and what it cannot.
    /// `parent` is a group's path, counted from the top of each hierarchy.
    pub fn plan(resources: &Resources, parent: Option<&str>) -> (Self, Vec<Shortfall>) {
        let mut shortfalls = Vec::new();
        let mut groups: Vec<Group> = Vec::new();
        let hierarchies = Hierarchies::of_this_machine();
        for setting in resources.settings() {
            match try_setting(&hierarchies, &setting, parent) {
                Err(reason) => {
                    shortfalls.push(format!("{} has no effect: {reason}", setting.option))
                }
                Ok((path, files)) => match groups.iter_mut().find(|group| group.parent == path) {
                    Some(group) => group.settings.extend(files),
                    None => groups.push(Group {
                        parent: path,
                        settings: files,
                    }),
                },
            }
        }
        if groups.is_empty() && parent.is_some() {
            let (made, problems) = parents_only(&hierarchies, parent);
            groups = made;
            shortfalls.extend(problems);
        }
        (Self(groups), shortfalls)
    }

    /// Bytes of memory that a step may have, if that is limited.
    pub fn memory_limit(&self) -> Option<u64> {
        self.value(settings::limits_memory)
    }

    /// Processes that a step may have at a time, if that is limited.
    pub fn process_limit(&self) -> Option<u64> {
        self.value(|file| file == settings::PROCESS_LIMIT)
    }

    fn value(&self, is_it: impl Fn(&str) -> bool) -> Option<u64> {
        let mut settings = self.0.iter().flat_map(|group| &group.settings);
        let (_, value) = settings.find(|(file, _)| is_it(file))?;
        value.parse().ok()
    }

    /// Whether steps stay in Kiln's own.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the groups of one step.
    pub(super) fn make(&self) -> Result<Made, Failure> {
        let mut made = Made::default();
        for group in &self.0 {
            made.add(group)?;
        }
        Ok(made)
    }
}

/// The versions of control groups that this machine has mounted, 1 or 2 or both.
pub fn versions() -> Vec<u8> {
    let hierarchies = Hierarchies::of_this_machine();
    let mut versions: Vec<u8> = hierarchies
        .all()
        .map(|hierarchy| if hierarchy.is_unified { 2 } else { 1 })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// Without limits, steps only are where they were asked to be, in every hierarchy that has a place.
fn parents_only(hierarchies: &Hierarchies, parent: Option<&str>) -> (Vec<Group>, Vec<Shortfall>) {
    let mut groups = Vec::new();
    let mut reason = "no control groups are mounted".to_owned();
    for hierarchy in hierarchies.all() {
        match hierarchy.prepare(parent.unwrap_or(DEFAULT_PARENT), None) {
            Ok(parent) => groups.push(Group {
                parent,
                settings: Vec::new(),
            }),
            Err(error) => reason = error,
        }
    }
    let problem = groups
        .is_empty()
        .then(|| format!("--cgroup-parent has no effect: {reason}"));
    (groups, problem.into_iter().collect())
}

/// Applies a setting to a group that is removed at once, and says where such groups are made.
fn try_setting(
    hierarchies: &Hierarchies,
    setting: &Setting,
    parent: Option<&str>,
) -> Result<(PathBuf, Vec<(String, String)>), String> {
    let hierarchy = hierarchies.with(setting.controller)?;
    let parent = hierarchy.prepare(parent.unwrap_or(DEFAULT_PARENT), Some(setting.controller))?;
    let files = match hierarchy.is_unified {
        true => setting.unified.clone(),
        false => setting.legacy.clone(),
    };
    let group = Group {
        parent: parent.clone(),
        settings: files.clone(),
    };
    let mut made = Made::default();
    made.add(&group).map_err(|failure| failure.to_string())?;
    Ok((parent, files))
}

/// The groups of one step; they are removed when this is dropped, once nobody is in them.
#[derive(Default)]
pub(super) struct Made(Vec<(PathBuf, File)>);

impl Made {
    fn add(&mut self, group: &Group) -> Result<(), Failure> {
        sweep(&group.parent);
        let path = new_path(&group.parent);
        fs::create_dir(&path).during("make the control group", path.display())?;
        let entrance = path.join("cgroup.procs");
        let opened = File::options().write(true).open(&entrance);
        match opened {
            Ok(entrance) => self.0.push((path.clone(), entrance)),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                return Err(error).during("open", entrance.display());
            }
        }
        hierarchy::inherit_processors(&group.parent, &path);
        for (name, value) in &group.settings {
            let file = path.join(name);
            write(&file, value).during(&format!("write {value} to"), file.display())?;
        }
        Ok(())
    }

    /// Puts this process, and what it starts from now on, into the groups.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        for (path, entrance) in &self.0 {
            io::Write::write_all(&mut &*entrance, b"0").during("enter", path.display())?;
        }
        Ok(())
    }

    /// How often the kernel has killed a process in one of the groups because that had no memory left.
    pub(super) fn killed_for_memory(&self) -> u64 {
        self.count(&["memory.events", "memory.oom_control"], "oom_kill")
    }

    /// Whether processes are counted here.
    pub(super) fn count_processes(&self) -> bool {
        let mut paths = self.0.iter();
        paths.any(|(path, _)| path.join("pids.events").exists())
    }

    /// How often a process was not made because there were as many as there may be.
    pub(super) fn processes_refused(&self) -> u64 {
        self.count(&["pids.events"], "max")
    }

    /// The sum of what some files of the groups count as `event`.
    fn count(&self, files: &[&str], event: &str) -> u64 {
        let paths = self.0.iter();
        let paths = paths.flat_map(|(path, _)| files.iter().map(|file| path.join(file)));
        let texts = paths.filter_map(|path| fs::read_to_string(path).ok());
        texts.map(|text| counted(&text, event)).sum()
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            // The kernel can be behind with those who have just ended.
            for _ in 0..100 {
                match fs::remove_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// What a file of lines of names and counts says of one.
fn counted(text: &str, event: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let line = lines.find(|(name, _)| *name == event);
    line.and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
}

/// Control files take one write and are never made by one.
fn write(file: &Path, value: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(file)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

fn new_path(parent: &Path) -> PathBuf {
    let process = std::process::id();
    parent.join(format!("{PREFIX}{process}-{:016x}", crate::store::random()))
}

/// Removes the groups of processes that are gone. Those that still have members stay.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if maker(&entry.file_name()).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The number of the process that made a step's group.
fn maker(name: &OsStr) -> Option<String> {
    let rest = name.to_str()?.strip_prefix(PREFIX)?;
    Some(rest.split_once('-')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_steps_have_a_maker() {
        let name = new_path(Path::new("/x"));
        let own = std::process::id().to_string();
        assert_eq!(name.file_name().and_then(maker), Some(own));
        for other in ["kiln-step-", "kiln-step-7", "user.slice", "7-8"] {
            assert_eq!(maker(OsStr::new(other)), None, "{other}");
        }
    }
}
