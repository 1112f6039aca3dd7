//! `kiln build`: shows a build while it runs, and says what came of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kiln_frontend::{Diagnostic, Source};
use kiln_solver::{Progress, Reporter};
use kiln_worker::gc::{self, Policy};
use kiln_worker::store::Store;
use tokio::signal::unix::{SignalKind, signal};

use super::builds::printable;
use super::prune;
use crate::args::{BuildArgs, GlobalArgs};
use crate::build::{self, Backends, BuildError, Built, Warning};
use crate::commands::check;
use crate::exit::{Exit, Interruption};
use crate::explain::Explainer;
use crate::progress;
use crate::record::{End, Head, Limits, Outcome, Recorder, Shelf};
use crate::report::{Report, Room};
use crate::settings::{BuildSettings, Destination, Environment, Method, OutputKind, ProgressMode};
use crate::wire;

/// How long threads that still work on disks may delay the end of an interrupted build.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often a build that takes long looks whether the store has become too large. Few builds take so
/// long at all.
const COLLECT_AGAIN: Duration = Duration::from_secs(10);

/// Builds what was asked for.
pub fn run(args: BuildArgs, global: &GlobalArgs, environment: &Environment) -> Result<Exit> {
    let typed = (args.context.clone(), args.dockerfile.file.clone());
    let settings = match BuildSettings::resolve(args, environment) {
        Ok(settings) => settings,
        Err(error) => return usage_error(&error, environment),
    };
    if settings.call.method != Method::Build {
        return check::answer(&settings, global, environment, &mut io::stdout());
    }
    build::check_destinations(&settings)?;
    let policies = wire::automatic_gc(global, environment)?;
    let store = wire::store(global, environment)?;
    let backends = wire::backends(store, &settings, environment)?;
    let mode = progress::settle(settings.progress, environment);
    let display = progress::start(mode, environment);
    let shelf = Shelf::new(backends.store.directory("builds")?);
    let mut shown = display.progress();
    if settings.explain {
        shown = Arc::new(Explainer::new(shown, backends.store.clone()));
    }
    let recorder = begin_record(&shelf, &backends.store, shown, typed, &settings)
        .with_context(|| format!("cannot write into {}", shelf.directory().display()))?;
    let recorder = Arc::new(recorder);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let Some(policies) = &policies {
        let root = backends.store.root().to_owned();
        runtime.spawn(collect_meanwhile(root, policies.clone()));
    }
    let mut warnings = Warnings::default();
    let outcome = runtime.block_on(interruptible(
        &settings,
        &backends,
        &recorder,
        &mut warnings,
    ));
    runtime.shutdown_timeout(PATIENCE);
    let has_put = backends.store.scratch().has_put();
    backends.store.scratch().discard();
    display.finish();
    if let Ok(Err(BuildError::Dockerfile { dockerfile, .. })) = &outcome {
        recorder.dockerfile(dockerfile);
    }
    recorder.end(end(&outcome));
    let stderr = &mut io::stderr();
    let mut report = Report {
        out: stderr,
        colors: progress::colors(environment),
    };
    if mode != ProgressMode::Quiet {
        for remark in &settings.remarks {
            writeln!(report.out, "WARNING: {remark}")?;
        }
        for shortfall in &backends.shortfalls {
            writeln!(report.out, "WARNING: {shortfall}")?;
        }
    }
    // Whoever reads little should still learn why a build took long.
    for problem in &warnings.of_caches {
        writeln!(report.out, "WARNING: {}", printable(problem))?;
    }
    if mode != ProgressMode::Quiet {
        for (source, found) in &warnings.of_dockerfiles {
            report.warnings(source, found)?;
        }
    }
    let is_interrupted = outcome.is_err();
    let exit = match outcome {
        Err(by) => {
            // Whoever hung up reads no more.
            let _ = writeln!(io::stderr(), "ERROR: canceled");
            Ok(Exit::Interrupted(by))
        }
        Ok(Err(error)) => {
            let room = Room {
                is_too_full_for_logs: recorder.has_lacked_room(),
                ..room(&settings, backends.store.root())
            };
            report.build_error(&error, &recorder.failed_steps(), mode, Some(&room))?;
            Ok(Exit::Failed)
        }
        Ok(Ok(built)) => {
            write_results(&settings, &built)?;
            Ok(Exit::Done)
        }
    };
    if let Some(policies) = policies.filter(|_| has_put && !is_interrupted) {
        collect_garbage(backends.store.root(), &policies, mode, &mut report)?;
    }
    // The build is not worse for it if old records stay.
    let _ = shelf.settle(&recorder.record(), Limits::default(), Timestamp::now());
    exit
}

