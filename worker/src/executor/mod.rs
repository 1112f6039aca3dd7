//! Performs the steps of a graph: opens sources, changes files, runs commands.

mod archive;
mod bounds;
mod builder;
mod cache_mounts;
mod copied;
mod copy;
mod error;
mod exec;
mod file;
mod foresight;
mod layers;
mod listing;
mod mode;
mod mounts;
mod names;
mod network_notice;
mod output;
mod owner;
mod pivot;
mod read;
mod reuse;
mod select;
mod times;
mod transplant;
mod unpack;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kiln_solver::key::selection_key;
use kiln_solver::op::{ImageSource, Reading, Reads, Source};
use kiln_solver::pattern::Patterns;
use kiln_solver::{
    ContentDigest, DiffId, Executor, ListedFile, Op, Outcome, Step, StepError, StepReporter,
};

pub use archive::may_be_archive;
pub use bounds::StepBounds;
pub use error::ExecutorError;
pub use foresight::{ExportedLayers, Foresight};
pub use layers::missing as missing_layers;
pub(crate) use layers::{is_present, is_within_reach};
pub use network_notice::NetworkNotice;
pub use output::Output;
pub use read::read_file;
pub use times::{FileTimes, with_times};

use crate::context::Context;
use crate::sandbox::{Groups, Sandbox};
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::source::Sources;
use crate::ssh::Agents;
use crate::store::Store;

/// Brings the layers of base images into the store, when a step must see them.
#[async_trait]
pub trait LayerSource: Send + Sync {
    /// Whether the layer can be had from here.
    fn has(&self, diff_id: &DiffId) -> bool;

    /// Brings the blobs of layers into the store and notes in its index which layer each holds.
    async fn fetch(&self, layers: &[DiffId], reporter: &StepReporter) -> Result<(), StepError>;
}

/// Several sources of layers; each layer comes from the first that has it.
pub struct LayerSources(pub Vec<Arc<dyn LayerSource>>);

#[async_trait]
impl LayerSource for LayerSources {
    fn has(&self, diff_id: &DiffId) -> bool {
        self.0.iter().any(|source| source.has(diff_id))
    }

    async fn fetch(&self, layers: &[DiffId], reporter: &StepReporter) -> Result<(), StepError> {
        let mut wanted = layers.to_vec();
        for source in &self.0 {
            let (from_here, rest) = wanted.into_iter().partition(|layer| source.has(layer));
            let from_here: Vec<DiffId> = from_here;
            if !from_here.is_empty() {
                source.fetch(&from_here, reporter).await?;
            }
            wanted = rest;
        }
        Ok(())
    }
}

/// A client's directory and what is left out of it.
#[derive(Clone)]
pub struct LocalDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// What of it is not part of the context.
    pub excludes: Patterns,
    /// What people call it, if not by its path.
    pub name: Option<String>,
}

/// Performs steps on a store.
pub struct Worker {
    /// Where results go.
    pub store: Store,
    /// The client's directories, by name.
    pub directories: HashMap<String, LocalDirectory>,
    /// Where files and repositories of other machines come from.
    pub sources: Arc<Sources>,
    /// Where base images' layers come from.
    pub layer_source: Arc<dyn LayerSource>,
    /// Secrets that steps may ask for.
    pub secrets: Secrets,
    /// Agents that steps may ask for.
    pub agents: Agents,
    /// What all processes of a step may use together. It changes no key: a step must come to the same with
    /// more or less.
    pub groups: Groups,
    /// What each step may write.
    pub bounds: StepBounds,
    /// Runs commands.
    pub sandbox: Sandbox,
    /// What steps have said about the network.
    pub network_notice: NetworkNotice,
    /// What is known of what will follow.
    pub foresight: Foresight,
}

