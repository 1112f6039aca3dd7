//! Looks again and again at what all processes that begin meanwhile show of themselves in `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::inputs::Canary;
use crate::bench::KILN;

/// A process, as it showed itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) command: String,
    is_of_the_meant_step: bool,
}

impl Process {
    /// Kiln as the test starts it, or a child of it that has not become another program yet.
    pub(super) fn is_as_typed(&self) -> bool {
        self.command.starts_with(&format!("{KILN} build "))
    }

    pub(super) fn is_git(&self) -> bool {
        self.name.starts_with("git")
    }

    /// Whether it is in a process namespace of its own, in the step that has MEANT in its environment.
    pub(super) fn is_of_the_meant_step(&self) -> bool {
        self.is_of_the_meant_step
    }
}

/// A canary, and who showed it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    pub(super) canary: &'static str,
    /// The file of `/proc`.
    pub(super) place: &'static str,
    pub(super) process: Process,
}

pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Sighting>>,
}

impl Watch {
    pub(super) fn start(canaries: &[Canary]) -> Self {
        let canaries: Vec<(&'static str, Vec<String>)> = canaries
            .iter()
            .map(|canary| {
                let forms = canary.forms.iter();
                let forms = forms.filter_map(|form| String::from_utf8(form.clone()).ok());
                (canary.name, forms.collect())
            })
            .collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let before: BTreeSet<u32> = processes().collect();
        let thread = thread::spawn(move || {
            let mut sightings = BTreeSet::new();
            while !ends.load(Ordering::Relaxed) {
                for id in processes().filter(|id| !before.contains(id)) {
                    look_at(id, &canaries, &mut sightings);
                }
            }
            sightings
        });
        Self { is_over, thread }
    }

    pub(super) fn stop(self) -> BTreeSet<Sighting> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it looks on")
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn look_at(id: u32, canaries: &[(&'static str, Vec<String>)], sightings: &mut BTreeSet<Sighting>) {
    let read = |file: &str| {
        let bytes = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let (name, command, environment) = (read("comm"), read("cmdline"), read("environ"));
    if name != read("comm") || command != read("cmdline") {
        // It ended, or became another program: these three are not of one.
        return;
    }
    for (place, text) in [("cmdline", &command), ("environ", &environment)] {
        for (canary, forms) in canaries {
            if !forms.iter().any(|form| text.contains(form.as_str())) {
                continue;
            }
            let namespace = |id: &str| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
            let is_inside = namespace(&id.to_string()) != namespace("self");
            sightings.insert(Sighting {
                canary,
                place,
                process: Process {
                    name: name.trim().to_owned(),
                    command: command.clone(),
                    is_of_the_meant_step: is_inside && environment.contains("MEANT=yes "),
                },
            });
        }
    }
}
