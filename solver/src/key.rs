//! Cache keys, and their explanation from the same traversal.
//!
//! A step has two keys. The *definition key* depends on the operation and on the definition keys of
//! its inputs (for sources: on their content), so it is known before anything runs. The *content
//! key* depends on the operation and on the content of what it reads of each input, so two different
//! ways to the same content meet in it.
//!
//! # Encoding (version 1)
//! A key is the BLAKE3 hash of a sequence of fields after a domain string (`kiln definition key 1` or
//! `kiln content key 1`, length-prefixed). A field is its name, then a type byte, then its value:
//! - name: length as u8, then ASCII bytes;
//! - `b`: length as u64 little-endian, then the bytes;
//! - `n`: a u64, little-endian;
//! - `(`: fields follow until the matching `)`, which stands alone without a name.
//!
//! A list is a group whose items are fields named `-`. An absent optional value is an absent field.
//! Enums are their variants' names in lower case. New fields must be absent in their default state,
//! so that older keys stay valid.

use crate::digest::{ContentDigest, Key};
use crate::op::{
    CacheMount, Copy, CopySource, Exec, FileAction, FileOp, ImageSource, ModeChange, Mount,
    MountKind, Network, Op, Owner, Reads, SecretMount, Security, Selection, Sharing, Source,
    SshMount, Unpack,
};

/// Takes the fields of what is identified, in order.
pub trait KeyWriter {
    /// A field of bytes.
    fn bytes(&mut self, name: &'static str, value: &[u8]);
    /// A field with a number.
    fn number(&mut self, name: &'static str, value: u64);
    /// Begins a group of fields.
    fn enter(&mut self, name: &'static str);
    /// Ends the group begun last.
    fn leave(&mut self);
}

/// Something whose identity goes into a key.
pub trait Identify {
    /// Writes every field that can change the result, and no other.
    fn identify(&self, writer: &mut dyn KeyWriter);
}

/// One part of a key, as shown when a miss is explained.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyPart {
    /// Names of the enclosing groups and of the field, joined by `.`.
    pub path: String,
    /// The value: text as it is, other bytes in hexadecimal.
    pub value: String,
}

/// What an input contributes to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputPart {
    /// The input's own definition key.
    Definition(Key),
    /// The content of what is read of it, in the order of [`Op::reads`].
    Content(Vec<ContentDigest>),
}

/// The definition key of an operation.
pub fn definition_key(op: &Op, inputs: &[InputPart]) -> Key {
    hash("kiln definition key 1", op, inputs)
}

/// The content key of an operation; every input is an [`InputPart::Content`].
pub fn content_key(op: &Op, inputs: &[InputPart]) -> Key {
    hash("kiln content key 1", op, inputs)
}

/// The parts that a key of this operation and these inputs consists of.
pub fn explain(op: &Op, inputs: &[InputPart]) -> Vec<KeyPart> {
    let mut writer = ExplainingWriter::default();
    write_key(op, inputs, &mut writer);
    writer.parts
}

fn hash(domain: &str, op: &Op, inputs: &[InputPart]) -> Key {
    let mut writer = HashingWriter::new(domain);
    write_key(op, inputs, &mut writer);
    Key::new(*writer.hasher.finalize().as_bytes())
}

fn write_key(op: &Op, inputs: &[InputPart], writer: &mut dyn KeyWriter) {
    writer.enter("op");
    op.identify(writer);
    writer.leave();
    writer.enter("inputs");
    for input in inputs {
        match input {
            InputPart::Definition(key) => writer.bytes("definition", key.as_bytes()),
            InputPart::Content(digests) => list(writer, "content", digests, |writer, digest| {
                writer.bytes("-", digest.as_bytes());
            }),
        }
    }
    writer.leave();
}

struct HashingWriter {
    hasher: blake3::Hasher,
}

impl HashingWriter {
    fn new(domain: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(domain.len() as u64).to_le_bytes());
        hasher.update(domain.as_bytes());
        Self { hasher }
    }

    fn name(&mut self, name: &'static str, kind: u8) {
        let length = u8::try_from(name.len()).expect("field names are short literals");
        self.hasher.update(&[length]);
        self.hasher.update(name.as_bytes());
        self.hasher.update(&[kind]);
    }
}

impl KeyWriter for HashingWriter {
    fn bytes(&mut self, name: &'static str, value: &[u8]) {
        self.name(name, b'b');
        self.hasher.update(&(value.len() as u64).to_le_bytes());
        self.hasher.update(value);
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name, b'n');
        self.hasher.update(&value.to_le_bytes());
    }

    fn enter(&mut self, name: &'static str) {
        self.name(name, b'(');
    }

    fn leave(&mut self) {
        self.hasher.update(b")");
    }
}

