//! Every field of an operation, and whether a key depends on it.
//!
//! A field that is added to an operation does not compile until it is named here, and what is said of
//! it here is held against [`kiln_solver::key`].

use kiln_solver::key::InputPart;
use kiln_solver::op::{
    CacheMount, CheckoutTimes, Copy, CopySource, Exec, FileAction, FileOp, GitDirectory, GitSource,
    HttpSource, ImageSource, Limit, LocalSource, ModeChange, Mount, MountKind, Network, Op, Owner,
    Reads, Resource, SecretMount, Security, Selection, Sharing, Source, SshMount, Unpack,
};
use kiln_solver::platform::Platform;

use crate::mutate::{choice, structure};

choice!(Op { Source(source), Exec(exec), File(file), Merge });

choice!(Source { Image(image), Local(local), Git(git), Http(http) });

// The layers are the image. Which of its manifests names them, and how it was asked for, are not.
structure!(ImageSource {
    diff_ids: key,
    manifest: beside,
    reference: beside
});

// What is in the directory counts, and that comes with the inputs.
structure!(LocalSource { name: beside });

// A commit is the same wherever it comes from. What `.git` says of its origin is content.
structure!(GitSource {
    object: key,
    subdirectory: key,
    git_directory: key,
    submodules: key,
    times: key,
    remote: beside,
    reference: beside,
});

structure!(GitDirectory {
    origin: key,
    reference: key
});

choice!(CheckoutTimes { Checkout, Commit });

// The digest is the content, whatever the address.
structure!(HttpSource {
    digest: key,
    name: key,
    modified: key,
    url: beside
});

// A command sees the order of its variables (`env`), of the lines of /etc/hosts, of which the first one
// of a name counts, and of mounts, of which a later one hides an earlier one. Proxies must not matter.
structure!(Exec {
    root: key,
    args: key,
    env: key,
    unhashed_env: beside,
    cwd: key,
    user: key,
    mounts: key,
    network: key,
    security: key,
    hostname: key,
    extra_hosts: key,
    shm_size: key,
    limits: key,
    platform: key,
});

structure!(Limit {
    resource: key,
    soft: key,
    hard: key
});

choice!(Resource {
    Core,
    Cpu,
    Data,
    FileSize,
    Locks,
    LockedMemory,
    MessageQueue,
    Nice,
    OpenFiles,
    Processes,
    ResidentSet,
    RealtimePriority,
    RealtimeTime,
    PendingSignals,
    Stack,
});

choice!(Network {
    Default,
    Host,
    None
});

choice!(Security { Sandbox, Insecure });

structure!(Platform {
    os: key,
    architecture: key,
    variant: key
});

structure!(Mount {
    target: key,
    kind: key,
    read_only: key
});

choice!(MountKind {
    Bind { from, source },
    Cache(cache),
    Tmpfs { size },
    Secret(secret),
    Ssh(ssh),
    File { data, mode },
});

// A cache is no part of the key, but which one it is, how it begins and who else writes to it meanwhile
// are: a command that is asked to use another one is another command.
structure!(CacheMount {
    id: key,
    sharing: key,
    from: key,
    source: key,
    mode: key,
    uid: key,
    gid: key,
});

choice!(Sharing {
    Shared,
    Private,
    Locked
});

// What a secret says is nowhere in an operation. Where one is required, it was there when the result
// was made; where it is not, it may have been absent: two different results.
structure!(SecretMount {
    id: key,
    env: key,
    required: key,
    mode: key,
    uid: key,
    gid: key
});

structure!(SshMount {
    id: key,
    required: key,
    mode: key,
    uid: key,
    gid: key
});

structure!(FileOp {
    base: key,
    actions: key
});

choice!(FileAction { Copy(copy), MakeDirectory { path, mode, owner, time } });

// Of two sources with one name the later one wins, and a pattern that begins with `!` takes back what
// an earlier one said: the order of both counts.
structure!(Copy {
    from: key,
    sources: key,
    destination: key,
    destination_is_directory: key,
    owner: key,
    mode: key,
    unpack: key,
    exclude: key,
    keep_parents: key,
});

choice!(CopySource { Path(pattern), Inline { name, data } });

structure!(Owner {
    user: key,
    group: key
});

choice!(ModeChange { Octal(bits), Symbolic(text) });

choice!(Unpack { Never, Archives });

choice!(Reads { Everything, Subtree(path), Selection(selection) });

structure!(Selection {
    patterns: key,
    exclude: key,
    keep_parents: key
});

choice!(InputPart { Definition(key), Content(digests) });
