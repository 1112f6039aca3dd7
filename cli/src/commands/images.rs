//! `kiln images`: what is in the store, in the form of `docker images`.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use kiln_worker::store::Store;
use serde::Serialize;

use crate::args::ImagesArgs;
use crate::human;
use crate::settings::{NamePattern, UsageError};
use crate::stored_image::StoredImage;
use crate::table::{self, Listed};

/// What Docker prints where there is nothing.
const NONE: &str = "<none>";

/// One line of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    digest: String,
    created_at: String,
    created_since: String,
    size: String,
}

/// The same with a column for the digest.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RowWithDigest(Row);

/// Prints the list.
pub fn run(args: &ImagesArgs, store: &Store, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let patterns = patterns(args)?;
    let is_wanted = |image: &StoredImage| patterns.iter().all(|pattern| matches(pattern, image));
    let images: Vec<_> = StoredImage::all(store)?
        .into_iter()
        .filter(is_wanted)
        .collect();
    if args.quiet {
        for image in images {
            writeln!(out, "{}", human::id(&image.id().to_string(), args.no_trunc))?;
        }
        return Ok(());
    }
    let rows = images
        .iter()
        .map(|image| row(image, store, args.no_trunc, now));
    if args.digests {
        table::print(
            out,
            &rows.map(RowWithDigest).collect::<Vec<_>>(),
            args.format,
        )?;
    } else {
        table::print(out, &rows.collect::<Vec<_>>(), args.format)?;
    }
    Ok(())
}

fn row(image: &StoredImage, store: &Store, in_full: bool, now: Timestamp) -> Row {
    let reference = image.reference();
    let repository = reference.as_ref().map(|reference| {
        let (tag, digest) = (None, None);
        kiln_worker::image::Reference {
            tag,
            digest,
            ..reference.clone()
        }
        .familiar()
    });
    let created = image.created();
    Row {
        repository: repository.unwrap_or_else(|| image.name.clone()),
        tag: reference
            .and_then(|reference| reference.tag)
            .unwrap_or_else(|| NONE.to_owned()),
        id: human::id(&image.id().to_string(), in_full),
        digest: image.digest.to_string(),
        created_at: created.map_or_else(|| "N/A".to_owned(), human::time),
        created_since: created.map_or_else(|| "N/A".to_owned(), |then| human::age(then, now)),
        size: human::size(image.layer_sizes(store).iter().sum()),
    }
}

fn patterns(args: &ImagesArgs) -> Result<Vec<NamePattern>, UsageError> {
    let named = args.name.iter();
    let named = named.map(|name| NamePattern::parse("REPOSITORY", name, name));
    let mut patterns = named.collect::<Result<Vec<_>, _>>()?;
    for filter in &args.filters {
        match filter.split_once('=') {
            Some(("reference", pattern)) => {
                patterns.push(NamePattern::parse("--filter", filter, pattern)?);
            }
            _ => {
                return Err(
                    UsageError::new("--filter", filter, "there is no such filter")
                        .hint("write it as in --filter reference='debian:*'"),
                );
            }
        }
    }
    Ok(patterns)
}

/// Whether a pattern matches the image's familiar name, with its tag or without (distribution,
/// `reference.FamiliarMatch`).
fn matches(pattern: &NamePattern, image: &StoredImage) -> bool {
    let Some(reference) = image.reference() else {
        return false;
    };
    let bare = kiln_worker::image::Reference {
        tag: None,
        digest: None,
        ..reference.clone()
    };
    pattern.matches(&reference.familiar()) || pattern.matches(&bare.familiar())
}

impl Listed for Row {
    fn headers() -> Vec<&'static str> {
        vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    }

    fn cells(&self) -> Vec<String> {
        let Row {
            repository,
            tag,
            id,
            created_since,
            size,
            ..
        } = self;
        [repository, tag, id, created_since, size]
            .map(String::clone)
            .into()
    }
}

impl Listed for RowWithDigest {
    fn headers() -> Vec<&'static str> {
        vec!["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = self.0.cells();
        cells.insert(2, self.0.digest.clone());
        cells
    }
}
