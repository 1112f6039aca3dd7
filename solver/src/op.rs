//! The operations that a graph's vertices perform: few and general, so that a Dockerfile and an LLB
//! definition lower to the same ones.
//!
//! Only what can change the result is hashed ([`crate::key::Identify`]); what merely describes, such
//! as an image's name, lies beside it and is left out there field by field.

mod limit;

use std::sync::Arc;

use crate::digest::{DiffId, Sha256Digest};
use crate::object_id::ObjectId;
use crate::path::RelPath;
use crate::platform::Platform;

pub use limit::{Limit, Resource};

/// The position of an input in [`crate::Vertex::inputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputIndex(pub usize);

/// What a vertex does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Brings something in from outside; has no inputs.
    Source(Source),
    /// Runs a command and yields what it changed, as one layer on its root.
    Exec(Box<Exec>),
    /// Changes files and yields the changes as one layer on its base.
    File(FileOp),
    /// Stacks the layers of all inputs, the first lowest.
    Merge,
}

/// Where something comes from, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The root file system of an image.
    Image(ImageSource),
    /// A directory of the client's, named as in `--build-context`; the main context is `context`.
    Local(LocalSource),
    /// The files of a commit.
    Git(GitSource),
    /// One file behind an address.
    Http(HttpSource),
}

impl Source {
    /// Whether the operation itself says what the source holds. Such a source need not be opened for
    /// a key to be known; it is brought in only when something that misses reads it.
    pub fn is_pinned(&self) -> bool {
        match self {
            Source::Git(_) | Source::Http(_) => true,
            // Of an image, only its layers' names are needed; of a directory, what is in it now.
            Source::Image(_) | Source::Local(_) => false,
        }
    }
}

/// An image's root file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageSource {
    /// The layers, lowest first. They alone identify the content.
    pub diff_ids: Vec<DiffId>,
    /// The image's manifest, by which the executor finds the layers' blobs. Not hashed.
    pub manifest: Sha256Digest,
    /// The reference as typed, for people. Not hashed.
    pub reference: String,
}

/// A directory of the client's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalSource {
    /// The context's name. Not hashed: content alone identifies.
    pub name: String,
}

/// The files of a commit of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitSource {
    /// The commit; with `.git` kept, an annotated tag's own object.
    pub object: ObjectId,
    /// The directory whose content is wanted; the root for all.
    pub subdirectory: RelPath,
    /// What is kept as `.git`, if anything is.
    pub git_directory: Option<GitDirectory>,
    /// Whether submodules are checked out, too.
    pub submodules: bool,
    /// Which modification times files get.
    pub times: CheckoutTimes,
    /// Where the repository is. Not hashed: the commit names its content.
    pub remote: String,
    /// What the commit was found by, if not by its own name: asked for again when it is fetched.
    /// Not hashed.
    pub reference: String,
}

/// What a kept `.git` directory names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitDirectory {
    /// Its `origin`, without a password.
    pub origin: String,
    /// The branch or tag in full, such as `refs/heads/main`, or the commit.
    pub reference: String,
}

/// Which modification times the files of a commit get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum CheckoutTimes {
    /// That of the moment when they are written.
    #[default]
    Checkout,
    /// That of the commit.
    Commit,
}

/// One file behind an address: a directory that holds nothing else, mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpSource {
    /// The SHA-256 of its bytes.
    pub digest: Sha256Digest,
    /// Its name in the directory.
    pub name: String,
    /// Its modification time in seconds since 1970, if the server has told it already; else it is
    /// what the server tells when the file is fetched, or 0.
    pub modified: Option<i64>,
    /// The address. Not hashed: the digest names the content.
    pub url: String,
}

/// The host name of steps for which nothing else is said, as in BuildKit.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// The name and the value of an environment variable. Shared, because the commands of a stage see nearly
/// the same ones.
pub type Variable = (Arc<str>, Arc<str>);

/// A command and all that it can see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exec {
    /// The root file system's input; `None` starts from nothing.
    pub root: Option<InputIndex>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment variables in order; a later one of the same name wins.
    pub env: Arc<[Variable]>,
    /// Variables that the command sees but that never change the key: proxies.
    pub unhashed_env: Vec<(String, String)>,
    /// Working directory, absolute.
    pub cwd: String,
    /// As in USER: `user`, `user:group`, names or numbers; empty is root.
    pub user: String,
    /// Mounts besides the root, in order.
    pub mounts: Vec<Mount>,
    /// The network that the command sees.
    pub network: Network,
    /// Whether the command is confined.
    pub security: Security,
    /// Host name; `None` is [`DEFAULT_HOSTNAME`].
    pub hostname: Option<String>,
    /// More lines for /etc/hosts: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Bytes that `/dev/shm` may hold; `None` is what steps usually have.
    pub shm_size: Option<u64>,
    /// Limits of each process that are not the usual ones, each resource once, in order.
    pub limits: Vec<Limit>,
    /// The platform that the command is compiled for.
    pub platform: Platform,
}

