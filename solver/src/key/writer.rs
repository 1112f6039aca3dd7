//! The two ways of writing a key: into a hash, and as an explanation that people can read.

use std::collections::BTreeMap;

use super::KeyPart;

/// Takes the fields of what is identified, in order.
pub trait KeyWriter {
    /// A field of bytes.
    fn bytes(&mut self, name: &'static str, value: &[u8]);
    /// A field of bytes that are never text, such as a digest; in the key it is as any field of bytes.
    fn binary(&mut self, name: &'static str, value: &[u8]) {
        self.bytes(name, value);
    }
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

/// How a byte that is no text begins.
const ESCAPE: &str = "\\x";

/// Text as it is; of what has other bytes, these as `\x7f` and backslashes as two. So is text in which
/// [`ESCAPE`] stands: no two values are shown alike.
fn shown(value: &[u8]) -> String {
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains(is_control) && !text.contains(ESCAPE) => text.to_owned(),
        _ => escaped(value, is_control),
    }
}

fn escaped(value: &[u8], is_control: impl Fn(char) -> bool) -> String {
    let escape = |bytes: &[u8]| -> String {
        let escapes = bytes.iter().map(|byte| format!("{ESCAPE}{byte:02x}"));
        escapes.collect()
    };
    let mut shown = String::new();
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => shown += "\\\\",
                control if is_control(control) => {
                    shown += &escape(control.encode_utf8(&mut [0; 4]).as_bytes());
                }
                text => shown.push(text),
            }
        }
        shown += &escape(chunk.invalid());
    }
    shown
}

impl KeyWriter for ExplainingWriter {
    fn bytes(&mut self, name: &'static str, value: &[u8]) {
        self.push(name, shown(value));
    }

    fn binary(&mut self, name: &'static str, value: &[u8]) {
        let digits = value.iter().map(|byte| format!("{byte:02x}"));
        self.push(name, digits.collect());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_values_are_shown_alike() {
        let cases: [(&[u8], &str); 10] = [
            (b"text\n\tof lines", "text\n\tof lines"),
            (b"01", "01"),
            (b"\x01", "\\x01"),
            (b"\\x01", "\\\\x01"),
            (b"a\x7f", "a\\x7f"),
            (b"617f", "617f"),
            (b"\\n\x1b", "\\\\n\\x1b"),
            (b"\\n", "\\n"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{85}\u{e9}".as_bytes(), "\\xc2\\x85\u{e9}"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value:?}");
        }
    }
}
