//! The members of a tar one after another, each with what headers before it say of it: as Go's archive/tar
//! reads them, which Docker and BuildKit use, so that nobody sees another file than they do.

use std::io::{self, Read, Write};
use std::ops::Range;

use kiln_solver::RelPath;
use kiln_solver::path::PathError;

use super::super::header::BLOCK;
use super::error::IngestError;
use super::field;
use super::pax::Pax;
use crate::tree::Timestamp;

/// No PAX header and no long name of GNU's may be longer, in bytes. Go's archive/tar has the same limit.
pub(super) const MAXIMUM_HEADER: u64 = 1 << 20;
/// No path may be longer: Linux' `PATH_MAX`, without which nothing can be opened.
pub(super) const MAXIMUM_PATH: usize = 4096;
/// The largest size that fits into a header's 11 octal digits. What is larger stands in a PAX header, and no two
/// programs agree on what to write into the field then.
const MAXIMUM_OCTAL: u64 = 0o77_777_777_777;
/// How much is read ahead at once, in bytes.
const AHEAD: usize = 256 * 1024;

/// Who wrote a tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Anybody.
    Anybody,
    /// Kiln, for a cache mount: files, links, directories and named pipes, with PAX headers.
    CacheMounts,
}

/// A tar that is being read. Nothing but the headers of one member is in memory.
pub(super) struct Members<'r> {
    source: &'r mut dyn Read,
    writer: Writer,
    ahead: Vec<u8>,
    /// How much of what was read ahead is used up.
    used: usize,
    /// How many bytes of the tar are used up.
    position: u64,
    /// How many bytes of the member's data, and then of zeros behind it, are still to come.
    data: u64,
    padding: u64,
}

/// A member.
pub(super) struct Member {
    pub(super) path: RelPath,
    /// What it links to, if it is a link.
    pub(super) link: Vec<u8>,
    pub(super) kind: tar::EntryType,
    pub(super) size: u64,
    /// Where its data begin in the tar.
    pub(super) offset: u64,
    header: tar::Header,
    pub(super) pax: Pax,
}

/// What stands before a member.
#[derive(Default)]
struct Before {
    pax: Option<Pax>,
    /// GNU's own ways to tell long names.
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<'r> Members<'r> {
    pub(super) fn new(source: &'r mut dyn Read, writer: Writer) -> Self {
        Self {
            source,
            writer,
            ahead: Vec::new(),
            used: 0,
            position: 0,
            data: 0,
            padding: 0,
        }
    }

    /// The next member; `None` at the end of the tar.
    pub(super) fn next(&mut self) -> Result<Option<Member>, IngestError> {
        let mut before = Before::default();
        let mut is_first = true;
        while let Some(header) = self.header()? {
            is_first = false;
            let kind = header.entry_type();
            self.check_kind(kind)?;
            // Headers that are older than these extensions have none.
            let is_extended = header.as_ustar().is_some() || header.as_gnu().is_some();
            let twice = match kind {
                tar::EntryType::XHeader if is_extended => {
                    let text = self.text(&header)?;
                    let pax = Pax::parse(&text).map_err(IngestError::damaged)?;
                    before.pax.replace(pax).is_some()
                }
                tar::EntryType::GNULongName if is_extended => {
                    before.path.replace(self.name(&header)?).is_some()
                }
                tar::EntryType::GNULongLink if is_extended => {
                    before.link.replace(self.name(&header)?).is_some()
                }
                // It is about all members, and nobody heeds it.
                tar::EntryType::XGlobalHeader => {
                    self.text(&header)?;
                    false
                }
                _ => return self.member(header, before).map(Some),
            };
            if twice {
                return Err(IngestError::damaged(
                    "two headers say the same of one member",
                ));
            }
        }
        match is_first {
            true => Ok(None),
            false if before.is_empty() => Ok(None),
            false => Err(IngestError::damaged("a header has no member behind it")),
        }
    }

    fn check_kind(&self, kind: tar::EntryType) -> Result<(), IngestError> {
        use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink, XHeader};
        let is_usual = matches!(kind, Regular | Link | Symlink | Directory | Fifo | XHeader);
        match self.writer {
            Writer::CacheMounts if !is_usual => Err(IngestError::Kind(kind.as_byte().into())),
            _ => Ok(()),
        }
    }

