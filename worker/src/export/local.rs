//! `type=local`: the root file system in a directory of the user's.
//!
//! What is there already stays unless the image has something of that name. No symbolic link of the
//! image's or of anybody's is followed: every call names one component in a directory that is open.

use std::fs;
use std::path::PathBuf;

use kiln_solver::StepReporter;
use rustix::fs::{Mode, OFlags};

use super::flat::flatten;
use super::local_tree::{Tree, size};
use super::{BuiltImage, ExportError, blocking};
use crate::io_error::AtPath;
use crate::meter::Meter;
use crate::stop::Stop;
use crate::store::Store;

/// How a root file system is written into a directory.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The directory; made if it is not there.
    pub directory: PathBuf,
    /// Whether files belong to whom they belong to in the image, which only root can do; else they
    /// belong to the user.
    pub keep_owners: bool,
}

/// Writes what the image shows into a directory. Dropping the future ends the work; what is written
/// by then stays, unless the directory was made for it.
pub async fn to_directory(
    store: &Store,
    image: BuiltImage,
    options: LocalOptions,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let (store, reporter) = (store.clone(), reporter.clone());
    blocking(move |stop| {
        let path = &options.directory;
        let is_new = !path.exists();
        fs::create_dir_all(path).at("create", path)?;
        let result = write(&store, &image, &options, stop, &reporter);
        if is_new && result.is_err() {
            let _ = fs::remove_dir_all(path);
        }
        result
    })
    .await
}

fn write(
    store: &Store,
    image: &BuiltImage,
    options: &LocalOptions,
    stop: &Stop,
    reporter: &StepReporter,
) -> Result<(), ExportError> {
    let entries = flatten(store, image)?;
    let path = &options.directory;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).at("open", path)?;
    let total = entries.iter().map(|flat| size(&flat.entry)).sum();
    let mut tree = Tree {
        options,
        root,
        open: Vec::new(),
        stop,
        reporter,
        meter: Meter::new(reporter, "copying files", Some(total)),
    };
    for flat in &entries {
        tree.make(flat)
            .map_err(|source| tree.fail(&flat.entry.path, source))?;
    }
    tree.close_all()?;
    tree.meter.finish();
    Ok(())
}
