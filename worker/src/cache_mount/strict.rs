//! Keeps out of a parser what Kiln never writes into the tar of a cache mount: kinds of entries that it
//! does not pack, and headers so long that they would fill the memory.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// No PAX header of an entry may be longer, in bytes. Go's archive/tar has the same limit.
const MAXIMUM_HEADER: u64 = 1 << 20;
/// Where a header (POSIX.1-2017, pax(1), "ustar Interchange Format") has the size and the kind.
const SIZE: std::ops::Range<usize> = 124..136;
const KIND: usize = 156;
/// Files (of which old tars write a NUL), hard links, symbolic links, directories, named pipes.
const KINDS: [u8; 6] = [0, b'0', b'1', b'2', b'5', b'6'];
const PAX: u8 = b'x';

/// A tar that fails where it is not as Kiln packs it.
pub(super) struct Strict<R> {
    inner: R,
    state: State,
    /// The size that a PAX header says the next entry has.
    size: Option<u64>,
}

enum State {
    /// A header, as far as it has come.
    Header(Vec<u8>),
    /// So many bytes of an entry, padding included, are still to come.
    Data(u64),
    /// A PAX header: its text as far as it has come, its length, and that with padding.
    Pax {
        text: Vec<u8>,
        length: usize,
        padded: usize,
    },
    /// Behind the end marker.
    End,
}

impl<R: Read> Strict<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            state: State::Header(Vec::new()),
            size: None,
        }
    }

    fn watch(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Header(header) => {
                    let taken = bytes.len().min(BLOCK - header.len());
                    header.extend_from_slice(&bytes[..taken]);
                    if header.len() == BLOCK {
                        let header = std::mem::take(header);
                        self.state = self.after(&header)?;
                    }
                    taken
                }
                State::Data(left) => {
                    let taken = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Header(Vec::new());
                    }
                    taken
                }
                State::Pax {
                    text,
                    length,
                    padded,
                } => {
                    let taken = bytes.len().min(*padded - text.len());
                    text.extend_from_slice(&bytes[..taken]);
                    if text.len() == *padded {
                        self.size = pax_size(&text[..*length])?;
                        self.state = State::Header(Vec::new());
                    }
                    taken
                }
                State::End => return Ok(()),
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn after(&mut self, header: &[u8]) -> io::Result<State> {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(State::End);
        }
        let size = octal(&header[SIZE])?;
        match header[KIND] {
            PAX if size > MAXIMUM_HEADER => {
                let problem = format!("a header of {size} bytes, and {MAXIMUM_HEADER} are allowed");
                Err(io::Error::other(problem))
            }
            PAX if size == 0 => Ok(State::Header(Vec::new())),
            PAX => {
                let length = usize::try_from(size).map_err(io::Error::other)?;
                Ok(State::Pax {
                    text: Vec::new(),
                    length,
                    padded: length.next_multiple_of(BLOCK),
                })
            }
            kind if KINDS.contains(&kind) => {
                let size = self.size.take().unwrap_or(size);
                let padded = size.checked_next_multiple_of(BLOCK as u64);
                let padded = padded.ok_or_else(|| io::Error::other("a size is out of range"))?;
                Ok(match padded {
                    0 => State::Header(Vec::new()),
                    _ => State::Data(padded),
                })
            }
            kind => Err(io::Error::other(format!(
                "an entry of the kind {:?}, which no cache mount has",
                char::from(kind)
            ))),
        }
    }
}

impl<R: Read> Read for Strict<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.watch(&buffer[..length])?;
        Ok(length)
    }
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let text = field.split(|byte| matches!(byte, 0 | b' '));
    let digits = text.into_iter().find(|part| !part.is_empty());
    let digits = std::str::from_utf8(digits.unwrap_or(b"0")).ok();
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 8).ok());
    number.ok_or_else(|| io::Error::other("a size that is no octal number"))
}

/// What the records of a PAX header (`LENGTH NAME=VALUE\n`) say of the size.
fn pax_size(mut records: &[u8]) -> io::Result<Option<u64>> {
    let damaged = || io::Error::other("a PAX header that is damaged");
    let mut size = None;
    while !records.is_empty() {
        let blank = records.iter().position(|byte| *byte == b' ');
        let blank = blank.ok_or_else(damaged)?;
        let length = std::str::from_utf8(&records[..blank]).ok();
        let length: Option<usize> = length.and_then(|text| text.parse().ok());
        let length = length.filter(|length| (blank + 2..=records.len()).contains(length));
        let (record, rest) = records.split_at(length.ok_or_else(damaged)?);
        if let Some(value) = record[blank + 1..].strip_prefix(b"size=") {
            let text = value
                .strip_suffix(b"\n")
                .and_then(|v| std::str::from_utf8(v).ok());
            let number = text.and_then(|text| text.parse().ok());
            size = Some(number.ok_or_else(damaged)?);
        }
        records = rest;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: u8, size: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[0] = b'x';
        header[SIZE][..size.len()].copy_from_slice(size);
        header[KIND] = kind;
        header
    }

    fn read(bytes: &[u8], piece: usize) -> io::Result<()> {
        let mut strict = Strict::new(bytes);
        let mut buffer = vec![0; piece];
        while strict.read(&mut buffer)? > 0 {}
        Ok(())
    }

    #[test]
    fn only_what_kiln_packs_passes() {
        let padded = |text: &[u8]| {
            let mut text = text.to_vec();
            text.resize(text.len().next_multiple_of(BLOCK), 0);
            text
        };
        let end = vec![0; 2 * BLOCK];
        let file = [header(b'0', b"00000000003"), padded(b"abc"), end.clone()].concat();
        // The size in the PAX header counts: what follows is no header.
        let large = [
            header(PAX, b"00000000014"),
            padded(b"12 size=513\n"),
            header(b'0', b"00000000001"),
            vec![b'7'; 2 * BLOCK],
            end.clone(),
        ]
        .concat();
        let cases: [(&str, Vec<u8>, bool); 8] = [
            ("a file", file, true),
            ("a large file", large, true),
            ("nothing", Vec::new(), true),
            ("a link", [header(b'2', b"0"), end].concat(), true),
            ("a device", header(b'3', b"0"), false),
            ("a sparse file", header(b'S', b"0"), false),
            (
                "a long name as GNU has it",
                header(b'L', b"00000000003"),
                false,
            ),
            ("a header without end", header(PAX, b"77777777777"), false),
        ];
        for (what, bytes, passes) in cases {
            for piece in [1, 7, 512, 4096] {
                assert_eq!(read(&bytes, piece).is_ok(), passes, "{what}, {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn watching_is_total(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), kind in 0..3_usize) {
            if bytes.len() > KIND {
                bytes[KIND] = [b'0', PAX, b'5'][kind];
                bytes[SIZE].copy_from_slice(b"00000000777\0");
            }
            let _ = read(&bytes, 100);
        }
    }
}
