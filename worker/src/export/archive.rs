//! A tar of an image layout: few entries, in the order of their names, without times or owners.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::meter::Meter;
use crate::stop::Stop;

const BLOCK: u64 = 512;
/// How much is moved between two looks at whether to go on.
const PIECE: u64 = 4 << 20;

/// Where an archive goes.
pub(super) enum Sink<'s> {
    /// A file: the kernel moves the bytes.
    File(&'s mut File),
    /// Anything else.
    Writer(&'s mut (dyn Write + Send)),
}

impl Sink<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::File(file) => file.write_all(bytes),
            Sink::Writer(writer) => writer.write_all(bytes),
        }
    }

    /// Moves up to a piece; how much it was.
    fn copy_piece(&mut self, source: &mut Source<'_>, left: u64) -> io::Result<u64> {
        let piece = left.min(PIECE);
        match (self, source) {
            (Sink::File(sink), Source::File(file)) => io::copy(&mut file.take(piece), *sink),
            (Sink::File(sink), Source::Reader(reader)) => io::copy(&mut reader.take(piece), *sink),
            (Sink::Writer(sink), Source::File(file)) => io::copy(&mut file.take(piece), *sink),
            (Sink::Writer(sink), Source::Reader(reader)) => {
                io::copy(&mut reader.take(piece), *sink)
            }
        }
    }
}

/// Where an entry's bytes come from.
pub(super) enum Source<'s> {
    /// A file, from where it stands.
    File(&'s File),
    /// Anything else.
    Reader(&'s mut (dyn Read + Send)),
}

/// Writes an archive.
pub(super) struct Archive<'s> {
    sink: Sink<'s>,
}

impl<'s> Archive<'s> {
    pub(super) fn new(sink: Sink<'s>) -> Self {
        Self { sink }
    }

    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.sink
            .write_all(&header(name, tar::EntryType::Directory, 0o755, 0))
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        self.sink
            .write_all(&header(name, tar::EntryType::Regular, 0o444, size))?;
        self.sink.write_all(bytes)?;
        self.pad(size)
    }

    /// Writes an entry of a known size. A source that is longer or shorter is an error: it would
    /// damage all that follows.
    pub(super) fn stream(
        &mut self,
        name: &str,
        size: u64,
        mut source: Source<'_>,
        stop: &Stop,
        meter: &mut Meter,
    ) -> io::Result<()> {
        self.sink
            .write_all(&header(name, tar::EntryType::Regular, 0o444, size))?;
        let mut left = size;
        while left > 0 {
            stop.check()?;
            let moved = self.sink.copy_piece(&mut source, left)?;
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= moved;
            meter.add(moved);
        }
        if let Source::Reader(reader) = source {
            // Readers that verify do so at their end.
            if reader.read(&mut [0])? > 0 {
                return Err(io::Error::other("longer than it was said to be"));
            }
        }
        self.pad(size)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.sink.write_all(&[0; 2 * BLOCK as usize])?;
        match self.sink {
            Sink::File(file) => file.flush(),
            Sink::Writer(writer) => writer.flush(),
        }
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK) - size;
        self.sink.write_all(&[0; BLOCK as usize][..rest as usize])
    }
}

/// GNU's format, which can say sizes above 8 GiB.
fn header(name: &str, kind: tar::EntryType, mode: u32, size: u64) -> [u8; BLOCK as usize] {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}
