//! From a commit to files: laid out in a scratch directory, with submodules, and read as data.

use std::path::{Path, PathBuf};

use kiln_solver::op::{CheckoutTimes, GitSource};
use kiln_solver::pattern::Patterns;
use kiln_solver::{RelPath, StepReporter};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::super::SourceError;
use super::Workspace;
use super::command::{Git, How};
use super::mirror::{Mirror, kept};
use crate::context::Context;
use crate::io_error::AtPath;
use crate::layer::PackEntry;
use crate::rooted::{described, open_beneath};
use crate::store::Store;
use crate::tree::{Entry, EntryKind, Timestamp};

/// Git's own directory, in a repository and in each of its submodules.
const GIT_DIRECTORY: &[u8] = b".git";

/// Files that were laid out.
pub(super) struct CheckedOut {
    directory: PathBuf,
    keeps_git_directory: bool,
    /// The time that all files get, if not their own.
    time: Option<Timestamp>,
}

/// Lays out a commit that the mirror has.
pub(super) async fn check_out(
    mirror: &Mirror<'_>,
    source: &GitSource,
    workspace: &Workspace,
) -> Result<CheckedOut, SourceError> {
    let files = workspace.path().join("files");
    let git_directory = match source.git_directory {
        Some(_) => files.join(".git"),
        None => workspace.path().join("git"),
    };
    std::fs::create_dir(&files).at("create", &files)?;
    let checkout = Checkout {
        git: mirror.git(),
        mirror,
        source,
        how: How {
            place: vec![
                format!("--git-dir={}", git_directory.display()),
                format!("--work-tree={}", files.display()),
                // Submodules are found relative to the working directory.
                "-C".to_owned(),
                files.display().to_string(),
            ],
            ..mirror.how()
        },
    };
    checkout.begin(&git_directory).await?;
    let commit = format!("{}^{{commit}}", source.object);
    checkout
        .run("read-tree", &["read-tree", "--reset", "-u", &commit])
        .await?;
    if source.submodules {
        checkout.submodules(&files).await?;
    }
    if source.git_directory.is_some() {
        checkout.finish(&git_directory, &commit).await?;
    }
    let time = match source.times {
        CheckoutTimes::Checkout => None,
        CheckoutTimes::Commit => Some(Timestamp {
            seconds: mirror.commit_time(&source.object).await?,
            nanoseconds: 0,
        }),
    };
    Ok(CheckedOut {
        directory: checkout.subdirectory(&files)?,
        keeps_git_directory: source.git_directory.is_some(),
        time,
    })
}

struct Checkout<'c> {
    git: &'c Git,
    mirror: &'c Mirror<'c>,
    source: &'c GitSource,
    how: How<'c>,
}

