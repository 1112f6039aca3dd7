//! Git repositories: a reference is pinned to a commit, and a commit becomes a layer.
//!
//! The `git` command does the work, told to trust nothing but its arguments (see [`command`]). What
//! was fetched of a repository stays in a mirror (see [`mirror`]); files are laid out in a scratch
//! directory of their own (see [`checkout`]), read like any context, and never executed.

mod address;
mod checkout;
mod command;
mod mirror;
mod references;
mod ssh;

use std::path::{Path, PathBuf};

use kiln_solver::op::{GitSource, Source};
use kiln_solver::{ObjectId, Op, StepReporter};

use super::{SourceError, Sources, record};
use crate::snapshot::Snapshot;
pub(crate) use address::shown;
use command::Git;

use mirror::Mirror;
use references::Reference;

/// A reference that is to be pinned.
#[derive(Debug, Clone)]
pub struct GitReference {
    /// Where the repository is.
    pub remote: String,
    /// A branch, a tag or a commit; `None` is the default branch.
    pub reference: Option<String>,
    /// What the commit's (or annotated tag's) name must begin with.
    pub checksum: Option<String>,
    /// Whether an annotated tag is wanted itself and not the commit that it names.
    pub keeps_tag: bool,
    /// Whether the checksum is the commit, whatever the reference stands for.
    pub fetch_by_commit: bool,
    /// Whether the commit's time must be known.
    pub wants_time: bool,
}

/// A reference as it stands at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedReference {
    /// The commit, or the annotated tag.
    pub object: ObjectId,
    /// The reference in full, such as `refs/heads/main`, or the commit.
    pub reference: String,
    /// When it was committed, in seconds since 1970, if that was asked for.
    pub time: Option<i64>,
}

impl Sources {
    /// Finds out which commit a reference stands for.
    pub async fn pin_git(
        &self,
        wanted: &GitReference,
        reporter: &StepReporter,
    ) -> Result<PinnedReference, SourceError> {
        let workspace = self.workspace()?;
        let git = Git::new(self, &wanted.remote, &workspace, reporter)?;
        let reference = self.resolve(&git, wanted).await?;
        wanted.check(&reference)?;
        let object = match (&reference.commit, wanted.keeps_tag) {
            (Some(commit), false) => commit.clone(),
            _ => reference.object,
        };
        let time = match wanted.wants_time {
            true => {
                let mirror = Mirror::open(self, &object, &git).await?;
                mirror.fetch(&object, &reference.name).await?;
                Some(mirror.commit_time(&object).await?)
            }
            false => None,
        };
        Ok(PinnedReference {
            object,
            reference: reference.name,
            time,
        })
    }

    async fn resolve(&self, git: &Git, wanted: &GitReference) -> Result<Reference, SourceError> {
        let name = wanted.reference.as_deref().unwrap_or_default();
        let checksum = wanted.checksum.as_deref().unwrap_or_default();
        if let Some(commit) = wanted.whole_commit() {
            let name = match name {
                _ if commit.as_str() == name => name.to_owned(),
                "" => commit.to_string(),
                name if name.starts_with("refs/") => name.to_owned(),
                name => format!("refs/heads/{name}"),
            };
            return Ok(Reference {
                object: commit,
                commit: None,
                name,
            });
        }
        let peeled = format!("{name}^{{}}");
        let mut arguments = vec!["ls-remote", "--symref", "--", git.remote()];
        match name {
            "" => arguments.push("HEAD"),
            name => arguments.extend([name, &peeled]),
        }
        let output = git.run("ls-remote", &arguments).await?;
        let found = references::choose(&output, name);
        match found {
            Some(found) => Ok(found),
            None if name.is_empty() => Err(SourceError::NoDefaultBranch {
                remote: git.remote().to_owned(),
            }),
            None if references::may_be_short_commit(name) => {
                self.short_commit(git, name, checksum).await
            }
            None => Err(git.no_reference(name)),
        }
    }

    /// The commit whose name begins with some digits: all must be fetched to tell.
    async fn short_commit(
        &self,
        git: &Git,
        digits: &str,
        checksum: &str,
    ) -> Result<Reference, SourceError> {
        let object = match checksum.parse() {
            Ok(object) => object,
            Err(_) => references::any_sha1(),
        };
        let mirror = Mirror::open(self, &object, git).await?;
        mirror.fetch_all().await?;
        match mirror.commit_named(digits).await? {
            Some(object) => Ok(Reference {
                name: object.to_string(),
                object,
                commit: None,
            }),
            None => Err(git.no_reference(digits)),
        }
    }

    /// Makes a layer of a commit.
    pub(super) async fn open_git(
        &self,
        source: &GitSource,
        reporter: &StepReporter,
    ) -> Result<Snapshot, SourceError> {
        let workspace = self.workspace()?;
        let git = Git::new(self, &source.remote, &workspace, reporter)?;
        let mirror = Mirror::open(self, &source.object, &git).await?;
        mirror.fetch(&source.object, &source.reference).await?;
        let checked_out = checkout::check_out(&mirror, source, &workspace).await?;
        drop(mirror);
        let op = Op::Source(Source::Git(source.clone()));
        let reporter = reporter.clone();
        self.blocking(move |store| {
            let entries = checked_out.entries(store, &reporter)?;
            let snapshot = record(store, &op, entries.into_iter())?;
            drop(workspace);
            Ok(snapshot)
        })
        .await
    }

    fn workspace(&self) -> Result<Workspace, SourceError> {
        Ok(Workspace(self.store.scratch().new_directory()?))
    }
}

impl GitReference {
    /// The commit, if the reference or the checksum is its whole name and need not be looked up.
    fn whole_commit(&self) -> Option<ObjectId> {
        let reference = self.reference.as_deref().unwrap_or_default();
        let checksum = self.checksum.as_deref().filter(|_| self.fetch_by_commit);
        let by_checksum = || checksum.and_then(|checksum| checksum.parse().ok());
        reference.parse().ok().or_else(by_checksum)
    }

    /// The checksum may be the beginning of the commit's name or of the annotated tag's.
    fn check(&self, found: &Reference) -> Result<(), SourceError> {
        let Some(expected) = &self.checksum else {
            return Ok(());
        };
        let objects = [Some(&found.object), found.commit.as_ref()];
        let mut objects = objects.into_iter().flatten();
        if objects.any(|object| object.as_str().starts_with(expected.as_str())) {
            return Ok(());
        }
        Err(SourceError::Commit {
            remote: shown(&self.remote),
            reference: found.name.clone(),
            expected: expected.clone(),
            found: found.commit.as_ref().unwrap_or(&found.object).to_string(),
        })
    }
}

/// A directory that is removed when it is dropped.
struct Workspace(PathBuf);

impl Workspace {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What remains goes with the process's scratch directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
