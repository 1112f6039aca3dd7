//! A client's directory as a file tree: scanned with its ignore rules, each file hashed once.
//!
//! Only what a build asks for is looked at. What is known of a file (see [`stat_index`]) is kept from
//! build to build, so that an unchanged file is not read again.

mod directory;
mod narrow;
mod scan;
mod stat_index;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_solver::pattern::Patterns;
use kiln_solver::{RelPath, StepReporter};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::io_error::{AtPath, IoError};
use crate::layer::FileBytes;
use crate::rooted::open_beneath;
use crate::store::Store;
use crate::tree::{Entry, EntryKind, LayerTree, View};
use narrow::Wide;
use scan::Scanner;
use stat_index::StatIndex;

/// An open context.
pub struct Context {
    store: Store,
    root: Arc<PathBuf>,
    name: Option<String>,
    directory: Arc<OwnedFd>,
    excludes: Patterns,
    reporter: StepReporter,
    index_path: PathBuf,
    /// What earlier builds knew; let go once everything was scanned.
    known: Mutex<Arc<StatIndex>>,
    /// What was scanned so far, by the path that was asked for.
    scanned: Mutex<HashMap<RelPath, Wide>>,
    learned: Mutex<StatIndex>,
}

impl Context {
    /// Opens a directory, and what the store remembers of it.
    pub fn open(
        store: &Store,
        root: &Path,
        excludes: Patterns,
        reporter: StepReporter,
    ) -> Result<Self, IoError> {
        let root = root.canonicalize().at("open build context", root)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&root, flags, Mode::empty()).at("open build context", &root)?;
        let index_path = store
            .directory("contexts")?
            .join(stat_index::file_name(&root));
        Ok(Self {
            store: store.clone(),
            root: Arc::new(root),
            name: None,
            directory: Arc::new(directory),
            excludes,
            reporter,
            known: Mutex::new(Arc::new(StatIndex::load(&index_path))),
            index_path,
            scanned: Mutex::default(),
            learned: Mutex::default(),
        })
    }

    /// What is at some paths and below them, as a tree with their parents; symbolic links on the way
    /// to a path are followed inside the context. What does not exist is left out.
    pub fn view(&self, paths: &[RelPath]) -> Result<View, IoError> {
        let mut entries: Vec<Entry> = Vec::new();
        let trees: Vec<_> = paths
            .iter()
            .map(|path| self.tree(path))
            .collect::<Result<_, _>>()?;
        if let [tree] = &trees[..] {
            return Ok(View::new(vec![Arc::clone(tree)]));
        }
        for tree in &trees {
            entries.extend_from_slice(tree.entries());
        }
        Ok(View::new(vec![Arc::new(LayerTree::new(entries))]))
    }

    fn tree(&self, path: &RelPath) -> Result<Arc<LayerTree>, IoError> {
        let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = scanned.get(path) {
            return Ok(tree.whole());
        }
        // A wider scan knows everything that a narrower one would find.
        if let Some((_, wide)) = scanned.iter().find(|(wider, _)| path.starts_with(wider)) {
            return Ok(wide.below(path));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let scanner = Scanner::new(
            &self.root,
            &self.directory,
            &self.excludes,
            &known,
            &self.reporter,
        );
        let scan = scanner.scan(path)?;
        if path.is_root() {
            *known = Arc::default();
            return_free_memory();
        }
        let tree = Wide::new(scan.tree);
        self.learned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .merge(scan.index);
        scanned.insert(path.clone(), tree.clone());
        Ok(tree.whole())
    }

    /// Where the bytes of a file of this context are.
    pub fn bytes(&self, entry: &Entry) -> FileBytes {
        match entry.kind {
            EntryKind::File { size, .. } if size > 0 => FileBytes::Below {
                directory: Arc::clone(&self.directory),
                directory_path: Arc::clone(&self.root),
                path: entry.path.clone(),
            },
            _ => FileBytes::Memory(Arc::from([])),
        }
    }

    /// Gives it a name for people, in place of its path.
    pub fn called(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// What people call it.
    pub fn name(&self) -> String {
        let path = || self.root.display().to_string();
        self.name.clone().unwrap_or_else(path)
    }

    /// Whether something is in the directory that the ignore rules leave out.
    pub fn excludes(&self, path: &RelPath) -> bool {
        let is_there = || {
            let root = rustix::fs::open(&*self.root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            root.is_ok_and(|root| open_beneath(root, path, OFlags::PATH).is_ok())
        };
        self.excludes.excludes(path) && is_there()
    }

    /// Remembers what was learned of the files, for the next build. Builds that do so at once do it one
    /// after the other, so that each adds to what it finds.
    pub fn remember(&self) -> Result<(), IoError> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.is_empty() {
            return Ok(());
        }
        let directory = self.store.directory("contexts")?;
        let lock = File::open(&directory).at("open", &directory)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).at("lock", &directory)?;
        let bytes = learned.encode_over(&StatIndex::load(&self.index_path));
        self.store.scratch().put_bytes(&bytes, &self.index_path)
    }
}

/// Gives back what a scan of many files used for a moment only, before a layer is made of them.
fn return_free_memory() {
    // SAFETY: malloc_trim(3) has no preconditions and may be called from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
