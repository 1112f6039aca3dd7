//! The two ways of writing a key: into a hash, and as an explanation that people can read.

use std::collections::BTreeMap;

use super::KeyPart;

/// Takes the fields of what is identified, in order.
pub trait KeyWriter {
    /// A field of bytes.
    fn bytes(&mut self, name: &'static str, value: &[u8]);
    /// A field with a number.
    fn number(&mut self, name: &'static str, value: u64);
    /// Two fields, `name` and another, of which the first names what the second says.
    fn named(&mut self, name: &str, field: &'static str, value: &[u8]) {
        self.bytes("name", name.as_bytes());
        self.bytes(field, value);
    }
    /// Begins a group of fields.
    fn enter(&mut self, name: &'static str);
    /// Ends the group begun last.
    fn leave(&mut self);
}

pub(super) struct HashingWriter {
    pub(super) hasher: blake3::Hasher,
}

impl HashingWriter {
    pub(super) fn new(domain: &str) -> Self {
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
pub(super) struct ExplainingWriter {
    groups: Vec<Group>,
    pub(super) parts: Vec<KeyPart>,
}

#[derive(Default)]
struct Group {
    /// Its name, with a number if others beside it have the same.
    name: String,
    /// How many groups of each name are in it so far.
    inner: BTreeMap<&'static str, usize>,
}

impl ExplainingWriter {
    fn push(&mut self, name: &str, value: String) {
        let groups = self.groups.iter().map(|group| group.name.as_str());
        let path = groups.chain([name]).collect::<Vec<_>>().join(".");
        self.parts.push(KeyPart { path, value });
    }
}

/// Text as it is, other bytes in hexadecimal.
fn shown(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') => {
            text.to_owned()
        }
        _ => value.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

impl KeyWriter for ExplainingWriter {
    fn bytes(&mut self, name: &'static str, value: &[u8]) {
        self.push(name, shown(value));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.push(name, value.to_string());
    }

    fn named(&mut self, name: &str, _: &'static str, value: &[u8]) {
        self.push(name, shown(value));
    }

    fn enter(&mut self, name: &'static str) {
        let mut shown = name.to_owned();
        if let Some(outer) = self.groups.last_mut() {
            let before = outer.inner.entry(name).or_default();
            if *before > 0 {
                shown = format!("{name}[{before}]");
            }
            *before += 1;
        }
        self.groups.push(Group {
            name: shown,
            inner: BTreeMap::new(),
        });
    }

    fn leave(&mut self) {
        self.groups.pop();
    }
}
