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
mod difference;
mod identify;
mod writer;

use crate::digest::{ContentDigest, Key};
use crate::op::{Op, Reads};

pub use difference::{Difference, differences};
pub use identify::Identify;
use identify::list;
pub use writer::KeyWriter;
use writer::{ExplainingWriter, HashingWriter};

/// One part of a key, as shown when a miss is explained.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyPart {
    /// Names of the enclosing groups and of the field, joined by `.`. Of several groups of one name
    /// beside each other, all but the first are numbered, such as `content[1]`.
    pub path: String,
    /// The value: text as it is, digests in hexadecimal. Bytes that are no text stand as `\x7f`, and then
    /// a backslash is two: equal texts are equal values.
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

/// Names what an operation does in the main, its command or what it copies where to, apart from all
/// that surrounds it. It is never looked up for a result, only for something to compare with.
pub fn outline_key(op: &Op) -> Key {
    let mut writer = HashingWriter::new("kiln outline key 1");
    identify::outline(op, &mut writer);
    Key::new(*writer.hasher.finalize().as_bytes())
}

/// Names the inputs of an operation apart from what it does with them.
pub fn inputs_key(inputs: &[InputPart]) -> Key {
    let mut writer = HashingWriter::new("kiln inputs key 1");
    write_inputs(inputs, &mut writer);
    Key::new(*writer.hasher.finalize().as_bytes())
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
    write_inputs(inputs, writer);
}

fn write_inputs(inputs: &[InputPart], writer: &mut dyn KeyWriter) {
    writer.enter("inputs");
    for input in inputs {
        match input {
            InputPart::Definition(key) => writer.binary("definition", key.as_bytes()),
            InputPart::Content(digests) => list(writer, "content", digests, |writer, digest| {
                writer.binary("-", digest.as_bytes());
            }),
        }
    }
    writer.leave();
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
    use crate::digest::Sha256Digest;
    use crate::op::{
        CheckoutTimes, Exec, FileAction, FileOp, GitDirectory, GitSource, HttpSource, InputIndex,
        Network, Security, Source,
    };
    use crate::path::RelPath;
    use crate::platform::Platform;

    fn exec(args: &[&str]) -> Exec {
        Exec {
            root: Some(InputIndex(0)),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: [("PATH".into(), "/bin".into())].into(),
            unhashed_env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            mounts: Vec::new(),
            network: Network::Default,
            security: Security::Sandbox,
            hostname: None,
            extra_hosts: Vec::new(),
            shm_size: None,
            limits: Vec::new(),
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
        let expected = include_str!("../../../testdata/frozen/key-v1.txt").trim();
        assert_eq!(key(exec(&["/bin/true"])).to_string(), expected);
    }

    #[test]
    fn the_encoding_of_sources_is_frozen() {
        let object: crate::ObjectId = "0123456789abcdef0123456789abcdef01234567"
            .parse()
            .expect("40 digits");
        let git = GitSource {
            object,
            subdirectory: RelPath::root(),
            git_directory: None,
            submodules: true,
            times: CheckoutTimes::Checkout,
            remote: "https://host/repository.git".to_owned(),
            reference: "refs/heads/main".to_owned(),
        };
        let everything = GitSource {
            subdirectory: RelPath::parse(b"a/b").expect("a path"),
            git_directory: Some(GitDirectory {
                origin: "https://host/repository.git".to_owned(),
                reference: "refs/heads/main".to_owned(),
            }),
            submodules: false,
            times: CheckoutTimes::Commit,
            ..git.clone()
        };
        let http = HttpSource {
            digest: Sha256Digest::new([7; 32]),
            name: "file".to_owned(),
            modified: None,
            url: "https://host/file".to_owned(),
        };
        let dated = HttpSource {
            modified: Some(1_700_000_000),
            ..http.clone()
        };
        let sources = [
            Source::Git(git),
            Source::Git(everything),
            Source::Http(http),
            Source::Http(dated),
        ];
        let keys = sources.map(|source| definition_key(&Op::Source(source), &[]).to_string());
        let expected = include_str!("../../../testdata/frozen/source-keys-v1.txt");
        assert_eq!(keys.join("\n"), expected.trim());
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
                time: None,
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