impl Checkout<'_> {
    async fn run(&self, action: &'static str, arguments: &[&str]) -> Result<(), SourceError> {
        self.git.run_with(action, arguments, &self.how).await?;
        Ok(())
    }

    /// Makes a repository that has the mirror's objects: its own if it is kept, else by reference.
    async fn begin(&self, git_directory: &Path) -> Result<(), SourceError> {
        let format = match self.source.object.is_sha256() {
            true => "--object-format=sha256",
            false => "--object-format=sha1",
        };
        self.run("init", &["init", "--quiet", "--template=", format])
            .await?;
        // Submodules with relative addresses are found from here.
        let origin = ["remote", "add", "origin", self.git.remote()];
        self.run("remote", &origin).await?;
        let mirror = self.mirror.repository();
        if self.source.git_directory.is_none() {
            let alternates = git_directory.join("objects/info/alternates");
            let objects = mirror.join("objects").display().to_string() + "\n";
            let parent = git_directory.join("objects/info");
            std::fs::create_dir_all(&parent).at("create", &parent)?;
            std::fs::write(&alternates, objects).at("write", &alternates)?;
            return Ok(());
        }
        let kept = kept(&self.source.object);
        let name = self.reference().unwrap_or_else(|| kept.clone());
        let refspec = format!("+{kept}:{name}");
        let mirror = format!("file://{}", mirror.display());
        let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        fetch.extend(["--update-head-ok", "--depth=1", "--", &mirror, &refspec]);
        let how = How {
            place: self.how.place.clone(),
            is_local: true,
            ..self.mirror.how()
        };
        self.git.run_with("fetch", &fetch, &how).await?;
        let commit = format!("{}^{{commit}}", self.source.object);
        self.run("checkout", &["update-ref", "--no-deref", "HEAD", &commit])
            .await
    }

    /// What a kept repository calls the commit, if it was asked for by a name.
    fn reference(&self) -> Option<String> {
        let kept = self.source.git_directory.as_ref()?;
        let is_reference = kept.reference.starts_with("refs/");
        is_reference.then(|| kept.reference.clone())
    }

    async fn submodules(&self, files: &Path) -> Result<(), SourceError> {
        if !files.join(".gitmodules").exists() {
            return Ok(());
        }
        let update = [
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth=1",
        ];
        self.run("submodule update", &update).await
    }

    /// Leaves in a kept repository what every checkout of the commit has.
    async fn finish(&self, git_directory: &Path, commit: &str) -> Result<(), SourceError> {
        if self.reference().is_none() {
            let name = kept(&self.source.object);
            self.run("update-ref", &["update-ref", "-d", &name]).await?;
        }
        // An index that was used tells inodes and times of files that will not be there.
        let index = git_directory.join("index");
        std::fs::remove_file(&index).at("remove", &index)?;
        self.run("read-tree", &["read-tree", commit]).await
    }

    /// The directory that is wanted; no link leads there.
    fn subdirectory(&self, files: &Path) -> Result<PathBuf, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(files, flags, Mode::empty()).at("open", files)?;
        let mut path = RelPath::root();
        for name in self.source.subdirectory.components() {
            path = path.join_name(name);
            match open_beneath(&root, &path, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(_) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(SourceError::NotADirectory {
                        remote: self.git.remote().to_owned(),
                        path,
                    });
                }
                Err(_) => {
                    return Err(SourceError::NoDirectory {
                        remote: self.git.remote().to_owned(),
                        path: self.source.subdirectory.clone(),
                        commit: self.source.object.to_string(),
                    });
                }
            }
        }
        Ok(described(files, &path))
    }
}

impl CheckedOut {
    /// What becomes part of the layer.
    pub(super) fn entries(
        &self,
        store: &Store,
        reporter: &StepReporter,
    ) -> Result<Vec<PackEntry>, SourceError> {
        let everything = Patterns::default();
        let context = Context::open(store, &self.directory, everything, reporter.clone())?;
        let view = context.view(&[RelPath::root()])?;
        let found = view.subtree(&RelPath::root()).into_iter();
        let wanted =
            found.filter(|found| self.keeps_git_directory || !is_git_directory(found.entry));
        Ok(wanted
            .map(|found| PackEntry {
                bytes: context.bytes(found.entry),
                digest_is_known: true,
                entry: self.settled(found.entry),
            })
            .collect())
    }

    /// An entry as it is whatever mask this process has for modes: of a mode, git knows only whether
    /// a file is executable, and writes its own objects so that nobody can change them.
    fn settled(&self, entry: &Entry) -> Entry {
        let mode = match &entry.kind {
            EntryKind::File { .. } | EntryKind::HardLink { .. } => match entry.mode {
                mode if mode & 0o200 == 0 => 0o444,
                mode if mode & 0o100 != 0 => 0o755,
                _ => 0o644,
            },
            EntryKind::Symlink { .. } => entry.mode,
            _ => 0o755,
        };
        Entry {
            mode,
            mtime: self.time.unwrap_or(entry.mtime),
            ..entry.clone()
        }
    }
}

/// Whether something belongs to git and not to the files. No commit has such a name: it is where a
/// submodule's repository is, which is gone after the checkout.
fn is_git_directory(entry: &Entry) -> bool {
    entry.path.components().any(|name| name == GIT_DIRECTORY)
}
