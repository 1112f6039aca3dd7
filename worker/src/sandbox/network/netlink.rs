//! Requests to the kernel over netlink(7), and its answers: as much of it as interfaces, addresses, routes and
//! a table of nftables need. No crate speaks both families, and this process has no runtime for those
//! that speak one.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
    socket_with,
};

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const HEADER: usize = 16;
/// The type of an answer that is an error number; zero acknowledges.
const ERROR: u16 = 2;
/// Marks an attribute that holds others.
const NESTED: u16 = 0x8000;

/// A connection to one family of the kernel's.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// To interfaces, addresses and routes of this process's network namespace: rtnetlink(7).
    pub(super) fn of_routes() -> io::Result<Self> {
        // It is the first family, number zero.
        Self::open(None)
    }

    /// To its packet filters.
    pub(super) fn of_filters() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        Ok(Self(socket_with(
            family,
            kind,
            SocketFlags::CLOEXEC,
            protocol,
        )?))
    }

    /// Sends messages in one piece, and waits until the kernel has done what they ask.
    pub(super) fn request(&self, messages: Vec<Message>) -> io::Result<()> {
        let mut awaited = messages.iter().filter(|it| it.is_acknowledged()).count();
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message.finished());
        }
        send(&self.0, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0; 16 << 10];
        while awaited > 0 {
            let (length, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut answers = &buffer[..length];
            while let Some((kind, body)) = next_answer(&mut answers) {
                if kind != ERROR {
                    continue;
                }
                match number(body) {
                    0 => awaited = awaited.saturating_sub(1),
                    error => return Err(Errno::from_raw_os_error(-error).into()),
                }
            }
        }
        Ok(())
    }
}

impl Socket {
    /// Asks for all things of a kind; the bodies of the answers.
    pub(super) fn dump(&self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        const ALL: u16 = 0x300;
        const DONE: u16 = 3;
        let request = Message::with(kind, REQUEST | ALL, body);
        send(&self.0, &request.finished(), SendFlags::empty())?;
        let (mut bodies, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let (length, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut answers = &buffer[..length];
            while let Some((kind, body)) = next_answer(&mut answers) {
                match kind {
                    DONE => return Ok(bodies),
                    ERROR => return Err(Errno::from_raw_os_error(-number(body)).into()),
                    _ => bodies.push(body.to_vec()),
                }
            }
        }
    }
}

/// The value of an attribute among others.
pub(super) fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some(head) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let found = u16::from_ne_bytes([head[2], head[3]]) & !NESTED;
        let value = attributes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        let next = length.next_multiple_of(4).min(attributes.len());
        attributes = &attributes[next..];
    }
    None
}

/// The type and body of the next answer.
fn next_answer<'a>(answers: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = number(answers) as usize;
    let answer = answers.get(..length).filter(|_| length >= HEADER)?;
    let next = length.next_multiple_of(4).min(answers.len());
    *answers = &answers[next..];
    Some((
        u16::from_ne_bytes([answer[4], answer[5]]),
        &answer[HEADER..],
    ))
}

fn number(bytes: &[u8]) -> i32 {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    i32::from_ne_bytes(bytes)
}

/// A request, or a part of a batch of them.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message that asks for an acknowledgement. `flags` are those of the type, `body` is what
    /// comes before the attributes.
    pub(super) fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        Self::with(kind, REQUEST | ACKNOWLEDGE | flags, body)
    }

    /// One that nobody answers: the bounds of a batch.
    pub(super) fn unanswered(kind: u16, body: &[u8]) -> Self {
        Self::with(kind, REQUEST, body)
    }

    fn with(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(body);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn with_attribute(mut self, kind: u16, value: &[u8]) -> Self {
        Attributes(&mut self.0).add(kind, value);
        self
    }

    /// Adds an attribute that holds others.
    pub(super) fn with_nested(mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> Self {
        Attributes(&mut self.0).nest(kind, &[], fill);
        self
    }

    fn is_acknowledged(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & ACKNOWLEDGE != 0
    }

    fn finished(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Attributes that are being written: length, type and value, each begun at a multiple of four bytes.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn add(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.align();
    }

    /// A text as the kernel reads it.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.add(kind, &terminated(value));
    }

    /// An attribute that holds others, after `body`.
    pub(super) fn nest(&mut self, kind: u16, body: &[u8], fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.add(kind | NESTED, body);
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// A text with the zero that ends it.
pub(super) fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