    fn member(&mut self, header: tar::Header, before: Before) -> Result<Member, IngestError> {
        let pax = before.pax.unwrap_or_default();
        let path = before.path.or_else(|| pax.path.clone());
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        if path.len() > MAXIMUM_PATH {
            let length = path.len();
            return Err(IngestError::LongPath { length });
        }
        let mut kind = header.entry_type();
        // As tars had it that knew no kinds.
        if kind == tar::EntryType::Regular && path.ends_with(b"/") {
            kind = tar::EntryType::Directory;
        }
        let path = within(&path)?;
        if pax.is_sparse || kind == tar::EntryType::GNUSparse {
            return Err(IngestError::Sparse { path });
        }
        let link = before.link.or_else(|| pax.link.clone());
        let link = link.or_else(|| header.link_name_bytes().map(Into::into));
        let said = size_of(&header)?;
        let size = match pax.size {
            Some(pax) if pax != said && pax <= MAXIMUM_OCTAL => {
                let header = said;
                return Err(IngestError::Sizes { path, header, pax });
            }
            size => size.unwrap_or(said),
        };
        // Whatever their headers say, these have no data.
        let size = if has_data(kind) { size } else { 0 };
        self.begin_data(size)?;
        Ok(Member {
            path,
            link: link.unwrap_or_default(),
            kind,
            size,
            offset: self.position,
            header,
            pax,
        })
    }

    fn begin_data(&mut self, size: u64) -> Result<(), IngestError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let padded = padded.ok_or_else(|| IngestError::damaged("a size is out of range"))?;
        self.data = size;
        self.padding = padded - size;
        Ok(())
    }

    /// The next header; `None` at the end of the tar, which is a block of zeros or nothing.
    fn header(&mut self) -> Result<Option<tar::Header>, IngestError> {
        self.skip_data()?;
        let mut block = [0; BLOCK];
        let length = self.fill(&mut block)?;
        if length == 0 || (length == BLOCK && block == [0; BLOCK]) {
            return Ok(None);
        }
        if length < BLOCK {
            return Err(IngestError::damaged("a header is cut off"));
        }
        match field::is_header(&block) {
            true => Ok(Some(tar::Header::from_byte_slice(&block).clone())),
            false => Err(IngestError::damaged("a header's checksum is wrong")),
        }
    }

    /// The data of something that stands before a member.
    fn text(&mut self, header: &tar::Header) -> Result<Vec<u8>, IngestError> {
        let size = size_of(header)?;
        if size > MAXIMUM_HEADER {
            return Err(IngestError::Header { size });
        }
        self.begin_data(size)?;
        let mut text = Vec::new();
        self.copy_data(&mut text)?;
        Ok(text)
    }

    /// A long name, which ends with a NUL.
    fn name(&mut self, header: &tar::Header) -> Result<Vec<u8>, IngestError> {
        let mut name = self.text(header)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        Ok(name)
    }

    /// Writes the data of the member that came last to `sink`.
    pub(super) fn copy_data(&mut self, sink: &mut dyn Write) -> Result<(), IngestError> {
        let size = std::mem::take(&mut self.data);
        self.take(size, sink)
    }

    fn skip_data(&mut self) -> Result<(), IngestError> {
        let size = std::mem::take(&mut self.data) + std::mem::take(&mut self.padding);
        self.take(size, &mut io::sink())
    }

    fn take(&mut self, mut left: u64, sink: &mut dyn Write) -> Result<(), IngestError> {
        while left > 0 {
            let found = self.peek().map_err(IngestError::reading)?;
            let length = found.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(IngestError::Damaged(io::ErrorKind::UnexpectedEof.into()));
            }
            sink.write_all(&found[..length])
                .map_err(IngestError::reading)?;
            self.consume(length);
            left -= length as u64;
        }
        Ok(())
    }

    /// Reads as much as there is.
    fn fill(&mut self, block: &mut [u8]) -> Result<usize, IngestError> {
        let mut at = 0;
        while at < block.len() {
            let found = self.peek().map_err(IngestError::reading)?;
            let length = found.len().min(block.len() - at);
            if length == 0 {
                break;
            }
            block[at..at + length].copy_from_slice(&found[..length]);
            self.consume(length);
            at += length;
        }
        Ok(at)
    }

    /// What was read ahead and is not used up; nothing at the end.
    fn peek(&mut self) -> io::Result<&[u8]> {
        while self.used == self.ahead.len() {
            self.ahead.resize(AHEAD, 0);
            let read = self.source.read(&mut self.ahead);
            self.ahead.truncate(*read.as_ref().unwrap_or(&0));
            self.used = 0;
            match read {
                Ok(0) => return Ok(&[]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.ahead[self.used..])
    }

    fn consume(&mut self, length: usize) {
        self.used += length;
        self.position += length as u64;
    }
}

impl Before {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.path.is_none() && self.link.is_none()
    }
}

