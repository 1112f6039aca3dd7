//! Where a case is built: a directory with its context, whose times are fixed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::case::Case;
use crate::time::Seconds;

/// What files of the context were changed last, unless the case says otherwise: 2 February 2020.
const MODIFIED: Seconds = Seconds(1_580_601_600);

/// A directory for one build.
pub(crate) struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    /// The case's files. No two grounds have contexts of the same name: BuildKit takes what it has of
    /// the last context of that name and applies changes to it, which shows in the times of directories.
    pub(crate) fn context(&self) -> PathBuf {
        let name = self.path().file_name().expect("a temporary name");
        self.path().join(name)
    }

    /// What is around the context.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Lays out a case. Its scripts run in the context and may put other things beside it.
pub(crate) fn prepare(case: &Case) -> Result<Ground, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ground = Ground { directory };
    let context = ground.context();
    fs::create_dir(&context).expect("a directory");
    for (name, content) in &case.files {
        let path = context.join(name);
        fs::create_dir_all(path.parent().expect("it is in the context")).expect("directories");
        fs::write(path, content).expect("writable");
    }
    for script in &case.scripts {
        let output = Command::new("bash")
            .args(["-euc", &format!("umask 022\n{script}")])
            .current_dir(&context)
            .output()
            .expect("bash runs");
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("the context's script fails:\n{told}"));
        }
    }
    settle(ground.path());
    Ok(ground)
}

/// Gives all that was made just now the same time, from the bottom up.
fn settle(path: &Path) {
    let metadata = fs::symlink_metadata(path).expect("it was just listed");
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            settle(&entry.expect("an entry").path());
        }
    }
    if Seconds::of(&metadata).is_now() {
        let time = Timespec {
            tv_sec: MODIFIED.0,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("its owner may");
    }
}
