//! `kiln inspect`: all that is known about images, in the form of `docker image inspect`.

use std::io::Write;

use anyhow::Result;
use kiln_frontend::image_config::ContainerConfig;
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::InspectArgs;
use crate::stored_image::StoredImage;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    created: Option<String>,
    author: String,
    comment: String,
    config: ContainerConfig,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    size: u64,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    manifest: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: &'static str,
    layers: Vec<String>,
}

/// Prints one array with an object for each image.
pub fn run(args: &InspectArgs, store: &Store, out: &mut dyn Write) -> Result<()> {
    let all = StoredImage::all(store)?;
    let mut found = Vec::new();
    for name in &args.names {
        let image = StoredImage::find(store, name)?;
        found.push(inspect(&image, &all, store));
    }
    serde_json::to_writer_pretty(&mut *out, &found)?;
    writeln!(out)?;
    Ok(())
}

fn inspect(image: &StoredImage, all: &[StoredImage], store: &Store) -> Inspected {
    let same = || all.iter().filter(|other| other.id() == image.id());
    let references = || same().filter_map(StoredImage::reference);
    let mut digests: Vec<String> = references()
        .map(|mut reference| {
            (reference.tag, reference.digest) = (None, Some(image.digest));
            reference.familiar()
        })
        .collect();
    digests.sort();
    digests.dedup();
    let config = image.config.clone();
    Inspected {
        id: image.id().to_string(),
        repo_tags: references()
            .filter(|r| r.tag.is_some())
            .map(|r| r.familiar())
            .collect(),
        repo_digests: digests,
        created: config.created,
        author: config.author,
        comment: config
            .history
            .last()
            .map(|step| step.comment.clone())
            .unwrap_or_default(),
        config: config.config,
        architecture: config.architecture,
        variant: config.variant,
        os: config.os,
        size: image.layer_sizes(store).iter().sum(),
        root_fs: RootFs {
            kind: "layers",
            layers: config.rootfs.diff_ids,
        },
        manifest: image.digest.to_string(),
    }
}
