//! The build's context: a directory, or what another machine or standard input has, which must be
//! brought in before the Dockerfile in it can be read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kiln_frontend::lower::MainContext;
use kiln_frontend::lower::remote::{
    CONTEXT_FILE, HttpRequest, Pinned, RemoteSource, without_credentials,
};
use kiln_solver::op::Source;
use kiln_solver::{RelPath, Reporter};
use kiln_worker::executor::{Output, may_be_archive, read_file};
use kiln_worker::snapshot::Snapshot;

use super::dockerfile::unreadable;
use super::remotes::pin_source;
use super::{Backends, Solving};
use crate::settings::{BuildSettings, ContextSource, DockerfileSource};
use crate::text_file;

/// How much of a file tells whether it is an archive, in bytes.
const PROBE: u64 = 1024;
/// What standard input is called.
const STDIN: &str = "<stdin>";

/// A context whose Dockerfile can be read.
pub(super) struct OpenContext {
    /// What COPY and ADD read.
    pub(super) main: MainContext,
    /// What is in it.
    pub(super) files: ContextFiles,
    /// The Dockerfile, if it comes from somewhere else.
    pub(super) dockerfile: Option<DockerfileText>,
}

/// Where a context's files are.
pub(super) enum ContextFiles {
    Directory(PathBuf),
    /// There are none, since a Dockerfile came alone; a build has an empty directory for them.
    Nothing(Option<PathBuf>),
    Snapshot(Arc<Snapshot>),
}

/// A Dockerfile that is no file of this machine.
pub(super) struct DockerfileText {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// A context as far as it can be opened without a store.
pub(super) enum Begun {
    /// It is on this machine.
    Open(Box<OpenContext>),
    /// It must be brought in. What was read of standard input to tell that is kept.
    Elsewhere(Stdin),
}

/// Standard input, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Stdin {
    begun: Vec<u8>,
}

/// Opens the context that the settings name.
pub(super) async fn open(
    settings: &BuildSettings,
    backends: &Backends,
    reporter: &Reporter,
) -> Result<OpenContext> {
    let asked = settings.clone();
    // Whoever writes to standard input may take their time, and the build can be interrupted.
    let begun = tokio::task::spawn_blocking(move || begin(&asked)).await??;
    let mut context = match begun {
        Begun::Open(context) => *context,
        Begun::Elsewhere(stdin) => bring_in(settings, stdin, backends, reporter).await?,
    };
    if let ContextFiles::Nothing(directory) = &mut context.files {
        *directory = Some(backends.store.scratch().new_directory()?);
    }
    Ok(context)
}

/// Opens a context that needs no store. Standard input is told by its first bytes, as by docker: an
/// archive of the context, or a Dockerfile that needs none.
pub(super) fn begin(settings: &BuildSettings) -> Result<Begun> {
    let mut context = match (local_directory(&settings.context), &settings.context) {
        (Some(path), _) => directory(path)?,
        (None, ContextSource::Remote(_)) => return Ok(Begun::Elsewhere(Stdin::default())),
        (None, ContextSource::Stdin) => {
            let begun = begin_stdin()?;
            if may_be_archive(&begun) {
                return Ok(Begun::Elsewhere(Stdin { begun }));
            }
            if settings.dockerfile != DockerfileSource::InContext {
                bail!("standard input is a Dockerfile, but --file names another one");
            }
            OpenContext::without_files(stdin_dockerfile(begun)?)
        }
        (None, _) => {
            bail!("an image cannot be the build context; give it a name with --build-context")
        }
    };
    match &settings.dockerfile {
        DockerfileSource::Stdin => context.dockerfile = Some(stdin_dockerfile(Vec::new())?),
        DockerfileSource::Remote(_) => return Ok(Begun::Elsewhere(Stdin::default())),
        DockerfileSource::InContext | DockerfileSource::File(_) => {}
    }
    Ok(Begun::Open(Box::new(context)))
}

