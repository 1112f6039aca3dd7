//! Archives put together block by block, so that they can be what no program would write.

/// Whoever wrote a header, by what stands behind its checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Unix version 7: nothing.
    Old,
    /// POSIX.
    Ustar,
    /// GNU before POSIX.
    Gnu,
}

/// When everything was changed unless a case says otherwise.
pub(crate) const TIME: u64 = 1_600_000_000;

pub(crate) const BLOCK: usize = 512;

/// A member: a header, and what comes behind it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) header: [u8; BLOCK],
    data: Vec<u8>,
    /// What fills the last block up.
    padding: u8,
    is_sealed: bool,
}

impl Member {
    pub(crate) fn new(form: Form, kind: u8, name: &[u8]) -> Self {
        let mut member = Self {
            header: [0; BLOCK],
            data: Vec::new(),
            padding: 0,
            is_sealed: false,
        };
        member.header[..name.len()].copy_from_slice(name);
        member.header[156] = kind;
        match form {
            Form::Old => {}
            Form::Ustar => member.header[257..265].copy_from_slice(b"ustar\x0000"),
            Form::Gnu => member.header[257..265].copy_from_slice(b"ustar  \0"),
        }
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        member.mode(mode).owner(0, 0).time(TIME).size(0)
    }

    pub(crate) fn mode(self, mode: u64) -> Self {
        self.octal(100, 8, mode)
    }

    pub(crate) fn owner(self, uid: u64, gid: u64) -> Self {
        self.octal(108, 8, uid).octal(116, 8, gid)
    }

    pub(crate) fn size(self, size: u64) -> Self {
        self.octal(124, 12, size)
    }

    pub(crate) fn time(self, time: u64) -> Self {
        self.octal(136, 12, time)
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.field(157, target)
    }

    pub(crate) fn prefix(self, prefix: &[u8]) -> Self {
        self.field(345, prefix)
    }

    pub(crate) fn device(self, major: u64, minor: u64) -> Self {
        self.octal(329, 8, major).octal(337, 8, minor)
    }

    pub(crate) fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        let size = self.data.len() as u64;
        self.size(size)
    }

    pub(crate) fn padded_with(mut self, byte: u8) -> Self {
        self.padding = byte;
        self
    }

    pub(crate) fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn octal(self, at: usize, length: usize, value: u64) -> Self {
        let digits = length - 1;
        let text = format!("{value:0digits$o}\0");
        self.field(at, text.as_bytes())
    }

    /// GNU's way to write large and negative numbers.
    pub(crate) fn binary(mut self, at: usize, length: usize, value: i64) -> Self {
        let fill = if value < 0 { 0xff } else { 0 };
        self.header[at..at + length].fill(fill);
        self.header[at + length - 8..at + length].copy_from_slice(&value.to_be_bytes());
        self.header[at] |= 0x80;
        self
    }

    /// Keeps a checksum of its own.
    pub(crate) fn checksum(mut self, text: &[u8]) -> Self {
        self.is_sealed = true;
        self.field(148, text)
    }

    pub(crate) fn unsigned_sum(&self) -> u32 {
        let bytes = self.header.iter().enumerate();
        bytes
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u32::from(*byte)
                }
            })
            .sum()
    }

    pub(crate) fn signed_sum(&self) -> i32 {
        let bytes = self.header.iter().enumerate();
        bytes
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    i32::from(byte.cast_signed())
                }
            })
            .sum()
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        if !self.is_sealed {
            let sum = format!("{:06o}\0 ", self.unsigned_sum());
            self.header[148..156].copy_from_slice(sum.as_bytes());
        }
        let mut bytes = self.header.to_vec();
        bytes.extend(self.data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), self.padding);
        bytes
    }
}

/// A file with some content.
pub(crate) fn file(form: Form, name: &str, content: &str) -> Member {
    Member::new(form, b'0', name.as_bytes()).data(content)
}

pub(crate) fn directory(form: Form, name: &str) -> Member {
    Member::new(form, b'5', name.as_bytes())
}

pub(crate) fn symlink(form: Form, name: &str, target: &str) -> Member {
    let link = Member::new(form, b'2', name.as_bytes());
    link.mode(0o777).link(target.as_bytes())
}

pub(crate) fn hard_link(form: Form, name: &str, target: &str) -> Member {
    Member::new(form, b'1', name.as_bytes()).link(target.as_bytes())
}

/// GNU's member before a long name (`L`) or a long link (`K`).
pub(crate) fn long(kind: u8, name: &[u8]) -> Member {
    Member::new(Form::Gnu, kind, b"././@LongLink").data([name, b"\0"].concat())
}

/// A PAX header for the next member (`x`) or for all (`g`).
pub(crate) fn pax(kind: u8, records: &[(&str, &[u8])]) -> Member {
    let mut text = Vec::new();
    for (name, value) in records {
        text.extend(pax_record(name.as_bytes(), value));
    }
    Member::new(Form::Ustar, kind, b"PaxHeaders/x").data(text)
}

/// A record, whose length counts itself.
pub(crate) fn pax_record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [
        length.to_string().as_bytes(),
        b" ",
        name,
        b"=",
        value,
        b"\n",
    ]
    .concat()
}

/// Members and the mark of the end.
pub(crate) fn archive(members: impl IntoIterator<Item = Member>) -> Vec<u8> {
    let mut bytes = without_end(members);
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

pub(crate) fn without_end(members: impl IntoIterator<Item = Member>) -> Vec<u8> {
    members.into_iter().flat_map(Member::bytes).collect()
}