/// The network of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Network {
    /// What the machine offers to steps.
    #[default]
    Default,
    /// The host's own network.
    Host,
    /// Only a loopback interface.
    None,
}

/// The confinement of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Security {
    /// The usual confinement.
    #[default]
    Sandbox,
    /// All privileges that the builder has; needs an entitlement.
    Insecure,
}

/// Something mounted for the time of one command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mount {
    /// Where it appears, absolute; empty for a secret that is only an environment variable.
    pub target: String,
    /// What appears there.
    pub kind: MountKind,
    /// Whether the command may not write to it.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// A path of an input; writes are discarded after the step.
    Bind {
        /// The input; `None` is an empty directory.
        from: Option<InputIndex>,
        /// The path in it.
        source: RelPath,
    },
    /// A directory that outlives the step. Its content is never part of the key.
    Cache(CacheMount),
    /// A file system in memory.
    Tmpfs {
        /// Its limit in bytes; 0 is the kernel's default.
        size: u64,
    },
    /// A secret, as a file, an environment variable or both. Its value is never part of the key.
    Secret(SecretMount),
    /// A forwarded ssh agent.
    Ssh(SshMount),
    /// A file whose content stands in the Dockerfile.
    File {
        /// The content.
        data: Arc<[u8]>,
        /// Permission bits.
        mode: u32,
    },
}

/// The options of `RUN --mount=type=cache`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheMount {
    /// The cache's name: mounts of one name share one directory.
    pub id: String,
    /// What happens when two steps want it at once.
    pub sharing: Sharing,
    /// The input that a new cache begins with.
    pub from: Option<InputIndex>,
    /// The path in that input.
    pub source: RelPath,
    /// Permission bits of a new cache.
    pub mode: u32,
    /// Owner of a new cache.
    pub uid: u32,
    /// Group of a new cache.
    pub gid: u32,
}

/// What happens when two steps want a cache mount at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Both use it.
    #[default]
    Shared,
    /// The second gets a new one.
    Private,
    /// The second waits.
    Locked,
}

/// The options of `RUN --mount=type=secret`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretMount {
    /// The secret's name.
    pub id: String,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// Whether its absence is an error.
    pub required: bool,
    /// Permission bits of the file.
    pub mode: u32,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

/// The options of `RUN --mount=type=ssh`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshMount {
    /// The agent's name.
    pub id: String,
    /// Whether its absence is an error.
    pub required: bool,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Owner of the socket.
    pub uid: u32,
    /// Group of the socket.
    pub gid: u32,
}

/// Changes to files, made in order, that together make one layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileOp {
    /// The input that the changes are made on; `None` starts from nothing.
    pub base: Option<InputIndex>,
    /// The changes.
    pub actions: Vec<FileAction>,
}

/// One change to files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileAction {
    /// COPY and ADD.
    Copy(Copy),
    /// WORKDIR: makes a directory and its parents; what exists is left alone.
    MakeDirectory {
        /// The directory.
        path: RelPath,
        /// Permission bits of what is made.
        mode: u32,
        /// Owner of what is made; `None` is 0:0.
        owner: Option<Owner>,
        /// When it was made, in seconds since 1970; `None` is the time of the build.
        time: Option<i64>,
    },
}

/// A copy of files from an input, or from the Dockerfile itself, to one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Copy {
    /// The input that paths come from; `None` if all sources are inline.
    pub from: Option<InputIndex>,
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where it goes.
    pub destination: RelPath,
    /// Whether the destination must be a directory: written with a trailing `/`, or several sources.
    pub destination_is_directory: bool,
    /// `--chown`; `None` keeps the source's owner (context files belong to 0:0).
    pub owner: Option<Owner>,
    /// `--chmod`; `None` keeps the source's mode.
    pub mode: Option<ModeChange>,
    /// What happens to archives.
    pub unpack: Unpack,
    /// `--exclude` patterns, in the language of `.dockerignore`.
    pub exclude: Vec<String>,
    /// `--parents`: keeps the sources' parent directories, from a `/./` in the pattern on.
    pub keep_parents: bool,
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CopySource {
    /// A path, with Go's `filepath.Match` wildcards, as typed after expansion.
    Path(String),
    /// A file whose content stands in the Dockerfile (a heredoc).
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        data: Arc<[u8]>,
    },
}

