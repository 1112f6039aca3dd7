//! Completes an image's config once its layers are known.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kiln_frontend::image_config::{History, ImageConfig};
use kiln_solver::Platform;
use kiln_worker::executor::{FileTimes, with_times};
use kiln_worker::snapshot::Snapshot;
use kiln_worker::store::Store;
use kiln_worker::tree::Timestamp as FileTime;

use crate::settings::{BuildSettings, Output, OutputKind};

/// An image whose config is final.
pub(super) struct FinishedImage {
    /// The config's JSON.
    pub(super) config: Vec<u8>,
    /// What it runs on.
    pub(super) platform: Platform,
}

/// What a build came to, before it is written anywhere.
pub(super) struct Product {
    pub(super) image: FinishedImage,
    pub(super) snapshot: Arc<Snapshot>,
}

/// The result as it was built, and as outputs want it that have other times.
pub(super) struct Products {
    plain: Product,
    rewritten: Vec<(FileTimes, Product)>,
    /// The time that files have in a tar or a directory; `None` is their own.
    pub(super) file_time: Option<FileTime>,
}

impl Products {
    /// Finishes what the settings' outputs want.
    pub(super) fn finish(
        settings: &BuildSettings,
        store: &Store,
        config: ImageConfig,
        snapshot: Arc<Snapshot>,
        epoch: Option<i64>,
    ) -> Result<Self> {
        let file_time = epoch.map(FileTime::of_seconds);
        let mut rewritten: Vec<(FileTimes, Product)> = Vec::new();
        for times in settings.outputs.iter().filter_map(file_times) {
            let is_new = rewritten.iter().all(|(known, _)| *known != times);
            if let Some(time) = file_time.filter(|_| is_new) {
                let snapshot = Arc::new(with_times(store, &snapshot, times, time)?);
                let image = finish(config.clone(), &snapshot, epoch)?;
                rewritten.push((times, Product { image, snapshot }));
            }
        }
        let image = finish(config, &snapshot, epoch)?;
        Ok(Self {
            plain: Product { image, snapshot },
            rewritten,
            file_time,
        })
    }

    /// What goes to an output.
    pub(super) fn for_output(&self, output: &Output) -> &Product {
        let wanted = file_times(output);
        let mut rewritten = self.rewritten.iter();
        let found = rewritten.find(|(times, _)| Some(*times) == wanted);
        found.map_or(&self.plain, |(_, product)| product)
    }
}

/// What an output does with the times of files if the build has a time of its own; `None` leaves them, or
/// leaves it to whoever writes the files.
pub(super) fn file_times(output: &Output) -> Option<FileTimes> {
    match (&output.kind, output.rewrite_timestamps) {
        (OutputKind::Tar(_) | OutputKind::Local(_), _) | (_, Some(false)) => None,
        (_, None) => Some(FileTimes::Exactly),
        (_, Some(true)) => Some(FileTimes::AtMost),
    }
}

/// Fills in the layers and the times. Every layer's entry of the history gets the time at which the
/// layer was made, so that a build from the cache yields the same image again. `epoch` replaces later
/// times.
fn finish(
    mut config: ImageConfig,
    snapshot: &Snapshot,
    epoch: Option<i64>,
) -> Result<FinishedImage> {
    let mut layers = snapshot.layers.iter();
    for entry in config.history.iter_mut().filter(|entry| !entry.empty_layer) {
        let made = layers.next().and_then(|layer| layer.created);
        if let (None, Some(made)) = (&entry.created, made) {
            entry.created = Some(rfc3339(made.seconds, made.nanoseconds, epoch)?);
        }
    }
    let otherwise = match epoch {
        Some(epoch) => Some(rfc3339(epoch, 0, None)?),
        None => config.created.clone(),
    };
    fill_gaps(&mut config.history, otherwise.as_ref());
    config.created = config
        .history
        .iter()
        .rev()
        .find_map(|e| e.created.clone())
        .or(otherwise);
    config.rootfs.diff_ids = snapshot
        .diff_ids()
        .iter()
        .map(ToString::to_string)
        .collect();
    let platform = config.platform();
    let config = serde_json::to_vec(&config).context("cannot write the image's config")?;
    Ok(FinishedImage { config, platform })
}

/// Entries without a layer have no time of their own. The first ones of a build get that of the
/// build's first layer, or else of the last one before; later ones that of the entry before.
fn fill_gaps(history: &mut [History], otherwise: Option<&String>) {
    let Some(first_gap) = history.iter().position(|entry| entry.created.is_none()) else {
        return;
    };
    let (before, rest) = history.split_at(first_gap);
    let after = rest.iter().find_map(|entry| entry.created.as_ref());
    let mut time = after
        .or(before.last().and_then(|e| e.created.as_ref()))
        .or(otherwise)
        .cloned();
    for entry in &mut history[first_gap..] {
        match &entry.created {
            Some(created) => time = Some(created.clone()),
            None => entry.created.clone_from(&time),
        }
    }
}

fn rfc3339(seconds: i64, nanoseconds: u32, epoch: Option<i64>) -> Result<String> {
    let time = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0))?;
    let latest = epoch
        .map(Timestamp::from_second)
        .transpose()?
        .unwrap_or(Timestamp::MAX);
    Ok(time.min(latest).to_string())
}