impl Worker {
    /// Runs work that blocks on disks away from the threads that wait for the network.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ExecutorError> + Send + 'static,
    ) -> Result<T, ExecutorError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ExecutorError::Canceled),
        }
    }

    async fn open_source(
        &self,
        source: &Source,
        reporter: &StepReporter,
    ) -> Result<Output, ExecutorError> {
        match source {
            Source::Image(ImageSource { diff_ids, .. }) => {
                Ok(Output::Snapshot(Arc::new(Snapshot::of_image(diff_ids))))
            }
            Source::Git(_) | Source::Http(_) => {
                let snapshot = self.sources.open(source, reporter).await?;
                Ok(Output::Snapshot(Arc::new(snapshot.unwrap_or_default())))
            }
            Source::Local(local) => {
                let known = self.directories.get(&local.name).cloned();
                let LocalDirectory {
                    path,
                    excludes,
                    name,
                } = known.ok_or_else(|| ExecutorError::NoContext(local.name.clone()))?;
                let reporter = reporter.clone();
                let open = move |store: &Store| {
                    let context = Context::open(store, &path, excludes, reporter)?;
                    Ok(match name {
                        Some(name) => context.called(name),
                        None => context,
                    })
                };
                Ok(Output::Context(Arc::new(self.blocking(open).await?)))
            }
        }
    }

    async fn perform(
        &self,
        step: &Step<Output>,
        inputs: Vec<Output>,
    ) -> Result<Outcome<Output>, ExecutorError> {
        match &*step.op {
            Op::Source(source) => self
                .open_source(source, &step.reporter)
                .await
                .map(Outcome::Done),
            Op::File(operation) => {
                let snapshot = self.change_files(operation, &inputs, step).await?;
                Ok(Outcome::Done(Output::Snapshot(Arc::new(snapshot))))
            }
            Op::Exec(exec) => self.execute(exec, &inputs, step).await,
            Op::Merge => {
                let mut merged = Snapshot::default();
                for input in &inputs {
                    merged
                        .layers
                        .extend_from_slice(&layers::snapshot(input)?.layers);
                }
                Ok(Outcome::Done(Output::Snapshot(Arc::new(merged))))
            }
        }
    }

    async fn content_of(
        &self,
        output: &Output,
        reads: &Reads,
    ) -> Result<ContentDigest, ExecutorError> {
        match output {
            Output::Context(context) => {
                let (context, reads) = (Arc::clone(context), reads.clone());
                self.blocking(move |_| {
                    let view = output::view_of_context(&context, &reads)?;
                    output::content_of(&view, &reads).map_err(|error| missing_from(&context, error))
                })
                .await
            }
            Output::Snapshot(snapshot) => match reads {
                Reads::Everything => Ok(snapshot.content()),
                _ => self.selected_content(snapshot, reads).await,
            },
        }
    }

    /// Of a snapshot whose layers nobody has looked into, nothing is listed.
    async fn list(
        &self,
        output: &Output,
        reading: &Reading,
    ) -> Result<Vec<ListedFile>, ExecutorError> {
        let (output, reading) = (output.clone(), reading.clone());
        self.blocking(move |store| {
            let view = match &output {
                Output::Context(context) => output::view_of_context(context, &reading.reads)?,
                Output::Snapshot(snapshot) => {
                    let mut layers = snapshot.layers.iter();
                    if !layers.all(|layer| store.layers().contains(&layer.diff_id)) {
                        return Ok(Vec::new());
                    }
                    layers::view(store, snapshot)?
                }
            };
            listing::listing(&view, &reading)
        })
        .await
    }

    /// What is selected of a snapshot has always the same content: it is computed once.
    async fn selected_content(
        &self,
        snapshot: &Arc<Snapshot>,
        reads: &Reads,
    ) -> Result<ContentDigest, ExecutorError> {
        let key = selection_key(snapshot.content(), reads);
        if let Some(content) = self.store.index().selection(&key)? {
            return Ok(content);
        }
        self.fetch_layers(snapshot, None).await?;
        let (snapshot, reads) = (Arc::clone(snapshot), reads.clone());
        self.blocking(move |store| {
            let view = layers::view(store, &snapshot)?;
            let content = output::content_of(&view, &reads)?;
            store.index().put_selection(&key, &content)?;
            Ok(content)
        })
        .await
    }
}

#[async_trait]
impl Executor for Worker {
    type Output = Output;

    async fn run(
        &self,
        step: Step<Output>,
        inputs: Vec<Output>,
    ) -> Result<Outcome<Output>, StepError> {
        Ok(self.perform(&step, inputs).await?)
    }

    async fn content(&self, output: &Output, reads: &Reads) -> Result<ContentDigest, StepError> {
        Ok(self.content_of(output, reads).await?)
    }

    async fn listing(
        &self,
        output: &Output,
        reading: &Reading,
    ) -> Result<Vec<ListedFile>, StepError> {
        Ok(self.list(output, reading).await?)
    }
}

/// Says of what is not found in a context where it was looked for, and whether it was left out.
fn missing_from(context: &Context, error: ExecutorError) -> ExecutorError {
    match error {
        ExecutorError::NotFound(path) => ExecutorError::NotInContext {
            context: context.name(),
            is_ignored: context.excludes(&path),
            path,
        },
        error => error,
    }
}
