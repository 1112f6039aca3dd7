//! Files behind addresses: fetched once, and asked for again only if they have changed.
//!
//! What a server said of a file that may serve to ask whether it is still the same (RFC 9110, section
//! 8.8) is kept in the store as JSON; the file itself is a layer like others.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::fmt::rfc2822;
use kiln_solver::op::{HttpSource, Source};
use kiln_solver::{ContentDigest, Op, RelPath, Sha256Digest, StepReporter};
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{SourceError, Sources, address_name, record, recorded, verify};
use crate::http::{HttpError, Request, shown};
use crate::layer::{Contents, FileBytes, PackEntry, Whiteouts, decompress, parse_tar};
use crate::meter::Meter;
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::{Entry, EntryKind, Timestamp, Xattrs};

/// The mode of a file that comes from an address.
const MODE: u32 = 0o600;
/// How many pieces may wait for the disk.
const PIECES_AHEAD: usize = 16;
/// A file that was modified this long before it was fetched is not modified again within the same
/// second, which is all that `Last-Modified` can tell, in seconds.
const SETTLED: i64 = 60;

/// A file that is to be pinned.
#[derive(Debug, Clone)]
pub struct HttpFile {
    /// The address.
    pub url: String,
    /// What the file will be called.
    pub name: String,
    /// What its bytes must hash to, if that is known.
    pub digest: Option<Sha256Digest>,
    /// Whether its time must be known.
    pub wants_time: bool,
}

/// A file as it is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedFile {
    /// The SHA-256 of its bytes.
    pub digest: Sha256Digest,
    /// When it was last modified, in seconds since 1970, if the server tells.
    pub modified: Option<i64>,
    /// Its time, if that was asked for: when it was modified, or of an archive its newest file's.
    pub time: Option<i64>,
}

/// What is known of an address: enough to ask whether the file is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Validators {
    /// The version of this record.
    version: u32,
    url: String,
    etag: Option<String>,
    /// `Last-Modified` as the server wrote it, if it can be relied on.
    last_modified: Option<String>,
    digest: Sha256Digest,
    modified: Option<i64>,
}

/// The version of [`Validators`].
const VERSION: u32 = 1;

/// What came of asking.
enum Answer {
    /// The file is as it was.
    Unchanged,
    /// The file.
    Received(Received),
}

/// A file that was received.
struct Received {
    written: Written,
    modified: Option<i64>,
    headers: HeaderMap,
}

impl Sources {
    /// Finds out what is behind an address now. Afterwards the store has it.
    pub async fn pin_http(
        &self,
        file: &HttpFile,
        reporter: &StepReporter,
    ) -> Result<PinnedFile, SourceError> {
        let source = |digest, modified| HttpSource {
            digest,
            name: file.name.clone(),
            modified,
            url: file.url.clone(),
        };
        let (source, snapshot) = match file.digest {
            Some(digest) => {
                let source = source(digest, None);
                let snapshot = self.open(&Source::Http(source.clone()), reporter).await?;
                (source, snapshot.unwrap_or_default())
            }
            None => {
                let known = self.known(&file.url).and_then(|known| {
                    let op = Op::Source(Source::Http(source(known.digest, known.modified)));
                    let snapshot = recorded(&self.store, &op).ok()??;
                    Some((known, snapshot))
                });
                let validators = known.as_ref().map(|(known, _)| known);
                match (
                    self.ask(&file.url, None, validators, reporter).await?,
                    known,
                ) {
                    (Answer::Unchanged, Some((known, snapshot))) => {
                        (source(known.digest, known.modified), snapshot)
                    }
                    (Answer::Unchanged, None) => {
                        let url = file.url.clone();
                        return Err(SourceError::Changed { url });
                    }
                    (Answer::Received(received), _) => {
                        self.remember(&file.url, &received)?;
                        let source = source(received.written.digest, received.modified);
                        let modified = received.modified;
                        let snapshot = self
                            .keep(source.clone(), received.written, modified)
                            .await?;
                        (source, snapshot)
                    }
                }
            }
        };
        let time = match (file.wants_time, source.modified) {
            (false, _) => None,
            (true, Some(modified)) => Some(modified),
            (true, None) => {
                self.blocking(move |store| file_time(store, &snapshot))
                    .await?
            }
        };
        Ok(PinnedFile {
            digest: source.digest,
            modified: source.modified,
            time,
        })
    }

