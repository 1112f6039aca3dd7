//! The two ways of writing a key: into a hash, and as an explanation that people can read.

use super::KeyPart;

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
    groups: Vec<&'static str>,
    pub(super) parts: Vec<KeyPart>,
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