/// An owner as typed: names or numbers, resolved in the base's `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User name or number.
    pub user: String,
    /// Group name or number; `None` takes the user's own group.
    pub group: Option<String>,
}

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModeChange {
    /// Sets them, up to 0o7777.
    Octal(u32),
    /// Changes them as chmod(1) does, such as `u+x,go=rX`.
    Symbolic(String),
}

/// What a copy does with archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unpack {
    /// Copies them.
    #[default]
    Never,
    /// Unpacks those that are tar archives by their content, compressed or not.
    Archives,
}

/// What an operation reads of one input; its content key depends on this part alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reads {
    /// Everything, as the chain of layers.
    Everything,
    /// A path and what is below it.
    Subtree(RelPath),
    /// The files that a copy selects.
    Selection(Selection),
}

/// The files that a copy selects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Paths with wildcards, as in [`CopySource::Path`].
    pub patterns: Vec<String>,
    /// As in [`Copy::exclude`].
    pub exclude: Vec<String>,
    /// As in [`Copy::keep_parents`]: patterns mean other files then.
    pub keep_parents: bool,
}

impl Op {
    /// What this operation reads of the input at `index`; several answers if it reads it in
    /// several ways.
    pub fn reads(&self, index: InputIndex) -> Vec<Reads> {
        match self {
            Op::Source(_) => Vec::new(),
            Op::Merge => vec![Reads::Everything],
            Op::Exec(exec) => exec.reads(index),
            Op::File(file) => file.reads(index),
        }
    }
}

/// What is listed of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What is read.
    pub reads: Reads,
    /// Whether what is in the directories that are selected may be left out.
    pub only_what_is_named: bool,
}

impl Op {
    /// What is worth listing of an input: what its layers do not tell people later. Of a copy that is only what
    /// is selected by name, for the layer that it makes has the rest, unless it gives all a mode or an owner.
    pub fn listed(&self, index: InputIndex) -> Vec<Reading> {
        let of_all = |reads| Reading {
            reads,
            only_what_is_named: false,
        };
        match self {
            Op::Source(_) | Op::Merge => Vec::new(),
            Op::Exec(exec) => exec.mounted(index).map(of_all).collect(),
            Op::File(file) => {
                let copies = file.copies(index).map(|copy| Reading {
                    reads: Reads::Selection(copy.selection()),
                    only_what_is_named: copy.mode.is_none() && copy.owner.is_none(),
                });
                copies.collect()
            }
        }
    }

    /// The inputs whose layers are part of what the operation yields, lowest first.
    pub fn bases(&self, inputs: usize) -> Vec<InputIndex> {
        match self {
            Op::Source(_) => Vec::new(),
            Op::Merge => (0..inputs).map(InputIndex).collect(),
            Op::Exec(exec) => exec.root.into_iter().collect(),
            Op::File(file) => file.base.into_iter().collect(),
        }
    }
}

impl Exec {
    fn reads(&self, index: InputIndex) -> Vec<Reads> {
        let root = (self.root == Some(index)).then_some(Reads::Everything);
        root.into_iter().chain(self.mounted(index)).collect()
    }

    /// What mounts show of an input.
    fn mounted(&self, index: InputIndex) -> impl Iterator<Item = Reads> {
        self.mounts
            .iter()
            .filter_map(move |mount| match &mount.kind {
                MountKind::Bind { from, source }
                | MountKind::Cache(CacheMount { from, source, .. })
                    if *from == Some(index) =>
                {
                    Some(Reads::Subtree(source.clone()))
                }
                _ => None,
            })
    }
}

impl FileOp {
    fn reads(&self, index: InputIndex) -> Vec<Reads> {
        let base = (self.base == Some(index)).then_some(Reads::Everything);
        let copies = self.copies(index);
        let copies = copies.map(|copy| Reads::Selection(copy.selection()));
        base.into_iter().chain(copies).collect()
    }

    /// The copies from an input.
    fn copies(&self, index: InputIndex) -> impl Iterator<Item = &Copy> {
        self.actions.iter().filter_map(move |action| match action {
            FileAction::Copy(copy) if copy.from == Some(index) => Some(copy),
            _ => None,
        })
    }
}

impl Copy {
    /// The files that this copy selects of its input.
    pub fn selection(&self) -> Selection {
        let patterns = self.sources.iter().filter_map(|source| match source {
            CopySource::Path(pattern) => Some(pattern.clone()),
            CopySource::Inline { .. } => None,
        });
        Selection {
            patterns: patterns.collect(),
            exclude: self.exclude.clone(),
            keep_parents: self.keep_parents,
        }
    }
}