impl Member {
    /// Its permission bits.
    pub(super) fn mode(&self) -> Result<u32, IngestError> {
        let mode = self.number(field::MODE, "mode")? & 0o7777;
        Ok(u32::try_from(mode).unwrap_or_default())
    }

    fn number(&self, field: Range<usize>, what: &str) -> Result<i64, IngestError> {
        let number = field::number(&self.header.as_bytes()[field]);
        number.ok_or_else(|| {
            IngestError::damaged(format!("the {what} of {} is no number", self.path))
        })
    }

    /// Its user and its group. The largest number is no id: chown(2) takes it for leaving them as they are.
    pub(super) fn owner(&self) -> Result<(u32, u32), IngestError> {
        let id = |pax: Option<u64>, field, what| {
            let id = match pax {
                Some(id) => i128::from(id),
                None => i128::from(self.number(field, what)?),
            };
            let valid = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            valid.ok_or_else(|| IngestError::Owner {
                path: self.path.clone(),
                id: id.to_string(),
            })
        };
        Ok((
            id(self.pax.user, field::UID, "user")?,
            id(self.pax.group, field::GID, "group")?,
        ))
    }

    /// When it changed last: in whole seconds, as layers have it, or exactly.
    pub(super) fn mtime(&self, is_exact: bool) -> Result<Timestamp, IngestError> {
        let pax = self.pax.mtime.as_ref();
        if is_exact && let Some(exact) = pax.and_then(|time| time.exact()) {
            return Ok(exact);
        }
        if let Some(seconds) = pax.and_then(|time| time.whole_seconds()) {
            return Ok(Timestamp::of_seconds(seconds));
        }
        let seconds = self.number(field::MTIME, "time")?;
        Ok(Timestamp::of_seconds(seconds))
    }

    /// The major and minor number of a device. The oldest headers have none.
    pub(super) fn device(&self) -> Result<(u32, u32), IngestError> {
        if self.header.as_ustar().is_none() && self.header.as_gnu().is_none() {
            return Ok((0, 0));
        }
        let number = |field, what| {
            let number = self.number(field, what)?;
            let number = u32::try_from(number).ok();
            number.ok_or_else(|| {
                IngestError::damaged(format!("the {what} of {} is out of range", self.path))
            })
        };
        Ok((
            number(field::DEVICE_MAJOR, "major number")?,
            number(field::DEVICE_MINOR, "minor number")?,
        ))
    }
}

/// How much data a header says that there is.
fn size_of(header: &tar::Header) -> Result<u64, IngestError> {
    let size = field::number(&header.as_bytes()[field::SIZE]);
    let size = size.and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| IngestError::damaged("a size is out of range"))
}

/// A member's path. That `..` takes something back does no harm; that it leads out of the root, nobody means.
fn within(written: &[u8]) -> Result<RelPath, PathError> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in written.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            // One that leads out takes nothing back, and is not taken back.
            b".." if names.last().is_some_and(|last| *last != b"..") => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    RelPath::parse(&names.join(&b'/'))
}

fn has_data(kind: tar::EntryType) -> bool {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    !matches!(kind, Link | Symlink | Char | Block | Directory | Fifo)
}
