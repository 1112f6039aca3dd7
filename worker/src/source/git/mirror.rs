//! What was fetched of a repository, kept so that later only what is new must come.
//!
//! ```text
//! git/HEX/lock         held by whoever works with the mirror, and by git itself
//! git/HEX/remote       the address; its presence says that the repository is whole
//! git/HEX/repository   a bare repository; refs/kiln/OBJECT says that OBJECT is there whole
//! ```
//!
//! Objects without such a reference may have lost what they need, as when a fetch was killed.

use std::fs::File;
use std::path::{Path, PathBuf};

use kiln_solver::ObjectId;
use rustix::fs::FlockOperation;

use super::super::{SourceError, Sources, address_name};
use super::command::{Git, How};
use crate::io_error::AtPath;

/// A mirror that nobody else works with.
pub(super) struct Mirror<'g> {
    git: &'g Git,
    repository: PathBuf,
    lock: File,
}

impl<'g> Mirror<'g> {
    /// Opens the mirror of a repository that names its objects as `like` is named; waits for others
    /// that work with it.
    pub(super) async fn open(
        sources: &Sources,
        like: &ObjectId,
        git: &'g Git,
    ) -> Result<Self, SourceError> {
        let remote = git.remote();
        let name = match like.is_sha256() {
            true => address_name(&format!("sha256 {remote}")),
            false => address_name(remote),
        };
        let home = sources.store.lease("git", &name)?;
        let lock = sources
            .blocking({
                let home = home.clone();
                move |_| lock(&home)
            })
            .await?;
        let mirror = Self {
            git,
            repository: home.join("repository"),
            lock,
        };
        let note = home.join("remote");
        if !note.exists() {
            mirror.begin(like.is_sha256()).await?;
        }
        remove_stale_locks(&mirror.repository)?;
        // Every use shows in the directory's times, which prune goes by.
        let scratch = sources.store.scratch();
        scratch.put_bytes(remote.as_bytes(), &note)?;
        Ok(mirror)
    }

    async fn begin(&self, is_sha256: bool) -> Result<(), SourceError> {
        let format = if is_sha256 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        let path = self.repository.display().to_string();
        let arguments = ["init", "--quiet", "--bare", "--template=", &format, &path];
        self.git.run("init", &arguments).await?;
        Ok(())
    }

    /// Where it is.
    pub(super) fn repository(&self) -> &Path {
        &self.repository
    }

