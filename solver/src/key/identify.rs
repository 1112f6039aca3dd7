//! What of an operation can change its result: every field is named here, and written or left out.

use super::KeyWriter;
use crate::op::{
    CacheMount, CheckoutTimes, Copy, CopySource, Exec, FileAction, FileOp, GitDirectory, GitSource,
    HttpSource, ImageSource, Limit, ModeChange, Mount, MountKind, Network, Op, Owner, Reads,
    SecretMount, Security, Selection, Sharing, Source, SshMount, Unpack,
};

/// Something whose identity goes into a key.
pub trait Identify {
    /// Writes every field that can change the result, and no other.
    fn identify(&self, writer: &mut dyn KeyWriter);
}

pub(super) fn list<T>(
    writer: &mut dyn KeyWriter,
    name: &'static str,
    items: &[T],
    mut each: impl FnMut(&mut dyn KeyWriter, &T),
) {
    writer.enter(name);
    for item in items {
        each(writer, item);
    }
    writer.leave();
}

fn texts(writer: &mut dyn KeyWriter, name: &'static str, items: &[String]) {
    list(writer, name, items, |writer, item| {
        writer.bytes("-", item.as_bytes())
    });
}

fn group(writer: &mut dyn KeyWriter, name: &'static str, value: &dyn Identify) {
    writer.enter(name);
    value.identify(writer);
    writer.leave();
}

fn flag(writer: &mut dyn KeyWriter, name: &'static str, value: bool) {
    if value {
        writer.number(name, 1);
    }
}

fn index(writer: &mut dyn KeyWriter, name: &'static str, value: Option<crate::op::InputIndex>) {
    if let Some(value) = value {
        writer.number(name, value.0 as u64);
    }
}

/// The fields that say in the main what an operation does.
pub(super) fn outline(op: &Op, writer: &mut dyn KeyWriter) {
    match op {
        Op::Exec(exec) => texts(writer, "args", &exec.args),
        Op::File(file) => list(
            writer,
            "actions",
            &file.actions,
            |writer, action| match action {
                FileAction::Copy(copy) => {
                    list(writer, "sources", &copy.sources, |writer, source| {
                        group(writer, "-", source);
                    });
                    writer.bytes("destination", copy.destination.as_bytes());
                }
                FileAction::MakeDirectory { path, .. } => writer.bytes("path", path.as_bytes()),
            },
        ),
        Op::Source(_) | Op::Merge => op.identify(writer),
    }
}

impl Identify for Op {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            Op::Source(source) => group(writer, "source", source),
            Op::Exec(exec) => group(writer, "exec", exec.as_ref()),
            Op::File(file) => group(writer, "file", file),
            Op::Merge => {
                writer.enter("merge");
                writer.leave();
            }
        }
    }
}

impl Identify for Source {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            Source::Image(ImageSource {
                diff_ids,
                manifest: _,
                reference: _,
            }) => {
                list(writer, "image", diff_ids, |writer, id| {
                    writer.binary("-", id.as_bytes())
                });
            }
            Source::Local(_) => {
                writer.enter("local");
                writer.leave();
            }
            Source::Git(git) => group(writer, "git", git),
            Source::Http(http) => group(writer, "http", http),
        }
    }
}

impl Identify for GitSource {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let GitSource {
            object,
            subdirectory,
            git_directory,
            submodules,
            times,
            remote: _,
            reference: _,
        } = self;
        writer.bytes("object", object.as_str().as_bytes());
        if !subdirectory.is_root() {
            writer.bytes("subdirectory", subdirectory.as_bytes());
        }
        if let Some(GitDirectory { origin, reference }) = git_directory {
            writer.enter("git-directory");
            writer.bytes("origin", origin.as_bytes());
            writer.bytes("reference", reference.as_bytes());
            writer.leave();
        }
        flag(writer, "no-submodules", !submodules);
        match times {
            CheckoutTimes::Checkout => {}
            CheckoutTimes::Commit => writer.bytes("times", b"commit"),
        }
    }
}

