//! Reads records.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_solver::LogStream;
use kiln_solver::progress::Event;
use rustix::fs::FlockOperation;

use super::line::{Happening, Head, Line, VERSION};
use super::shelf::{COMPRESSED_LOGS, LOGS, RECORD};

/// The record of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    directory: PathBuf,
}

/// A piece of a step's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The step.
    pub step: u32,
    /// Microseconds since the build began.
    pub at: u64,
    /// Where it was written to.
    pub stream: LogStream,
    /// What was written; not always whole lines.
    pub bytes: Vec<u8>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file of it could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not begin as a record begins.
    #[error("{} does not begin as the record of a build does", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong with its first line.
        source: serde_json::Error,
    },
    /// Another version of Kiln wrote it.
    #[error("{} has format version {found}, and this Kiln knows version {VERSION} only", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

impl Record {
    /// The record in a directory.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The build's ID, as the directory's name says it.
    pub fn id(&self) -> &str {
        let name = self.directory.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.rsplit_once('-'));
        id.map_or("", |(_, id)| id)
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.directory.join(RECORD).exists()
    }

    /// Whether its build runs.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.directory.join(RECORD)) else {
            return false;
        };
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
        locked == Err(rustix::io::Errno::WOULDBLOCK)
    }

    /// What it takes up on the disk, in bytes.
    pub fn size(&self) -> u64 {
        let files = [RECORD, LOGS, COMPRESSED_LOGS].map(|name| self.directory.join(name));
        let sizes = files.iter().filter_map(|path| fs::metadata(path).ok());
        sizes.map(|metadata| metadata.len()).sum()
    }

    /// Removes it.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            // Somebody else did.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// The first line.
    pub fn head(&self) -> Result<Head, RecordError> {
        let (head, _) = self.open()?;
        Ok(head)
    }

    /// The first line and all others but logs; lines that make no sense are counted in the end.
    pub fn read(&self, mut take: impl FnMut(Line)) -> Result<(Head, usize), RecordError> {
        let (head, mut lines) = self.open()?;
        while let Some(line) = lines.next()? {
            take(line);
        }
        Ok((head, lines.damaged))
    }

    /// All logs, in the order in which they were written.
    pub fn logs(&self, mut take: impl FnMut(Piece)) -> Result<(), RecordError> {
        let Some(mut lines) = self.open_logs()? else {
            return Ok(());
        };
        while let Some(line) = lines.next()? {
            take_piece(line, &mut take);
        }
        Ok(())
    }

    /// Plays it: hands over all that displays draw, in the order in which it happened. `take` may
    /// end it with an error.
    pub fn play<E: From<RecordError>>(
        &self,
        mut take: impl FnMut(Duration, Event) -> Result<(), E>,
    ) -> Result<Duration, E> {
        let (_, mut events) = self.open()?;
        let mut logs = self.open_logs()?;
        let mut next_event = events.next()?;
        let mut next_log = next_of(&mut logs)?;
        let mut last = Duration::ZERO;
        loop {
            let is_log_first = match (&next_event, &next_log) {
                (None, None) => return Ok(last),
                (Some(event), Some(log)) => log.at < event.at,
                (event, _) => event.is_none(),
            };
            let line = match is_log_first {
                true => std::mem::replace(&mut next_log, next_of(&mut logs)?),
                false => std::mem::replace(&mut next_event, events.next()?),
            };
            let Some(line) = line else { continue };
            last = Duration::from_micros(line.at);
            if let Some(event) = line.into_event() {
                take(last, event)?;
            }
        }
    }

    fn open(&self) -> Result<(Head, Lines), RecordError> {
        let path = self.directory.join(RECORD);
        let mut lines = Lines::open(path, |file| Ok(Box::new(file)))?;
        let path = || lines.path.clone();
        let mut first = Vec::new();
        let read = lines.input.read_until(b'\n', &mut first);
        read.map_err(|source| RecordError::Io {
            path: path(),
            source,
        })?;
        // The version comes first: another one's head may have other fields.
        let head = serde_json::from_slice::<Version>(&first).and_then(|version| {
            let is_known = version.version == VERSION;
            let head = is_known.then(|| serde_json::from_slice::<Head>(&first));
            Ok((version.version, head.transpose()?))
        });
        match head {
            Ok((_, Some(head))) => Ok((head, lines)),
            Ok((found, None)) => Err(RecordError::Version {
                path: path(),
                found,
            }),
            Err(source) => Err(RecordError::Head {
                path: path(),
                source,
            }),
        }
    }

    fn open_logs(&self) -> Result<Option<Lines>, RecordError> {
        let compressed = self.directory.join(COMPRESSED_LOGS);
        let plain = self.directory.join(LOGS);
        if compressed.exists() {
            let decode = |file| Ok(Box::new(zstd::stream::Decoder::new(file)?) as Box<_>);
            return Lines::open(compressed, decode).map(Some);
        }
        match plain.exists() {
            true => Lines::open(plain, |file| Ok(Box::new(file))).map(Some),
            false => Ok(None),
        }
    }
}

#[derive(serde::Deserialize)]
struct Version {
    #[serde(rename = "kiln-build")]
    version: u32,
}

fn next_of(lines: &mut Option<Lines>) -> Result<Option<Line>, RecordError> {
    match lines {
        Some(lines) => lines.next(),
        None => Ok(None),
    }
}

fn take_piece(line: Line, take: &mut impl FnMut(Piece)) {
    if let Line {
        at,
        step: Some(step),
        event: Happening::Log { stream, text },
    } = line
    {
        let (stream, bytes) = (stream.into(), text.into_bytes());
        take(Piece {
            step,
            at,
            stream,
            bytes,
        });
    }
}

/// The lines of a file that can be read.
struct Lines {
    path: PathBuf,
    input: BufReader<Box<dyn io::Read>>,
    line: Vec<u8>,
    damaged: usize,
}

impl Lines {
    fn open(
        path: PathBuf,
        decode: impl FnOnce(File) -> io::Result<Box<dyn io::Read>>,
    ) -> Result<Self, RecordError> {
        match File::open(&path).and_then(decode) {
            Ok(input) => Ok(Self {
                path,
                input: BufReader::with_capacity(64 * 1024, input),
                line: Vec::new(),
                damaged: 0,
            }),
            Err(source) => Err(RecordError::Io { path, source }),
        }
    }

    fn next(&mut self) -> Result<Option<Line>, RecordError> {
        loop {
            self.line.clear();
            let read = self.input.read_until(b'\n', &mut self.line);
            let count = read.map_err(|source| RecordError::Io {
                path: self.path.clone(),
                source,
            })?;
            if count == 0 {
                return Ok(None);
            }
            match serde_json::from_slice(&self.line) {
                Ok(line) => return Ok(Some(line)),
                // The line under way of a build that runs or was killed, or the gap behind one that
                // a full disk cut short.
                Err(_) if !self.line.ends_with(b"\n") || self.line == b"\n" => {}
                Err(_) => self.damaged += 1,
            }
        }
    }
}