    /// Fetches a file whose digest is known.
    pub(super) async fn open_http(
        &self,
        source: &HttpSource,
        reporter: &StepReporter,
    ) -> Result<Snapshot, SourceError> {
        match self
            .ask(&source.url, Some(source.digest), None, reporter)
            .await?
        {
            Answer::Received(Received {
                written, modified, ..
            }) => self.keep(source.clone(), written, modified).await,
            Answer::Unchanged => Err(SourceError::Changed {
                url: source.url.clone(),
            }),
        }
    }

    /// Asks for a file, again from the beginning if the connection breaks.
    async fn ask(
        &self,
        url: &str,
        expected: Option<Sha256Digest>,
        known: Option<&Validators>,
        reporter: &StepReporter,
    ) -> Result<Answer, SourceError> {
        let parsed = Url::parse(url).map_err(|error| SourceError::Url {
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
        let mut request = Request::new(Method::GET, parsed);
        // Nothing can be slipped in where the digest is known.
        request.may_leave_https = expected.is_some();
        self.authorize(&mut request)?;
        if let Some(known) = known {
            known.apply(&mut request.headers);
        }
        let mut breaks = 0;
        loop {
            let response = self.http.send(&request).await?;
            if known.is_some_and(|known| known.are_of(&response)) {
                return Ok(Answer::Unchanged);
            }
            let status = response.status();
            if !status.is_success() {
                return Err(SourceError::Status {
                    url: shown(response.url()),
                    status: status.as_u16(),
                });
            }
            match self.receive(response, reporter).await {
                Err(SourceError::Http(_)) if breaks < self.http.settings().retries => breaks += 1,
                Ok(received) => {
                    verify(&shown(&request.url), expected, received.written.digest)?;
                    return Ok(Answer::Received(received));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The secrets that BuildKit looks for, by the server's name.
    fn authorize(&self, request: &mut Request) -> Result<(), SourceError> {
        let host = request.url.host_str().unwrap_or_default();
        let forms = [("HTTP_AUTH_HEADER_", ""), ("HTTP_AUTH_TOKEN_", "Bearer ")];
        let mut value = None;
        for (secret, scheme) in forms {
            let name = format!("{secret}{host}");
            if let Some(Secret(secret)) = self.secrets.get(&name) {
                value = Some((name, [scheme.as_bytes(), secret.trim_ascii_end()].concat()));
            }
        }
        if let Some((name, value)) = value {
            let mut value =
                HeaderValue::from_bytes(&value).map_err(|_| SourceError::Secret(name))?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// The network is waited for here, the disk in a thread of its own.
    async fn receive(
        &self,
        mut response: Response,
        reporter: &StepReporter,
    ) -> Result<Received, SourceError> {
        let url = shown(response.url());
        let headers = response.headers().clone();
        let is_packed = text(&headers, &CONTENT_ENCODING).is_some_and(|coding| {
            ["gzip", "x-gzip"]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
        });
        let size = text(&headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let mut meter = Meter::new(reporter, url.clone(), size);
        let (sender, receiver) = tokio::sync::mpsc::channel(PIECES_AHEAD);
        let place = url.clone();
        let store = self.store.clone();
        let writing =
            tokio::task::spawn_blocking(move || take(&store, receiver, is_packed, &place));
        let mut broken = None;
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(bytes)) => {
                    meter.add(bytes.len() as u64);
                    // The receiver is gone only after an error, which the thread returns.
                    if sender.send(Piece::Bytes(bytes)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    let timeout = self.http.settings().read_timeout;
                    broken = Some(HttpError::of_request(&url, &error, timeout));
                    break;
                }
            }
        }
        if broken.is_none() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let taken = writing.await;
        if let Some(error) = broken {
            return Err(error.into());
        }
        let written = match taken {
            Ok(taken) => taken?,
            Err(_) => return Err(SourceError::Canceled),
        };
        meter.finish();
        Ok(Received {
            written,
            modified: text(&headers, &LAST_MODIFIED).and_then(http_time),
            headers,
        })
    }

    /// Takes what can be read only once, such as standard input, as if it came from an address.
    pub async fn take_upload(
        &self,
        reader: impl Read + Send + 'static,
        what: &str,
        name: &str,
        wants_time: bool,
    ) -> Result<(HttpSource, Option<i64>), SourceError> {
        let (url, name) = (what.to_owned(), name.to_owned());
        let place = url.clone();
        let written = self
            .blocking(move |store| write_down(store, reader, &place))
            .await?;
        let source = HttpSource {
            digest: written.digest,
            name,
            modified: None,
            url,
        };
        let snapshot = self.keep(source.clone(), written, None).await?;
        let time = match wants_time {
            true => {
                self.blocking(move |store| file_time(store, &snapshot))
                    .await?
            }
            false => None,
        };
        Ok((source, time))
    }

    /// Makes a layer of a file.
    async fn keep(
        &self,
        source: HttpSource,
        written: Written,
        modified: Option<i64>,
    ) -> Result<Snapshot, SourceError> {
        let name = source.name.as_bytes();
        let path = RelPath::parse(name).map_err(|error| SourceError::Url {
            url: source.url.clone(),
            reason: error.to_string(),
        })?;
        let seconds = source.modified.or(modified).unwrap_or(0);
        let entry = Entry {
            path,
            kind: EntryKind::File {
                size: written.size,
                digest: ContentDigest::new([0; 32]),
                offset: 0,
            },
            mode: MODE,
            uid: 0,
            gid: 0,
            mtime: Timestamp {
                seconds,
                nanoseconds: 0,
            },
            xattrs: Xattrs::new(),
        };
        let entry = PackEntry {
            entry,
            bytes: FileBytes::Range {
                file: Arc::new(written.file),
                offset: 0,
            },
            digest_is_known: false,
        };
        let op = Op::Source(Source::Http(source));
        self.blocking(move |store| record(store, &op, std::iter::once(entry)))
            .await
    }

    fn validators_path(&self, url: &str) -> Result<PathBuf, SourceError> {
        Ok(self.store.directory("addresses")?.join(address_name(url)))
    }

    /// What an earlier build noted; what cannot be read is not known.
    fn known(&self, url: &str) -> Option<Validators> {
        let bytes = std::fs::read(self.validators_path(url).ok()?).ok()?;
        let known: Validators = serde_json::from_slice(&bytes).ok()?;
        (known.version == VERSION && known.url == url).then_some(known)
    }

    /// Notes what may serve to ask again; if nothing may, the next build fetches the file anew.
    fn remember(&self, url: &str, received: &Received) -> Result<(), SourceError> {
        let Received {
            headers,
            written,
            modified,
        } = received;
        let etag = text(headers, &ETAG).map(str::to_owned);
        let is_settled = match (modified, text(headers, &DATE).and_then(http_time)) {
            (Some(modified), Some(date)) => modified + SETTLED <= date,
            _ => false,
        };
        let last_modified = text(headers, &LAST_MODIFIED).filter(|_| is_settled);
        if etag.is_none() && last_modified.is_none() {
            return Ok(());
        }
        let validators = Validators {
            version: VERSION,
            url: url.to_owned(),
            etag,
            last_modified: last_modified.map(str::to_owned),
            digest: written.digest,
            modified: *modified,
        };
        let json = serde_json::to_vec(&validators).map_err(SourceError::Note)?;
        let path = self.validators_path(url)?;
        Ok(self.store.scratch().put_bytes(&json, &path)?)
    }
}

impl Validators {
    /// Asks to be told only of a change.
    fn apply(&self, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: &Option<String>| {
            if let Some(Ok(value)) = value.as_ref().map(|value| HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        };
        set(IF_NONE_MATCH, &self.etag);
        // An entity tag tells more; a server that knows it ignores the time.
        set(IF_MODIFIED_SINCE, &self.last_modified);
    }

    /// Whether an answer says that the file is the one that is known. Some servers send it again
    /// although its tag is the same.
    fn are_of(&self, response: &Response) -> bool {
        let same_tag = match (&self.etag, text(response.headers(), &ETAG)) {
            (Some(known), Some(now)) => {
                known.trim_start_matches("W/") == now.trim_start_matches("W/")
            }
            (_, None) => true,
            (None, Some(_)) => response.status() == StatusCode::NOT_MODIFIED,
        };
        match response.status() {
            StatusCode::NOT_MODIFIED => same_tag,
            status => {
                let has_tag = self.etag.is_some() && response.headers().contains_key(ETAG);
                status == StatusCode::OK && has_tag && same_tag
            }
        }
    }
}

/// A part of a file on its way to the thread that writes.
enum Piece {
    Bytes(Bytes),
    /// All bytes came; without this, the connection broke.
    End,
}

/// Takes the pieces of a file, unpacked if that is how they were sent.
fn take(
    store: &Store,
    pieces: tokio::sync::mpsc::Receiver<Piece>,
    is_packed: bool,
    url: &str,
) -> Result<Written, SourceError> {
    let pieces = Pieces {
        pieces,
        current: Bytes::new(),
        is_at_end: false,
    };
    match is_packed {
        true => write_down(store, flate2::read::MultiGzDecoder::new(pieces), url),
        false => write_down(store, pieces, url),
    }
}

/// An unnamed file of the store, at its beginning.
struct Written {
    file: File,
    size: u64,
    digest: Sha256Digest,
}

/// Writes all that a reader has to an unnamed file of the store.
fn write_down(store: &Store, mut reader: impl Read, url: &str) -> Result<Written, SourceError> {
    let write = |source| SourceError::Write { source };
    let mut file = store.scratch().new_unnamed_file()?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length.map_err(|error| SourceError::Body {
                url: url.to_owned(),
                reason: error.to_string(),
            })?,
        };
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
        file.write_all(&buffer[..length]).map_err(write)?;
    }
    let mut file = file.into_file();
    file.rewind().map_err(write)?;
    let digest = Sha256Digest::new(hasher.finalize().into());
    Ok(Written { file, size, digest })
}

/// The pieces as they come through a channel.
struct Pieces {
    pieces: tokio::sync::mpsc::Receiver<Piece>,
    current: Bytes,
    is_at_end: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_at_end {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.is_at_end = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A time as HTTP writes it, in seconds since 1970.
fn http_time(text: &str) -> Option<i64> {
    let zoned = rfc2822::DateTimeParser::new().parse_zoned(text).ok()?;
    Some(zoned.timestamp().as_second())
}

/// The time of a file in a layer: its own if the server told one, or, of an archive, its newest
/// file's.
fn file_time(store: &Store, snapshot: &Snapshot) -> Result<Option<i64>, SourceError> {
    let Some(layer) = snapshot.layers.first() else {
        return Ok(None);
    };
    let tree = store.layers().tree(&layer.diff_id)?;
    let contents = Contents::open(store, &layer.diff_id)?;
    let (Some(contents), Some(entry)) = (contents, tree.entries().last()) else {
        return Ok(None);
    };
    if entry.mtime.seconds != 0 {
        return Ok(Some(entry.mtime.seconds));
    }
    let EntryKind::File { size, .. } = entry.kind else {
        return Ok(None);
    };
    let reader = contents.bytes(entry).open(size)?;
    Ok(newest_file(reader))
}

/// The time of the newest file in an archive; `None` if it is none.
fn newest_file(reader: Box<dyn Read + Send>) -> Option<i64> {
    let mut plain = decompress(reader).ok()?;
    let tree = parse_tar(&mut plain, Whiteouts::Files).ok()?;
    let is_file = |entry: &&Entry| matches!(entry.kind, EntryKind::File { .. });
    let times = tree.entries().iter().filter(is_file);
    times.map(|entry| entry.mtime.seconds).max()
}