impl Identify for HttpSource {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let HttpSource {
            digest,
            name,
            modified,
            url: _,
        } = self;
        writer.binary("digest", digest.as_bytes());
        writer.bytes("name", name.as_bytes());
        if let Some(modified) = modified {
            writer.binary("modified", &modified.to_le_bytes());
        }
    }
}

impl Identify for Exec {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let Exec {
            root,
            args,
            env,
            unhashed_env: _,
            cwd,
            user,
            mounts,
            network,
            security,
            hostname,
            extra_hosts,
            shm_size,
            limits,
            platform,
        } = self;
        index(writer, "root", *root);
        texts(writer, "args", args);
        list(writer, "env", env, |writer, (name, value)| {
            writer.named(name, "value", value.as_bytes());
        });
        writer.bytes("cwd", cwd.as_bytes());
        writer.bytes("user", user.as_bytes());
        list(writer, "mounts", mounts, |writer, mount| {
            group(writer, "-", mount)
        });
        match network {
            Network::Default => {}
            Network::Host => writer.bytes("network", b"host"),
            Network::None => writer.bytes("network", b"none"),
        }
        match security {
            Security::Sandbox => {}
            Security::Insecure => writer.bytes("security", b"insecure"),
        }
        if let Some(hostname) = hostname {
            writer.bytes("hostname", hostname.as_bytes());
        }
        if !extra_hosts.is_empty() {
            list(writer, "hosts", extra_hosts, |writer, (name, address)| {
                writer.named(name, "address", address.as_bytes());
            });
        }
        if let Some(size) = shm_size {
            writer.number("shm-size", *size);
        }
        if !limits.is_empty() {
            list(writer, "limits", limits, |writer, limit| {
                group(writer, limit.resource.name(), limit)
            });
        }
        writer.bytes("platform", platform.to_string().as_bytes());
    }
}

impl Identify for Limit {
    /// The resource is said by whoever names the limit.
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let Limit {
            resource: _,
            soft,
            hard,
        } = self;
        for (name, limit) in [("soft", soft), ("hard", hard)] {
            match limit {
                Some(limit) => writer.number(name, *limit),
                None => writer.bytes(name, b"unlimited"),
            }
        }
    }
}

impl Identify for Mount {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let Mount {
            target,
            kind,
            read_only,
        } = self;
        writer.bytes("target", target.as_bytes());
        flag(writer, "read-only", *read_only);
        group(writer, "kind", kind);
    }
}

impl Identify for MountKind {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            MountKind::Bind { from, source } => {
                writer.bytes("type", b"bind");
                index(writer, "from", *from);
                writer.bytes("source", source.as_bytes());
            }
            MountKind::Cache(cache) => group(writer, "cache", cache),
            MountKind::Tmpfs { size } => {
                writer.bytes("type", b"tmpfs");
                writer.number("size", *size);
            }
            MountKind::Secret(secret) => group(writer, "secret", secret),
            MountKind::Ssh(ssh) => group(writer, "ssh", ssh),
            MountKind::File { data, mode } => {
                writer.bytes("type", b"file");
                writer.bytes("data", data);
                writer.number("mode", u64::from(*mode));
            }
        }
    }
}

impl Identify for CacheMount {
    /// What a cache holds is left out: a step must do the same whether its cache is warm or cold.
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let CacheMount {
            id,
            sharing,
            from,
            source,
            mode,
            uid,
            gid,
        } = self;
        writer.bytes("id", id.as_bytes());
        match sharing {
            Sharing::Shared => {}
            Sharing::Private => writer.bytes("sharing", b"private"),
            Sharing::Locked => writer.bytes("sharing", b"locked"),
        }
        index(writer, "from", *from);
        if !source.is_root() {
            writer.bytes("source", source.as_bytes());
        }
        writer.number("mode", u64::from(*mode));
        writer.number("uid", u64::from(*uid));
        writer.number("gid", u64::from(*gid));
    }
}

