//! How the three processes of a step speak: postcard values with a length before them on the socket
//! between Kiln and the helper, descriptors one by one on the socket between the helper and init.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::seccomp::Instruction;

/// What Kiln sends to the helper after the [`Enclosure`](super::enclosure::Enclosure), and the helper to init;
/// `S` is a [`Spec`](super::spec::Spec) and `F` a list of instructions, or they borrow such to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job<S, F = Vec<Instruction>> {
    pub(super) spec: S,
    /// The filter of the command's system calls; empty is none.
    pub(super) filter: F,
}

/// What the helper answers, once, when nothing of the step is left.
pub(super) type Report = Result<Ended, Failure>;

/// How the step's command ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ended {
    /// As wait(2) gives it.
    pub(super) status: i32,
    /// Microseconds in user and in system mode of all processes of the step.
    pub(super) cpu: (u64, u64),
    /// Bytes that the largest process of the step held.
    pub(super) peak_memory: u64,
    /// Whether a process was killed since the step's control group had no memory left.
    pub(super) memory_ran_out: bool,
    /// Whether a process was not made since there were as many as the step may have.
    pub(super) processes_ran_out: bool,
}

/// `value` with its length before it, as four bytes, little-endian.
pub(super) fn frame(value: &impl Serialize) -> postcard::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(value, vec![0; 4])?;
    let length =
        u32::try_from(bytes.len() - 4).map_err(|_| postcard::Error::SerializeBufferFull)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

pub(super) fn send(mut to: impl Write, value: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(value).map_err(io::Error::other)?)
}

pub(super) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

/// Lets the other side go on.
pub(super) fn send_go(mut socket: &UnixStream) -> io::Result<()> {
    socket.write_all(&[0])
}

pub(super) fn receive_go(mut socket: &UnixStream) -> io::Result<()> {
    socket.read_exact(&mut [0])
}

pub(super) fn send_descriptor(socket: impl AsFd, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        socket,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

pub(super) fn receive_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