/// What people should know of.
#[derive(Default)]
struct Warnings {
    of_dockerfiles: Vec<(Source, Vec<Diagnostic>)>,
    of_caches: Vec<String>,
}

/// Where a build writes to.
fn room(settings: &BuildSettings, store: &Path) -> Room {
    let outputs = settings.outputs.iter();
    let outputs = outputs.filter_map(|output| match &output.kind {
        OutputKind::OciDirectory(path) | OutputKind::Local(path) => Some(path),
        OutputKind::OciArchive(Destination::File(path))
        | OutputKind::Tar(Destination::File(path)) => Some(path),
        OutputKind::OciArchive(Destination::Stdout)
        | OutputKind::Tar(Destination::Stdout)
        | OutputKind::Image => None,
    });
    let caches = settings.cache_to.iter().map(|to| &to.directory);
    Room {
        store: store.to_owned(),
        others: outputs.chain(caches).cloned().collect(),
        is_too_full_for_logs: false,
    }
}

/// Builds until a signal asks to end; an error is the signal, if that came first.
async fn interruptible(
    settings: &BuildSettings,
    backends: &Backends,
    recorder: &Arc<Recorder>,
    warnings: &mut Warnings,
) -> Result<Result<Built, BuildError>, Interruption> {
    let reporter = Reporter::new(Arc::clone(recorder) as Arc<dyn Progress>);
    tokio::spawn(Arc::clone(recorder).keep_up());
    let mut warn = |warning: Warning<'_>| match warning {
        Warning::Dockerfile(source, found) => {
            recorder.dockerfile(source);
            if !found.is_empty() {
                let found = (source.clone(), found.to_vec());
                warnings.of_dockerfiles.push(found);
            }
        }
        Warning::Cache(problem) => warnings.of_caches.push(problem),
    };
    let build = build::build(settings, backends, &reporter, &mut warn);
    tokio::select! {
        outcome = build => Ok(outcome),
        by = interruption() => Err(by),
    }
}