impl Identify for SecretMount {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let SecretMount {
            id,
            env,
            required,
            mode,
            uid,
            gid,
        } = self;
        writer.bytes("id", id.as_bytes());
        if let Some(env) = env {
            writer.bytes("env", env.as_bytes());
        }
        flag(writer, "required", *required);
        writer.number("mode", u64::from(*mode));
        writer.number("uid", u64::from(*uid));
        writer.number("gid", u64::from(*gid));
    }
}

impl Identify for SshMount {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let SshMount {
            id,
            required,
            mode,
            uid,
            gid,
        } = self;
        writer.bytes("id", id.as_bytes());
        flag(writer, "required", *required);
        writer.number("mode", u64::from(*mode));
        writer.number("uid", u64::from(*uid));
        writer.number("gid", u64::from(*gid));
    }
}

impl Identify for FileOp {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let FileOp { base, actions } = self;
        index(writer, "base", *base);
        list(writer, "actions", actions, |writer, action| {
            group(writer, "-", action)
        });
    }
}

impl Identify for FileAction {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            FileAction::Copy(copy) => group(writer, "copy", copy),
            FileAction::MakeDirectory {
                path,
                mode,
                owner,
                time,
            } => {
                writer.enter("make-directory");
                writer.bytes("path", path.as_bytes());
                writer.number("mode", u64::from(*mode));
                if let Some(owner) = owner {
                    group(writer, "owner", owner);
                }
                if let Some(time) = time {
                    writer.number("time", time.cast_unsigned());
                }
                writer.leave();
            }
        }
    }
}

impl Identify for Copy {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let Copy {
            from,
            sources,
            destination,
            destination_is_directory,
            owner,
            mode,
            unpack,
            exclude,
            keep_parents,
        } = self;
        index(writer, "from", *from);
        list(writer, "sources", sources, |writer, source| {
            group(writer, "-", source)
        });
        writer.bytes("destination", destination.as_bytes());
        flag(
            writer,
            "destination-is-directory",
            *destination_is_directory,
        );
        if let Some(owner) = owner {
            group(writer, "owner", owner);
        }
        match mode {
            None => {}
            Some(ModeChange::Octal(bits)) => writer.number("mode", u64::from(*bits)),
            Some(ModeChange::Symbolic(text)) => writer.bytes("mode", text.as_bytes()),
        }
        match unpack {
            Unpack::Never => {}
            // The second way to do it: the first one left hard links before their files.
            Unpack::Archives => writer.bytes("unpack", b"archives 2"),
        }
        if !exclude.is_empty() {
            texts(writer, "exclude", exclude);
        }
        flag(writer, "keep-parents", *keep_parents);
    }
}

impl Identify for CopySource {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            CopySource::Path(pattern) => writer.bytes("path", pattern.as_bytes()),
            CopySource::Inline { name, data } => {
                writer.bytes("name", name.as_bytes());
                writer.bytes("data", data);
            }
        }
    }
}

impl Identify for Owner {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        writer.bytes("user", self.user.as_bytes());
        if let Some(group) = &self.group {
            writer.bytes("group", group.as_bytes());
        }
    }
}

impl Identify for Selection {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        texts(writer, "patterns", &self.patterns);
        if !self.exclude.is_empty() {
            texts(writer, "exclude", &self.exclude);
        }
        flag(writer, "keep-parents", self.keep_parents);
    }
}

impl Identify for Reads {
    fn identify(&self, writer: &mut dyn KeyWriter) {
        match self {
            Reads::Everything => writer.bytes("reads", b"everything"),
            Reads::Subtree(path) => writer.bytes("subtree", path.as_bytes()),
            Reads::Selection(selection) => group(writer, "selection", selection),
        }
    }
}
