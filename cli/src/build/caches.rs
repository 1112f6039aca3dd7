//! Caches of other builds that this one looks into, and where its own is saved.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kiln_solver::{Graph, Key, LogStream, Reporter, StepReporter};
use kiln_worker::cache::StoreCache;
use kiln_worker::cache_mount::{
    CacheMountError, CacheMountExport, CacheMountImport, CacheSelection, Taken, WhenBusy,
    export_cache_mounts, import_cache_mounts,
};
use kiln_worker::cache_transfer::{
    DEFAULT_TAG, StepExport, StepExportMode, StepImport, TransferError, export_steps,
    remove_unnamed_blobs,
};
use kiln_worker::executor::LayerSource;
use kiln_worker::export::LayoutDestination;
use kiln_worker::image::ArtifactError;
use kiln_worker::layer::Compression;
use kiln_worker::snapshot::Snapshot;
use kiln_worker::stop::Stop;

use super::{Backends, Warning};
use crate::settings::{self, Algorithm, CacheFrom, CacheMode, CacheTo, MountIds};

/// Opens the caches to look into, and restores the cache mounts that are wanted of them. A directory that is
/// not there yet is told, and no error.
pub(super) async fn open(
    wanted: &[CacheFrom],
    backends: &Backends,
    reporter: &Reporter,
    warn: &mut (dyn FnMut(Warning<'_>) + Send),
) -> Result<Vec<Arc<StepImport>>> {
    let mut imports = Vec::new();
    for from in wanted {
        let step = reporter.start(format!("importing cache from {}", from.directory.display()));
        if is_not_there_yet(&from.directory) {
            tell(&step, "there is no cache in this directory yet");
            let directory = from.directory.display();
            warn(Warning::Cache(format!(
                "there is no cache in {directory} yet"
            )));
            step.finished();
            continue;
        }
        match tokio::task::block_in_place(|| open_one(from, backends, reporter, &step)) {
            Ok(import) => {
                step.finished();
                imports.extend(import.map(Arc::new));
            }
            Err(error) => end(&step, error, from.ignores_errors, warn)?,
        }
    }
    Ok(imports)
}

/// Whether a cache may be saved there later. What is no directory will have none.
fn is_not_there_yet(directory: &Path) -> bool {
    !directory.exists() || directory.is_dir() && !directory.join("index.json").exists()
}

fn open_one(
    from: &CacheFrom,
    backends: &Backends,
    reporter: &Reporter,
    step: &StepReporter,
) -> Result<Option<StepImport>> {
    let directory = &from.directory;
    let tag = from.tag.as_deref().unwrap_or(DEFAULT_TAG);
    let failed = || format!("cannot use the cache in {}", directory.display());
    let images = Arc::clone(&backends.images);
    let wanted = selection(&from.mounts);
    let import = match StepImport::open(&backends.store, directory, tag, images, reporter) {
        // Who saved cache mounts alone may want them alone.
        Err(TransferError::Artifact(ArtifactError::None { .. })) if wanted.is_some() => None,
        import => Some(
            import
                .with_context(failed)?
                .ignoring_errors(from.ignores_errors),
        ),
    };
    let steps = import.as_ref().map_or(0, StepImport::len);
    tell(step, &format!("it knows {steps} steps"));
    if let Some(selection) = wanted {
        restore(directory, selection, backends, step).with_context(failed)?;
    }
    Ok(import)
}

fn restore(
    directory: &Path,
    selection: CacheSelection,
    backends: &Backends,
    step: &StepReporter,
) -> Result<()> {
    let import = CacheMountImport {
        source: directory.to_owned(),
        selection,
        replace: false,
        when_busy: WhenBusy::Skip,
        must_exist: false,
    };
    let imported = match import_cache_mounts(&backends.store, &import, &Stop::default(), step) {
        Err(CacheMountError::Artifact(ArtifactError::None { .. })) => {
            tell(step, "it has no cache mounts");
            return Ok(());
        }
        imported => imported?,
    };
    for cache in imported {
        let what = match cache.taken {
            Taken::New | Taken::Replaced => "restored",
            Taken::Kept => "kept the store's own",
            Taken::Busy => "kept the store's own, which another build uses:",
        };
        tell(step, &format!("{what} cache mount {}", cache.id));
    }
    Ok(())
}

/// What a build came to, and how.
pub(super) struct Course<'c> {
    pub(super) graph: &'c Graph,
    pub(super) definitions: &'c [Option<Key>],
    pub(super) result: &'c Arc<Snapshot>,
    pub(super) cache: &'c StoreCache,
    pub(super) layer_source: &'c dyn LayerSource,
    pub(super) imports: &'c [Arc<StepImport>],
}

/// Saves the cache of a build everywhere it is wanted.
pub(super) async fn save(
    wanted: &[CacheTo],
    backends: &Backends,
    course: &Course<'_>,
    reporter: &Reporter,
    warn: &mut (dyn FnMut(Warning<'_>) + Send),
) -> Result<()> {
    for to in wanted {
        let step = reporter.start(format!("exporting cache to {}", to.directory.display()));
        match save_one(to, backends, course, &step).await {
            Ok(()) => step.finished(),
            Err(error) => end(&step, error, to.ignores_errors, warn)?,
        }
    }
    // Last, since a directory may be read and written. Whatever is left goes another time.
    for to in wanted {
        tokio::task::block_in_place(|| {
            let _ = remove_unnamed_blobs(&to.directory, course.imports);
        });
    }
    Ok(())
}

async fn save_one(
    to: &CacheTo,
    backends: &Backends,
    course: &Course<'_>,
    step: &StepReporter,
) -> Result<()> {
    let failed = || format!("cannot save the cache in {}", to.directory.display());
    let compression = compression(&to.compression)?;
    let ids = course.graph.ids();
    let export = StepExport {
        definitions: ids
            .filter_map(|id| *course.definitions.get(id.index())?)
            .collect(),
        result: Arc::clone(course.result),
        mode: match to.mode {
            CacheMode::Min => StepExportMode::Min,
            CacheMode::Max => StepExportMode::Max,
        },
        compression,
        directory: to.directory.clone(),
        tag: to.tag.clone().unwrap_or_else(|| DEFAULT_TAG.to_owned()),
    };
    let (store, imports) = (&backends.store, course.imports);
    let exporting = export_steps(
        store,
        course.cache,
        course.layer_source,
        imports,
        export,
        step,
    );
    let exported = exporting.await.with_context(failed)?;
    let (steps, layers) = (exported.steps, exported.layers);
    let size = crate::human::size(exported.size);
    tell(step, &format!("{steps} steps, {layers} layers, {size}"));
    if let Some(selection) = selection(&to.mounts) {
        let export = CacheMountExport {
            selection,
            compression,
            destination: LayoutDestination::Directory(to.directory.clone()),
            must_exist: false,
        };
        save_mounts(backends, export, step)
            .await
            .with_context(failed)?;
    }
    Ok(())
}

async fn save_mounts(
    backends: &Backends,
    export: CacheMountExport,
    step: &StepReporter,
) -> Result<()> {
    let (store, reporter) = (backends.store.clone(), step.clone());
    let exporting = tokio::task::spawn_blocking(move || {
        let exported = export_cache_mounts(&store, export, &Stop::default(), &reporter);
        exported.map_err(anyhow::Error::from)
    });
    for cache in exporting.await.context("the export was ended")?? {
        let size = crate::human::size(cache.compressed);
        tell(step, &format!("cache mount {}: {size}", cache.id));
        if !cache.left_out.is_empty() {
            let count = cache.left_out.len();
            tell(
                step,
                &format!("  without {count} devices, sockets or files that changed"),
            );
        }
    }
    Ok(())
}

/// Ends the step of a cache that could not be used.
fn end(
    step: &StepReporter,
    error: anyhow::Error,
    is_ignored: bool,
    warn: &mut (dyn FnMut(Warning<'_>) + Send),
) -> Result<()> {
    let message = crate::report::chain(error.as_ref());
    if is_ignored {
        tell(step, &message);
        warn(Warning::Cache(message));
        step.finished();
        return Ok(());
    }
    step.failed(message);
    Err(error)
}

fn tell(step: &StepReporter, line: &str) {
    step.log(LogStream::Stderr, format!("{line}\n").as_bytes());
}

fn selection(mounts: &MountIds) -> Option<CacheSelection> {
    match mounts {
        MountIds::None => None,
        MountIds::All => Some(CacheSelection::All),
        MountIds::Ids(ids) => Some(CacheSelection::Ids(ids.clone())),
    }
}

/// Unlike an image's, a cache's layers need no other tool that understands them: zstd is faster.
fn compression(settings: &settings::Compression) -> Result<Compression> {
    Ok(match settings.algorithm {
        Some(Algorithm::Uncompressed) => Compression::Uncompressed,
        Some(Algorithm::Gzip) => Compression::gzip(settings.level)?,
        None | Some(Algorithm::Zstd) => Compression::zstd(settings.level)?,
    })
}
