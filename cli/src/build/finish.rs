//! Completes an image's config once its layers are known.

use anyhow::{Context, Result};
use jiff::Timestamp;
use kiln_frontend::image_config::ImageConfig;
use kiln_solver::Platform;
use kiln_worker::snapshot::Snapshot;

/// An image whose config is final.
pub(super) struct FinishedImage {
    /// The config's JSON.
    pub(super) config: Vec<u8>,
    /// What it runs on.
    pub(super) platform: Platform,
}

/// Fills in the layers and the times. Every layer's entry of the history gets the time at which the
/// layer was made, so that a build from the cache yields the same image again; an entry without a
/// layer gets that of the entry before it. `epoch` replaces later times.
pub(super) fn finish(
    mut config: ImageConfig,
    snapshot: &Snapshot,
    epoch: Option<i64>,
) -> Result<FinishedImage> {
    let mut layers = snapshot.layers.iter();
    let mut last = config.created.clone();
    for entry in &mut config.history {
        let layer = if entry.empty_layer {
            None
        } else {
            layers.next()
        };
        if entry.created.is_none() {
            let made = layer.and_then(|layer| layer.created);
            entry.created = match made {
                Some(made) => Some(rfc3339(made.seconds, made.nanoseconds, epoch)?),
                None => last.clone(),
            };
        }
        last = entry.created.clone().or(last);
    }
    config.created = last.or(epoch.map(|epoch| rfc3339(epoch, 0, None)).transpose()?);
    config.rootfs.diff_ids = snapshot
        .diff_ids()
        .iter()
        .map(ToString::to_string)
        .collect();
    let platform = config.platform();
    let config = serde_json::to_vec(&config).context("cannot write the image's config")?;
    Ok(FinishedImage { config, platform })
}

fn rfc3339(seconds: i64, nanoseconds: u32, epoch: Option<i64>) -> Result<String> {
    let time = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0))?;
    let latest = epoch
        .map(Timestamp::from_second)
        .transpose()?
        .unwrap_or(Timestamp::MAX);
    Ok(time.min(latest).to_string())
}