#[derive(Default)]
struct ExplainingWriter {
    groups: Vec<&'static str>,
    parts: Vec<KeyPart>,
}

impl ExplainingWriter {
    fn push(&mut self, name: &'static str, value: String) {
        let path = self
            .groups
            .iter()
            .copied()
            .chain([name])
            .collect::<Vec<_>>()
            .join(".");
        self.parts.push(KeyPart { path, value });
    }
}

impl KeyWriter for ExplainingWriter {
    fn bytes(&mut self, name: &'static str, value: &[u8]) {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|t| !t.contains(char::is_control));
        let shown = text.map_or_else(
            || value.iter().map(|byte| format!("{byte:02x}")).collect(),
            ToOwned::to_owned,
        );
        self.push(name, shown);
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.push(name, value.to_string());
    }

    fn enter(&mut self, name: &'static str) {
        self.groups.push(name);
    }

    fn leave(&mut self) {
        self.groups.pop();
    }
}

fn list<T>(
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
                    writer.bytes("-", id.as_bytes())
                });
            }
            Source::Local(_) => {
                writer.enter("local");
                writer.leave();
            }
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
            extra_hosts: _,
            platform,
        } = self;
        index(writer, "root", *root);
        texts(writer, "args", args);
        list(writer, "env", env, |writer, (name, value)| {
            writer.bytes("name", name.as_bytes());
            writer.bytes("value", value.as_bytes());
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
        writer.bytes("platform", platform.to_string().as_bytes());
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
    /// What a cache holds is left out, and so is what it begins with: a step must do the same
    /// whether its cache is warm or cold.
    fn identify(&self, writer: &mut dyn KeyWriter) {
        let CacheMount {
            id,
            sharing,
            from: _,
            source: _,
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
            FileAction::MakeDirectory { path, mode, owner } => {
                writer.enter("make-directory");
                writer.bytes("path", path.as_bytes());
                writer.number("mode", u64::from(*mode));
                if let Some(owner) = owner {
                    group(writer, "owner", owner);
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
            Unpack::Archives => writer.bytes("unpack", b"archives"),
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

/// The key of what an operation reads of an input with this content: names a remembered
/// [`ContentDigest`].
pub fn selection_key(input: ContentDigest, reads: &Reads) -> Key {
    let mut writer = HashingWriter::new("kiln selection key 1");
    writer.bytes("input", input.as_bytes());
    reads.identify(&mut writer);
    Key::new(*writer.hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::InputIndex;
    use crate::path::RelPath;
    use crate::platform::Platform;

    fn exec(args: &[&str]) -> Exec {
        Exec {
            root: Some(InputIndex(0)),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            unhashed_env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            mounts: Vec::new(),
            network: Network::Default,
            security: Security::Sandbox,
            hostname: None,
            extra_hosts: Vec::new(),
            platform: Platform {
                os: "linux".to_owned(),
                architecture: "amd64".to_owned(),
                variant: String::new(),
            },
        }
    }

    fn key(exec: Exec) -> Key {
        let input = InputPart::Content(vec![ContentDigest::new([7; 32])]);
        content_key(&Op::Exec(Box::new(exec)), &[input])
    }

    #[test]
    fn the_encoding_is_frozen() {
        let expected = include_str!("../../testdata/frozen/key-v1.txt").trim();
        assert_eq!(key(exec(&["/bin/true"])).to_string(), expected);
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(key(exec(&["ab", "c"])), key(exec(&["a", "bc"])));
        assert_ne!(key(exec(&["a"])), key(exec(&["a", ""])));
    }

    #[test]
    fn what_merely_describes_is_left_out() {
        let mut described = exec(&["true"]);
        described
            .unhashed_env
            .push(("http_proxy".to_owned(), "http://proxy".to_owned()));
        described
            .extra_hosts
            .push(("db".to_owned(), "10.0.0.1".to_owned()));
        assert_eq!(key(described), key(exec(&["true"])));
    }

    #[test]
    fn definition_and_content_keys_differ() {
        let op = Op::Exec(Box::new(exec(&["true"])));
        assert_ne!(definition_key(&op, &[]), content_key(&op, &[]));
    }

    #[test]
    fn an_explanation_names_each_part() {
        let op = Op::File(FileOp {
            base: None,
            actions: vec![FileAction::MakeDirectory {
                path: RelPath::parse(b"app").expect("a path"),
                mode: 0o755,
                owner: None,
            }],
        });
        let parts = explain(
            &op,
            &[InputPart::Content(vec![ContentDigest::new([1; 32])])],
        );
        let paths: Vec<_> = parts.iter().map(|part| part.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "op.file.actions.-.make-directory.path",
                "op.file.actions.-.make-directory.mode",
                "inputs.content.-"
            ]
        );
    }
}