/// Opens a context that [`begin`] could not.
pub(super) async fn bring_in(
    settings: &BuildSettings,
    stdin: Stdin,
    backends: &Backends,
    reporter: &Reporter,
) -> Result<OpenContext> {
    let opening = Opening {
        settings,
        backends,
        reporter,
    };
    let mut context = match (local_directory(&settings.context), &settings.context) {
        (Some(path), _) => directory(path)?,
        (None, ContextSource::Remote(text)) => opening.remote(text).await?,
        (None, _) => opening.upload(stdin.begun).await?,
    };
    match &settings.dockerfile {
        DockerfileSource::Stdin => context.dockerfile = Some(stdin_dockerfile(Vec::new())?),
        DockerfileSource::Remote(url) => {
            context.dockerfile = Some(opening.remote_dockerfile(url).await?);
        }
        DockerfileSource::InContext | DockerfileSource::File(_) => {}
    }
    if let (ContextFiles::Snapshot(snapshot), None) = (&context.files, &context.dockerfile) {
        context.dockerfile = Some(opening.dockerfile_inside(snapshot)?);
    }
    Ok(context)
}

impl DockerfileText {
    fn new(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let bytes = text_file::check_length(bytes).with_context(unreadable(name))?;
        let name = name.to_owned();
        Ok(Self { name, bytes })
    }
}

impl OpenContext {
    fn without_files(dockerfile: DockerfileText) -> Self {
        Self {
            main: MainContext::Directory,
            files: ContextFiles::Nothing(None),
            dockerfile: Some(dockerfile),
        }
    }
}

/// As much of standard input as tells what it is.
fn begin_stdin() -> Result<Vec<u8>> {
    let mut begun = Vec::new();
    let read = std::io::stdin().lock().take(PROBE).read_to_end(&mut begun);
    read.context("cannot read standard input")?;
    if begun.is_empty() {
        bail!("standard input is empty; it should be an archive or a Dockerfile");
    }
    Ok(begun)
}

/// The Dockerfile on standard input, of which `begun` was read already.
fn stdin_dockerfile(mut begun: Vec<u8>) -> Result<DockerfileText> {
    let rest = text_file::read_from(std::io::stdin().lock());
    begun.extend(rest.context("cannot read standard input")?);
    DockerfileText::new(STDIN, begun)
}

/// The directory that a context is, if it is one. What looks like an address may be a directory's
/// name.
pub(super) fn local_directory(source: &ContextSource) -> Option<PathBuf> {
    match source {
        ContextSource::Directory(path) => Some(path.clone()),
        ContextSource::Remote(text) => Some(PathBuf::from(text)).filter(|path| path.is_dir()),
        _ => None,
    }
}

fn directory(path: PathBuf) -> Result<OpenContext> {
    must_be_directory("the build context", &path)?;
    Ok(OpenContext {
        main: MainContext::Directory,
        files: ContextFiles::Directory(path),
        dockerfile: None,
    })
}

/// Says what a context is that is no directory.
pub(super) fn must_be_directory(what: &str, path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => bail!("{what} {} is not a directory", path.display()),
        Err(error) => Err(error).with_context(|| format!("{what} {}", path.display())),
    }
}

struct Opening<'o> {
    settings: &'o BuildSettings,
    backends: &'o Backends,
    reporter: &'o Reporter,
}