/// Waits for a signal that asks to end. A lost terminal does not matter to a build under `nohup`.
async fn interruption() -> Interruption {
    let mut signals = Vec::new();
    for by in Interruption::ALL {
        let number = i32::from(by.signal());
        let is_unwanted = by == Interruption::HangUp && is_ignored(number);
        // Where it cannot be waited for, the signal ends the process as it does by default.
        if !is_unwanted && let Ok(signal) = signal(SignalKind::from_raw(number)) {
            signals.push((by, signal));
        }
    }
    std::future::poll_fn(|context| {
        let mut came = signals
            .iter_mut()
            .filter_map(|(by, signal)| signal.poll_recv(context).is_ready().then_some(*by));
        came.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Whether this process was started so that a signal does nothing to it.
fn is_ignored(number: i32) -> bool {
    // SAFETY: an action of zeros is a valid value to be overwritten; nothing is changed (sigaction(2)).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(number, std::ptr::null(), &raw mut action);
        asked == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Removes what may go from the store, which has more than before. A build is not worse for a store
/// that is too large, but somebody should know.
fn collect_garbage(
    root: &Path,
    policies: &[Policy],
    mode: ProgressMode,
    report: &mut Report<'_>,
) -> Result<()> {
    let now = Timestamp::now().as_second();
    let pruned = Store::open(root)
        .map_err(anyhow::Error::from)
        .and_then(|store| Ok(gc::prune(&store, policies, now, false)?));
    match pruned {
        Ok(pruned) if mode != ProgressMode::Quiet => {
            if let Some(shortfall) = pruned.shortfall {
                writeln!(io::stderr(), "WARNING: {}", prune::shortfall(shortfall))?;
            }
        }
        Ok(_) => {}
        Err(error) => {
            let error = error.context("cannot collect garbage in the store");
            report.error(error.as_ref())?;
        }
    }
    Ok(())
}

/// Removes what may go from the store again and again, for as long as a build runs: what it uses itself
/// is leased. What is wrong is said once it has ended.
async fn collect_meanwhile(root: PathBuf, policies: Vec<Policy>) {
    loop {
        tokio::time::sleep(COLLECT_AGAIN).await;
        let (root, policies) = (root.clone(), policies.clone());
        let collected = tokio::task::spawn_blocking(move || {
            let now = Timestamp::now().as_second();
            // Another store, so that the build's leases are those of others.
            let store = Store::open(&root).map_err(gc::GcError::from)?;
            gc::prune(&store, &policies, now, false).map(drop)
        });
        let _ = collected.await;
    }
}

fn usage_error(error: &crate::settings::UsageError, environment: &Environment) -> Result<Exit> {
    let stderr = &mut io::stderr();
    Report {
        out: stderr,
        colors: progress::colors(environment),
    }
    .usage(error)?;
    Ok(Exit::Usage)
}

/// The files that scripts read, and with `--quiet` the image's id.
fn write_results(settings: &BuildSettings, built: &Built) -> Result<()> {
    if let (Some(path), Some(digests)) = (&settings.iidfile, &built.digests) {
        write_file(path, digests.config.to_string().as_bytes())?;
    }
    if let Some(path) = &settings.metadata_file {
        let mut json = serde_json::to_vec_pretty(&built.metadata)?;
        json.push(b'\n');
        write_file(path, &json)?;
    }
    if let (ProgressMode::Quiet, Some(digests)) = (settings.progress, &built.digests)
        && !settings
            .outputs
            .iter()
            .any(crate::settings::Output::is_stdout)
    {
        println!("{}", digests.config);
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Begins the record of a build whose context and Dockerfile were typed so.
fn begin_record(
    shelf: &Shelf,
    store: &Store,
    progress: Arc<dyn Progress>,
    (context, dockerfile): (String, Option<PathBuf>),
    settings: &BuildSettings,
) -> io::Result<Recorder> {
    let started = Timestamp::now();
    let (id, directory) = shelf.place(started)?;
    // No prune takes it away while the build runs.
    let name = directory.file_name().unwrap_or_default();
    let leased = store.lease("builds", &name.to_string_lossy());
    leased.map_err(io::Error::other)?;
    let arguments = std::env::args_os().skip(1);
    let head = Head {
        arguments: arguments
            .map(|word| word.to_string_lossy().into())
            .collect(),
        directory: std::env::current_dir()
            .map_or_else(|_| String::new(), |path| path.display().to_string()),
        context,
        dockerfile: dockerfile.map(|path| path.display().to_string()),
        target: settings.target.clone(),
        tags: settings.tags.clone(),
        ..Head::new(id, started)
    };
    Recorder::begin(progress, directory, &head.without_passwords())
}

fn end(outcome: &Result<Result<Built, BuildError>, Interruption>) -> End {
    let none = End {
        outcome: Outcome::Canceled,
        error: None,
        image: None,
        size: None,
    };
    match outcome {
        Err(_) => none,
        Ok(Err(error)) => End {
            outcome: Outcome::Failed,
            error: Some(error.to_string()),
            ..none
        },
        Ok(Ok(built)) => End {
            outcome: Outcome::Succeeded,
            image: built.digests.map(|digests| digests.manifest.to_string()),
            size: built.size,
            ..none
        },
    }
}