    /// The repository that it mirrors.
    pub(super) fn git(&self) -> &'g Git {
        self.git
    }

    /// How commands are run that work with it.
    pub(super) fn how(&self) -> How<'_> {
        How {
            place: vec![format!("--git-dir={}", self.repository.display())],
            lock: Some(&self.lock),
            ..How::default()
        }
    }

    async fn run(&self, action: &'static str, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
        self.git.run_with(action, arguments, &self.how()).await
    }

    /// Sees to it that an object is there with all that it needs. `reference` may lead to it where
    /// the server does not hand out objects by name.
    pub(super) async fn fetch(
        &self,
        object: &ObjectId,
        reference: &str,
    ) -> Result<(), SourceError> {
        if self.has(object).await {
            return Ok(());
        }
        let kept = kept(object);
        let remote = self.git.remote();
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        let by_name = format!("+{object}:{kept}");
        let last = [&fetch[..], &["--depth=1", "--", remote, &by_name]].concat();
        let Err(refused) = self.run("fetch", &last).await else {
            return Ok(());
        };
        if reference.starts_with("refs/") {
            let by_reference = format!("+{reference}:refs/fetched/{object}");
            let shallow = [&fetch[..], &["--depth=1", "--", remote, &by_reference]].concat();
            // Without `--depth`, for servers that are but files.
            let whole = [&fetch[..], &["--", remote, &by_reference]].concat();
            if self.run("fetch", &shallow).await.is_ok() || self.run("fetch", &whole).await.is_ok()
            {
                let fetched = format!("refs/fetched/{object}^{{object}}");
                if self.keep_if_same(&fetched, object).await? {
                    return Ok(());
                }
            }
        }
        // The reference has moved on, or the commit was named as such: it is in some history.
        if self.fetch_all().await.is_err() {
            return Err(refused);
        }
        let name = format!("{object}^{{object}}");
        match self.keep_if_same(&name, object).await? {
            true => Ok(()),
            false => Err(self.git.no_reference(object.as_str())),
        }
    }

    /// Fetches all branches and tags with their histories.
    pub(super) async fn fetch_all(&self) -> Result<(), SourceError> {
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"];
        if self.repository.join("shallow").exists() {
            arguments.push("--unshallow");
        }
        arguments.extend(["--", self.git.remote()]);
        arguments.extend([
            "+refs/heads/*:refs/all/heads/*",
            "+refs/tags/*:refs/all/tags/*",
        ]);
        self.run("fetch", &arguments).await?;
        Ok(())
    }

    async fn has(&self, object: &ObjectId) -> bool {
        let kept = kept(object);
        let verify = ["rev-parse", "--quiet", "--verify", &kept];
        self.run("rev-parse", &verify).await.is_ok()
    }

    async fn keep_if_same(&self, name: &str, object: &ObjectId) -> Result<bool, SourceError> {
        let verify = ["rev-parse", "--quiet", "--verify", "--end-of-options", name];
        let found = self.run("rev-parse", &verify).await.unwrap_or_default();
        if found.trim_ascii() != object.as_str().as_bytes() {
            return Ok(false);
        }
        let keep = ["update-ref", &kept(object), object.as_str()];
        self.run("update-ref", &keep).await?;
        Ok(true)
    }

    /// The one commit whose name begins with some digits.
    pub(super) async fn commit_named(&self, digits: &str) -> Result<Option<ObjectId>, SourceError> {
        let name = format!("{digits}^{{commit}}");
        let verify = [
            "rev-parse",
            "--quiet",
            "--verify",
            "--end-of-options",
            &name,
        ];
        let found = self.run("rev-parse", &verify).await.unwrap_or_default();
        let found = String::from_utf8_lossy(&found);
        let Ok(object) = found.trim().parse() else {
            return Ok(None);
        };
        Ok(self.keep_if_same(&name, &object).await?.then_some(object))
    }

    /// When a commit was made, in seconds since 1970.
    pub(super) async fn commit_time(&self, object: &ObjectId) -> Result<i64, SourceError> {
        let name = format!("{object}^{{commit}}");
        let show = [
            "show",
            "--no-patch",
            "--format=%ct",
            "--end-of-options",
            &name,
        ];
        let time = self.run("show", &show).await?;
        let time = String::from_utf8_lossy(&time);
        time.trim().parse().map_err(|_| SourceError::Git {
            action: "show",
            remote: self.git.remote().to_owned(),
            reason: format!("{object} is no commit"),
        })
    }
}

/// The reference that says that an object is there whole.
pub(super) fn kept(object: &ObjectId) -> String {
    format!("refs/kiln/{object}")
}

fn lock(home: &Path) -> Result<File, SourceError> {
    std::fs::create_dir_all(home).at("create", home)?;
    let path = home.join("lock");
    let mut options = File::options();
    let file = options.create(true).truncate(false).read(true).write(true);
    let file = file.open(&path).at("open", &path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
    Ok(file)
}

/// Removes the lock files that a killed git left: nobody else works here.
fn remove_stale_locks(repository: &Path) -> Result<(), SourceError> {
    let mut open = vec![repository.to_owned(), repository.join("refs/kiln")];
    open.push(repository.join("refs/fetched"));
    for directory in open {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().ends_with(b".lock") {
                std::fs::remove_file(entry.path()).at("remove", entry.path())?;
            }
        }
    }
    Ok(())
}