impl Opening<'_> {
    async fn remote(&self, text: &str) -> Result<OpenContext> {
        let wrong = || format!("the build context {}", without_credentials(text));
        let remote = RemoteSource::of_main_context(text, &self.settings.build_args);
        let remote = remote.with_context(wrong)?;
        let pinned = pin_source(&self.backends.sources, &remote, self.reporter)
            .await
            // It says the address itself.
            .context("the build context")?;
        let source = remote.source(&pinned).with_context(wrong)?;
        let main = MainContext::Remote {
            source,
            description: remote.describe(),
            is_archive: false,
            time: pinned.time(),
        };
        match pinned {
            Pinned::Git(_) => self.opened(main).await,
            Pinned::Http(_) => self.file(main, text).await,
        }
    }

    /// One file is an archive of the context, or else the Dockerfile.
    async fn file(&self, main: MainContext, name: &str) -> Result<OpenContext> {
        let mut context = self.opened(main).await?;
        let ContextFiles::Snapshot(snapshot) = &context.files else {
            return Ok(context);
        };
        let probe = self.read(snapshot, PROBE)?;
        if may_be_archive(&probe) {
            if let MainContext::Remote { is_archive, .. } = &mut context.main {
                *is_archive = true;
            }
            return self.opened(context.main).await;
        }
        let bytes = self.read(snapshot, text_file::MAXIMUM_SIZE + 1)?;
        context.dockerfile = Some(DockerfileText::new(name, bytes)?);
        Ok(context)
    }

    /// The Dockerfile in a context that is no directory.
    fn dockerfile_inside(&self, snapshot: &Snapshot) -> Result<DockerfileText> {
        let names = match &self.settings.dockerfile {
            DockerfileSource::File(path) if path.is_absolute() => {
                let bytes = text_file::read(path).with_context(unreadable(path.display()))?;
                return DockerfileText::new(&path.display().to_string(), bytes);
            }
            DockerfileSource::File(path) => vec![path.display().to_string()],
            _ => vec!["Dockerfile".to_owned(), "dockerfile".to_owned()],
        };
        for name in &names {
            let path = RelPath::resolve(&RelPath::root(), name);
            let limit = text_file::MAXIMUM_SIZE + 1;
            if let Some(bytes) = read_file(&self.backends.store, snapshot, &path, limit)? {
                return DockerfileText::new(name, bytes);
            }
        }
        let name = &names[0];
        bail!("the build context has no {name}; name another file with --file");
    }

    async fn remote_dockerfile(&self, url: &str) -> Result<DockerfileText> {
        let remote = RemoteSource::Http(HttpRequest {
            url: url.to_owned(),
            name: CONTEXT_FILE.to_owned(),
            digest: None,
            wants_time: false,
        });
        let wrong = || format!("the Dockerfile {url}");
        let pinned = pin_source(&self.backends.sources, &remote, self.reporter)
            .await
            .with_context(wrong)?;
        let main = MainContext::Remote {
            source: remote.source(&pinned).with_context(wrong)?,
            description: url.to_owned(),
            is_archive: false,
            time: None,
        };
        let snapshot = self.solve(&main).await?;
        let bytes = self.read(&snapshot, text_file::MAXIMUM_SIZE + 1)?;
        DockerfileText::new(url, bytes)
    }

    /// The archive on standard input, of which `begun` was read already.
    async fn upload(&self, begun: Vec<u8>) -> Result<OpenContext> {
        let step = self.reporter.start("[internal] load remote build context");
        let wants_time = self.settings.build_args.get("SOURCE_DATE_EPOCH");
        let wants_time = wants_time.is_some_and(|epoch| epoch == "context");
        let reader = std::io::Cursor::new(begun).chain(std::io::stdin());
        let sources = &self.backends.sources;
        let taken = sources.take_upload(reader, STDIN, CONTEXT_FILE, wants_time);
        let (source, time) = taken
            .await
            .inspect_err(|error| step.failed(error.to_string()))?;
        step.finished();
        let main = MainContext::Remote {
            source: Source::Http(source),
            description: STDIN.to_owned(),
            is_archive: true,
            time,
        };
        self.opened(main).await
    }

    async fn opened(&self, main: MainContext) -> Result<OpenContext> {
        let snapshot = self.solve(&main).await?;
        Ok(OpenContext {
            main,
            files: ContextFiles::Snapshot(snapshot),
            dockerfile: None,
        })
    }

    /// Brings the context in as the build will, which then finds it in the cache.
    async fn solve(&self, main: &MainContext) -> Result<Arc<Snapshot>> {
        let Some((graph, target)) = main.graph() else {
            bail!("a directory needs not be brought in");
        };
        let solving = Solving::of_context(self.backends, self.reporter);
        let solved = solving.solver.solve(&graph, target).await?;
        match solved.output {
            Output::Snapshot(snapshot) => Ok(snapshot),
            Output::Context(_) => bail!("a build context is no snapshot"),
        }
    }

    fn read(&self, snapshot: &Snapshot, limit: u64) -> Result<Vec<u8>> {
        let path = RelPath::resolve(&RelPath::root(), CONTEXT_FILE);
        let bytes = read_file(&self.backends.store, snapshot, &path, limit)?;
        bytes.context("the build context is not there any more")
    }
}
